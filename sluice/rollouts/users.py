"""Counters by groups of whole users: what makes evidence hold where one user comes again and again.

The model server spreads users over a few dozen groups and counts each (`serving/runtime/users.py`, or any counters with a label
``group``). Groups are independent of each other whatever one user does, and they add up over pods and looks.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sluice.rollouts.state import BY_USER, Counts
from sluice.stats import dispersion
from sluice.stats.special import Floats

#: Of an arm's counts, the share that has to be of known users before the rest may be left out.
KNOWN = 0.9


def by_group(counts: Mapping[str, float], *names: str) -> list[Floats]:
    """Counters (`state.BY_USER`) by group, each of shape [groups], over the groups that any of them has."""
    places = {BY_USER[name]: i for i, name in enumerate(names)}
    groups: dict[str, list[float]] = {}
    for k, v in counts.items():
        if k[1:2] == "@" and (i := places.get(k[:2])) is not None:
            groups.setdefault(k[2:], [0.0] * len(names))[i] = v
    return list(np.array(list(groups.values()), dtype=np.float64).reshape(-1, len(names)).T)


def dispersions(arms: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """By share of requests (errors, slow, shift): how many requests are worth one independent one, as users who keep to their arm differ.

    The evidence of either side is to be divided by it. Of the candidate's groups alone or of both arms', each about its own rate, where
    that is larger: a user of whom everything fails is one error, and may be the only one there is. Of labels, how users
    differ in every other one of them. Empty where users are not known.

    Args:
        arms: counts by arm, over all the evidence there is.
    """
    if any(known(c, "requests") < KNOWN for c in (arms.get("stable", {}), arms.get("candidate", {}))):
        return {}
    out = {}
    found = [by_group(arms[arm], "requests", "errors", "slow", "odd_labels") for arm in ("stable", "candidate")]
    most = max(side[0].size for side in found)
    requests, errors, slow, odd = (np.stack([np.pad(side[i], (0, most - side[i].size)) for side in found]) for i in range(4))
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
