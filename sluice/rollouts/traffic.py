"""How much traffic there is, and how long a plan takes at it: known before the first user is sent to the candidate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sluice.rollouts.evidence import requests_to_pass
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import ARMS, Arm, Counts

#: Of a step's deadline: what is watched before a figure is believed, what counters may be behind (60 s at most: a scrape), and what is remembered.
_WATCHED, _BEHIND, _REMEMBERED = 0.25, 1 / 60, 0.25
_WATCHED_MOST, _BEHIND_MOST, _REMEMBERED_LEAST = 60.0, 60.0, 120.0
#: Processes remembered.
_PROCESSES = 100


def observe(seen: Mapping[str, Any], arms: Mapping[str, Arm], now: float, *, copies: bool, deadline: float) -> dict[str, Any]:
    """Take one look at the counters of requests.

    Args:
        seen: what the last call gave, empty at first. arms: as looked at. now: seconds.
        copies: what the candidate answers are copies of stable's requests. deadline: of a step, seconds.

    Returns:
        ``{since, requests, arms, by}``: live requests counted from `since` on, those of each arm (copies too), and each process's counter.
    """
    before, since = seen.get("by", {}), seen.get("since", now)
    by, new = dict(before), dict.fromkeys(ARMS, 0.0)
    for arm in ARMS:
        for r in arms[arm].replicas if arm in arms else ():
            if r.counts is None or "requests" not in r.counts:
                continue
            ident, n = f"{arm}/{r.id}", r.counts["requests"]
            old = before.get(ident, n)
            by.pop(ident, None)
            by[ident] = n
            new[arm] += n - old if n >= old else n
    memory = max(_REMEMBERED_LEAST, _REMEMBERED * deadline)
    left, since = (memory / (now - since), now - memory) if now - since > memory else (1.0, since)
    live = new["stable"] + (0.0 if copies else new["candidate"])
    return {
        "since": since,
        "requests": (seen.get("requests", 0.0) + live) * left,
        "arms": {arm: (seen.get("arms", {}).get(arm, 0.0) + new[arm]) * left for arm in ARMS},
        "by": dict(list(by.items())[-_PROCESSES:]),
    }


def rate(seen: Mapping[str, Any], now: float) -> float:
    """Live requests a second; 0 before there is a figure."""
    return float(seen.get("requests", 0.0) / max(now - seen.get("since", now), 1e-9)) if seen else 0.0


def one_sided(seen: Mapping[str, Any], shares: Mapping[str, float]) -> bool:
    """One arm gets next to nothing of the share of the traffic it is due: no want of traffic, but something broken between router and counters."""
    due = {arm: seen.get("requests", 0.0) * share for arm, share in shares.items()}
    return any(n > 20 and seen["arms"].get(arm, 0.0) < n / 4 for arm, n in due.items())


def at_most(seen: Mapping[str, Any], now: float, deadline: float) -> float:
    """What the traffic may be at most by what was seen: two standard deviations above, its counters a scrape behind; infinite before there is a figure."""
    watched = now - seen.get("since", now)
    behind = min(_BEHIND_MOST, _BEHIND * deadline)
    if not seen or watched < min(_WATCHED_MOST, _WATCHED * deadline) + behind:
        return math.inf
    n = seen["requests"]
    return float((n + 2 * math.sqrt(n) + 2) / (watched - behind))


def wanted(spec: RolloutSpec, known: Counts, *weights: int) -> list[float]:
    """Candidate requests in which a candidate like stable passes a step, half of the time, at each of these weights."""
    return [max(float(spec.minimum_requests), n) for n in requests_to_pass(spec, known, weights)]


def slowest(spec: RolloutSpec, known: Counts, a_second: float) -> tuple[float, float, int]:
    """(seconds, candidate requests, per cent of the traffic) of what takes longest: a step, or at 0 per cent the shadow."""
    parts = [(n, w, w) for n, w in zip(wanted(spec, known, *spec.steps), spec.steps, strict=True)]
    parts.append((float(spec.shadow.requests), spec.shadow.percent, 0))
    found = [(n / (a_second * share / 100) if a_second > 0 else math.inf, n, weight) for n, share, weight in parts if n]
    seconds, n, weight = max(found)
    return seconds + spec.settle_seconds, n, weight


def too_thin(spec: RolloutSpec, known: Counts, seen: Mapping[str, Any], now: float, *, share: float = 1.0, sure: bool = True) -> str | None:
    """Why this plan cannot end in time at the traffic seen, with the figures and what would help; None where it can, or no figure is known yet.

    Args:
        known: stable's counts. share: the part of the planned traffic that is sent now, for which a deadline is put off.
        sure: by the most the traffic may be, else by what it seems to be.
    """
    allowed = spec.step_deadline_seconds / max(share, 0.2)
    most = at_most(seen, now, spec.step_deadline_seconds)
    if math.isinf(most) or slowest(spec, known, most if sure else rate(seen, now))[0] <= allowed:
        return None
    return said(spec, known, rate(seen, now))


def said(spec: RolloutSpec, known: Counts, a_second: float) -> str:
    """The sentence: how long the slowest step takes at this traffic, and which settings would do."""
    seconds, need, weight = slowest(spec, known, a_second)
    if a_second <= 0 or math.isinf(seconds):
        return "there is no traffic: a step needs requests to both models, and no data never passes"
    share = math.ceil(100 * need / (a_second * max(0.8 * spec.step_deadline_seconds - spec.settle_seconds, 1)))
    ways = [f"step_deadline_seconds above {_rounded(1.25 * seconds)}"]
    if 0 < weight < share <= 50:
        ways.insert(0, f"steps that begin at {share} %")
    if weight and need <= spec.minimum_requests:
        ways.append(f"fewer than {spec.minimum_requests} minimum_requests")
    what = f"a step at {weight} %" if weight else f"the shadow, with copies of {spec.shadow.percent} %,"
    return (
        f"{what} takes {span(seconds)} at {pace(a_second)} ({need:.0f} candidate requests), the deadline is "
        f"{span(spec.step_deadline_seconds)}: set {' or '.join(ways)}"
    )


def _rounded(seconds: float) -> int:
    digits = 10 ** max(0, int(math.log10(max(seconds, 1))) - 1)
    return math.ceil(seconds / digits) * digits


def pace(a_second: float) -> str:
    """Requests a second for a person."""
    return f"{a_second:.2g}/s" if a_second < 100 else f"{a_second:.0f}/s"


def span(seconds: float) -> str:
    """Seconds for a person: ``40 s``, ``25 min``, ``4.2 h``."""
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 3600
        else f"{seconds / 3600:.2g} h"
        if seconds < 36_000
        else f"{seconds / 3600:.0f} h"
    )
