"""Counters by groups of whole users: what makes evidence hold where one user comes again and again.

The model server spreads users over a few dozen groups and counts each (`serving/runtime/users.py`, or any counters with a label
``group``). Groups are independent of each other whatever one user does, and they add up over pods and looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, repeat

import numpy as np

from sluice.rollouts.state import BY_USER, Counts
from sluice.stats import dispersion
from sluice.stats.special import Floats

#: Of an arm's counts, the share that has to be of known users before the rest may be left out.
KNOWN = 0.9


def by_group(counts: Mapping[str, float], *names: str) -> list[Floats]:
    """Counters (`state.BY_USER`) by group, each of shape [groups], over the groups that any of them has."""
    found: dict[str, dict[str, float]] = {BY_USER[name]: {} for name in names}
    for k, v in counts.items():
        if (column := found.get(k[:2])) is not None:
            column[k[2:]] = v
    groups = dict.fromkeys(chain(*found.values()))
    return [np.array(list(map(column.get, groups, repeat(0.0))), dtype=np.float64) for column in found.values()]


def dispersions(arms: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """By share of requests (errors, slow, shift): how many requests are worth one independent one, as users who keep to their arm differ.

    The evidence of either side is to be divided by it. Of the candidate's groups alone or of both arms', each about its own rate, where
    that is larger: a user of whom everything fails is one error, and may be the only one there is. Of labels, how users
    differ in every other one of them. Empty where users are not known.

    Args:
        arms: counts by arm, over all the evidence there is.
    """
    found = []
    for arm in ("stable", "candidate"):
        whole, side = arms.get(arm, {}).get("requests", 0.0), by_group(arms.get(arm, {}), "requests", "errors", "slow", "odd_labels")
        if whole <= 0 or side[0].sum() < KNOWN * whole:
            return {}
        found.append(side)
    out = {}
    requests, errors, slow, odd = np.zeros((4, 2, max(side[0].size for side in found)))
    for i, side in enumerate(found):
        for table, column in zip((requests, errors, slow, odd), side, strict=True):
            table[i, : column.size] = column
    for name, counts, totals in (
        ("errors", errors, requests),
        ("slow", slow, requests),
        ("shift", odd, np.maximum(requests - errors, 0.0)),
    ):
        counts = np.minimum(counts, totals)
        out[name] = max(dispersion(counts, totals), dispersion(counts[1], totals[1]))
    return out


def without(counts: Mapping[str, float], *names: str) -> Counts:
    """The counts less those of these counters by group, or of any where none is named."""
    signs = {BY_USER[n] for n in names or BY_USER}
    return {k: v for k, v in counts.items() if k[:2] not in signs}


def known(counts: Mapping[str, float], name: str) -> float:
    """The share of a counter that is of known users, between 0 and 1; 0 where there is nothing."""
    whole, sign = counts.get(name, 0.0), BY_USER[name]
    return min(sum(v for k, v in counts.items() if k[:2] == sign) / whole, 1.0) if whole > 0 else 0.0
