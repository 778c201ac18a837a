"""Counters by groups of whole users: what makes evidence hold where one user comes again and again.

The model server spreads users over a few dozen groups and counts each (`serving/runtime/users.py`, or any counters with a label
``group``). Groups are independent of each other whatever one user does, and they add up over pods and looks.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sluice.rollouts.state import BY_USER, Counts
from sluice.stats.special import Floats

#: Of an arm's counts, the share that has to be of known users before the rest may be left out.
KNOWN = 0.9


def by_group(counts: Mapping[str, float], *names: str) -> list[Floats]:
    """Counters (`state.BY_USER`) by group, each of shape [groups], in the order of the groups that any of them has."""
    signs = [BY_USER[name] for name in names]
    groups = sorted({k[len(s) :] for s in signs for k in counts if k.startswith(s)})
    return [np.array([counts.get(s + g, 0.0) for g in groups], dtype=np.float64) for s in signs]


def without(counts: Mapping[str, float]) -> Counts:
    """The counts that are not by group."""
    return {k: v for k, v in counts.items() if k[1:2] != "@"}


def known(counts: Mapping[str, float], name: str) -> float:
    """The share of a counter that is of known users, between 0 and 1; 0 where there is nothing."""
    whole = counts.get(name, 0.0)
    (grouped,) = by_group(counts, name)
    return min(float(grouped.sum()) / whole, 1.0) if whole > 0 else 0.0
