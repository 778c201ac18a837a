"""Counts of a share that come in batches: kept until both arms have some.

Truth and outcomes are told when somebody tells them, by hour or by file, and the arms' batches need not come between the same two looks.
What one arm alone brought is no evidence yet, and dropping it would leave the share unmeasured for good.
"""

from __future__ import annotations

from collections.abc import Mapping

from sluice.rollouts.state import LABEL, Counts, add, has_labels
from sluice.rollouts.stretches import RATES

_OF = {key: name for name, keys in RATES.items() for key in keys}


def _share(key: str) -> str:
    """The share that a counter belongs to; "" where it belongs to none."""
    return LABEL if key.startswith(LABEL) else _OF.get(key, "")


def _measured(counts: Mapping[str, float]) -> set[str]:
    """The shares with outcomes. Of a share's two counters the one of bad outcomes says nothing of how many there are."""
    found = {name for name, (key, _) in RATES.items() if counts.get(key, 0) > 0}
    if has_labels(counts) and any(v > 0 for k, v in counts.items() if k.startswith(LABEL)):
        found.add(LABEL)
    return found


def matched(kept: Mapping[str, Counts], stable: Counts, candidate: Counts) -> tuple[dict[str, Counts], Counts, Counts]:
    """A block in which each share is measured in both arms or in none.

    Args:
        kept: by arm, what the last call left. stable, candidate: what both arms counted between two looks, weights unchanged.

    Returns:
        ``(kept, stable, candidate)``: what is left for later, and the block with what was kept of its shares. When a share's block closes
        depends on whether there are outcomes, never on what they were.
    """
    arms = {"stable": add(kept.get("stable", {}), stable), "candidate": add(kept.get("candidate", {}), candidate)}
    alone = _measured(arms["stable"]) ^ _measured(arms["candidate"])
    if not alone:
        return {}, arms["stable"], arms["candidate"]
    left = {arm: {k: v for k, v in counts.items() if _share(k) in alone and v} for arm, counts in arms.items()}
    now = {arm: {k: v for k, v in counts.items() if _share(k) not in alone} for arm, counts in arms.items()}
    return left, now["stable"], now["candidate"]
