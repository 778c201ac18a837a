"""A/B: who wins by a business outcome, on the unit that was drawn into an arm (`Business.unit`)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sluice.rollouts import evidence, users
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import Counts
from sluice.stats import clustered_difference, mean_difference_interval
from sluice.stats.clusters import FEWEST_INTERVAL, Arm

#: What makes an outcome's user known, or says that it need not be.
FIX = (
    "with traffic.sticky: Cookie send the users' cookies along with feedback, or name them by x-sluice-user there and in requests, and keep "
    "the label `group` in business.queries; "
    "where no user has two outcomes, say so: business.unit: Request"
)


def check(spec: RolloutSpec, a: Counts, b: Counts) -> dict[str, Any]:
    """The evidence of the outcomes so far, and its verdict: decided when a confidence sequence for the difference of means leaves 0.

    Of unit ``users``, outcomes of users who are not known are left out; where they are many nothing is decided, since a user who comes
    again makes a winner among equals certain in the end.

    Args:
        a, b: counts of the stable and the candidate arm since the comparison began.
    """
    assert spec.business is not None
    by_user = spec.business.unit == "user"
    low, high, more = (_by_user if by_user else _by_request)(spec, a, b)
    if spec.business.better == "lower":
        low, high = -high, -low
    n = [c.get("outcomes", 0) for c in (a, b)]
    enough = min(n) >= spec.business.minimum_outcomes
    verdict = "pass" if enough and low > 0 else "fail" if enough and high < 0 else "wait"
    sides = [{"n": m, "mean": c.get("outcome_sum", 0) / m if m else None} for m, c in zip(n, (a, b), strict=True)]
    found = {
        "metric": "business",
        "unit": "users" if by_user else "requests",
        "stable": sides[0],
        "candidate": sides[1],
        "low": low if math.isfinite(low) else None,
        "high": high if math.isfinite(high) else None,
        "verdict": verdict,
        **more,
    }
    return {**found, "reason": more.get("reason") or _sentence(found)}


def _by_request(spec: RolloutSpec, a: Counts, b: Counts) -> tuple[float, float, dict[str, Any]]:
    first, second = [(c.get("outcomes", 0.0), c.get("outcome_sum", 0.0), c.get("outcome_squares", 0.0)) for c in (a, b)]
    return *mean_difference_interval(first, second, spec.alpha / len(evidence.family(spec))), {}


def _by_user(spec: RolloutSpec, a: Counts, b: Counts) -> tuple[float, float, dict[str, Any]]:
    whole = [c.get("outcomes", 0.0) for c in (a, b)]
    known = [users.known(c, "outcomes") for c in (a, b)]
    more: dict[str, Any] = {"known": [round(k, 4) for k in known]}
    if any(n > 0 and k < users.KNOWN for n, k in zip(whole, known, strict=True)):
        # All of one arm may be told first: the arm with the fewest known speaks.
        share, told = min((k, n) for n, k in zip(whole, known, strict=True) if n > 0)
        return (
            -math.inf,
            math.inf,
            {
                **more,
                "reason": f"business outcome: {told - share * told:.0f} of {told:.0f} outcomes are of nobody knows whom, and "
                f"users who come again are not independent; no winner is named: {FIX}",
            },
        )
    arms = []
    for c, part in zip((a, b), known, strict=True):
        n, sums = users.by_group(c, "outcomes", "outcome_sum")
        # The squares are not by group: those of known users are taken to be their share.
        arms.append(Arm(n, np.where(n > 0, sums, 0.0), c.get("outcome_squares", 0.0) * part))
    found = clustered_difference(arms[0], arms[1], spec.alpha / len(evidence.family(spec)))
    more |= {"groups": list(found.groups), "dispersion": [round(d, 3) for d in found.dispersion]}
    fewest = min(found.groups)
    if fewest < FEWEST_INTERVAL and min(whole) >= 1:
        more["reason"] = (
            f"business outcome: outcomes of {fewest} group{'' if fewest == 1 else 's'} of users so far, {FEWEST_INTERVAL} are needed"
        )
    return found.low, found.high, more


def _sentence(c: dict[str, Any]) -> str:
    shown = f"between {c['low']:+.4g} and {c['high']:+.4g} better" if c["low"] is not None else "not known yet"
    text = f"business outcome of the candidate is {shown} than stable's ({c['candidate']['n']:.0f} and {c['stable']['n']:.0f} outcomes"
    if "dispersion" in c and max(c["dispersion"]) > 1:
        worth = [c[arm]["n"] / d for arm, d in zip(("candidate", "stable"), reversed(c["dispersion"]), strict=True)]
        text += f" of users who come again, worth {worth[0]:.0f} and {worth[1]:.0f} independent ones"
    return text + ")"
