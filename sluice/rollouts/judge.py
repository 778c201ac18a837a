"""From the running tests to a verdict with its reasons and numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sluice.rollouts import business, evidence, stretches, users
from sluice.rollouts.evidence import DISAGREEMENT, SHIFT
from sluice.rollouts.spec import Margin, RolloutSpec
from sluice.rollouts.state import Counts, State, Verdict, has_labels
from sluice.rollouts.stretches import COST, RATES
from sluice.stats import combine, difference_interval, rate_exceeds, rate_log_e

Judgement = tuple[Verdict, tuple[str, ...], tuple[dict[str, Any], ...]]

#: Answers that must be compared with stable's before the shadow may pass; a dozen show that none agrees.
_COMPARED = 50
#: Above this share of errors nothing is promoted even where stable is as bad.
_BROKEN = 0.5
#: How a reason begins that stopped nothing.
WARNING = "warning: "
#: What a share is called in a sentence.
WORDS = {
    "errors": "errors",
    "slow": "slow answers",
    "wrong": "wrong answers",
    SHIFT: "label shares",
    DISAGREEMENT: "disagreement with stable",
    COST: "cost of an answer",
    "business": "business outcome",
}


def judge(spec: RolloutSpec, state: State) -> Judgement:
    """The verdict on the window so far: failure first, then missing data, then what is still open.

    Returns:
        ``(verdict, reasons, checks)``; a check is one share's counts, evidence and own verdict.
    """
    a, b = state.window.get("stable", {}), state.window.get("candidate", {})
    apart = users.dispersions(state.total)
    clumps: dict[str, tuple[float, str]] = {}
    shadow = state.phase == "Shadow"
    # Where no user meets the candidate there is time to let a longer trouble of its process pass.
    worse = evidence.against(spec, state.tests, state.total, apart, clumps, (2 if shadow else 1) * spec.trouble_seconds)
    good = {name: e / apart.get(name, 1.0) for name, e in evidence.in_favour(state.tests).items()}
    checks = [{**_check(spec, name, a, b, worse, good, shadow), **_unit(apart.get(name))} for name in _required(spec, state, a, b)]
    for c in checks:
        _clumped(c, *clumps.get(c["metric"], (1.0, "")), stretches.alone(state.tests.get("stretches", {})))
    if SHIFT in {c["metric"] for c in checks}:
        _describe_shift(checks, state, worse, good, spec)
    if shadow and state.total.get("candidate", {}).get("compared", 0):
        checks.append(_disagreement(spec, state, worse))
    outcome = business.check(spec, a, b) if spec.strategy == "ab" and not shadow else None
    if outcome:
        checks.append(outcome)
    sequence = tuple(checks)

    joint = evidence.together(spec, worse)
    if joint >= math.log(1 / spec.alpha) or (outcome and outcome["verdict"] == "fail"):
        return "fail", _why_failed(spec, checks, worse, joint), sequence
    if not a.get("requests") or not b.get("requests"):
        return "no data", (f"no requests in the {'stable' if not a.get('requests') else 'candidate'} arm yet",), sequence
    still = [WORDS[c["metric"]] for c in checks if c["verdict"] != "pass" and c is not outcome]
    open_ = [f"not yet shown to be within the margin: {', '.join(still)}"] if still else []
    wanted = spec.shadow.requests if shadow else spec.minimum_requests
    if b["requests"] < wanted:
        open_.insert(0, f"{b['requests']:.0f} of {wanted} candidate requests")
    compared, few = _compared(spec, state)
    if shadow and compared is not None and compared < few:
        open_.insert(0, f"{compared:.0f} of {few} answers compared with stable's")
    if outcome and outcome["verdict"] != "pass":
        open_.append(outcome["reason"])
    if above := _above_ceiling(spec, a, b):
        open_.insert(0, above)
    if open_:
        return "wait", tuple(open_), sequence
    return "pass", (f"{b['requests']:.0f} candidate requests, {b.get('errors', 0):.0f} errors; no share worse by its margin",), sequence


def _above_ceiling(spec: RolloutSpec, a: Counts, b: Counts) -> str | None:
    """Why this share of errors may not be promoted, however the margin lies: the candidate is shown above the ceiling, and stable is not.

    Shown by the arms' confidence sequences, so that a bad minute proves nothing; where stable lies above it too, the ceiling tells the two
    models no longer apart, and they are compared as everywhere. Where most answers of both are errors, something else is broken.
    """
    arms = [(c["requests"], min(c.get("errors", 0), c["requests"])) for c in (a, b)]
    above = [rate_exceeds(n, k, spec.error_ceiling, spec.alpha) for n, k in arms]
    both = all(above)
    if not above[1] or (both and not rate_exceeds(*arms[1], _BROKEN, spec.alpha)):
        return None
    (n_a, k_a), (n_b, k_b) = arms
    beside = f"as are {k_a / n_a:.1%} of stable's" if both else f"where stable's {k_a / n_a:.1%} are not"
    return f"{k_b / n_b:.1%} of the candidate's answers are errors, shown to be above the ceiling of {spec.error_ceiling:.0%}, {beside} (rollout.error_ceiling)"


def _compared(spec: RolloutSpec, state: State) -> tuple[float | None, int]:
    """(answers compared with stable's so far, how many there must be); None where nobody compares.

    Copies come as fast as the users' requests do, comparisons at a pace of their own: a shadow that
    passed on copies alone could be over before the answers were looked at.
    """
    comparing = any("compared" in counts for counts in state.cursor.get("candidate", {}).values())
    return state.total.get("candidate", {}).get("compared", 0) if comparing else None, min(spec.shadow.requests, _COMPARED)


def _required(spec: RolloutSpec, state: State, a: Counts, b: Counts) -> list[str]:
    """The shares this window must show: truth and labels only where there are any."""
    names = ["errors"] + (["slow"] if spec.slow is not None and state.phase != "Shadow" else [])
    arms = (a, b, *state.total.values())
    # In the shadow only a comparison can know the truth of answers nobody got; what it knew there says nothing of a step.
    judged = [c.get("judged", 0) for c in (a, b)]
    if spec.wrong is not None and (all(judged) if state.phase == "Shadow" else any(judged)):
        names.append("wrong")
    if spec.shift is not None and any(map(has_labels, arms)):
        names.append(SHIFT)
    if spec.cost is not None and state.tests.get("bound") is not None:
        names.append(COST)
    return names


def _check(
    spec: RolloutSpec, name: str, a: Counts, b: Counts, worse: Mapping[str, float], good: Mapping[str, float], shadow: bool
) -> dict[str, Any]:
    limits: Margin = getattr(spec, name)
    all_key, bad_key = RATES.get(name, ("", ""))
    check: dict[str, Any] = {
        "metric": name,
        "tolerance": limits.tolerance,
        "margin": limits.margin,
        "e_worse": _e(worse.get(name, 0.0)),
        "e_within": _e(good.get(name, 0.0)),
    }
    if name in RATES:
        n_a, k_a, n_b, k_b = a.get(all_key, 0), a.get(bad_key, 0), b.get(all_key, 0), b.get(bad_key, 0)
        check |= {
            "stable": {"n": n_a, "bad": k_a},
            "candidate": {"n": n_b, "bad": k_b},
            "difference": round(k_b / n_b - k_a / n_a, 6) if n_a and n_b else None,
        }
    if name == COST:
        check |= _dearer(check["stable"], check["candidate"])
    if worse.get(name, 0.0) >= math.log(len(evidence.family(spec)) / spec.alpha):
        check["verdict"] = "fail"
    elif shadow:
        # Nobody sees the answers and the steps bring the proof: here it takes no more than looking no worse.
        looks = check.get("difference")
        check["verdict"] = "pass" if name not in RATES or (looks is not None and looks <= limits.margin) else "wait"
        check["looked_at"] = True
    else:
        check["verdict"] = "pass" if good.get(name, -1.0) >= math.log(1 / spec.alpha) else "wait"
    check["reason"] = _sentence(name, check)
    return check


def _dearer(stable: Mapping[str, float], candidate: Mapping[str, float]) -> dict[str, Any]:
    """By how much the candidate's answers cost more, as a share of what stable's cost: of costs up to a bound, the unit of the limits. No interval."""
    known = stable["n"] and candidate["n"] and stable["bad"]
    dearer = candidate["bad"] / candidate["n"] / (stable["bad"] / stable["n"]) - 1 if known else None
    return {"difference": None if dearer is None else round(dearer, 6), "low": None, "high": None}


def _unit(apart: float | None) -> dict[str, Any]:
    """What counts as one observation: a request, or where users are known as much as they are alike."""
    return {"unit": "requests"} if apart is None else {"unit": "users", "dispersion": round(apart, 3)}


def _clumped(check: dict[str, Any], clump: float, seen: str, alone: bool) -> None:
    """Say by how much the evidence was divided, and where a process's own trouble cannot be told from the model's."""
    if clump >= 1.05:
        check |= {"dispersion": round(clump, 3)}
        check["reason"] += f"; {clump:.1f} bad answers of one cause {seen}, so they count for one"
    if check["verdict"] == "fail" and alone and check["metric"] in RATES:
        check["reason"] += "; the candidate has one process, whose own trouble would look the same if it lasts"


def _sentence(name: str, c: Mapping[str, Any]) -> str:
    words = WORDS[name]
    if name == COST:
        return _of_costs(words, c)
    if "stable" in c:
        a, b = c["stable"], c["candidate"]
        if not a["n"] or not b["n"]:
            return f"{words}: not measured in both arms"
        words += (
            f" {b['bad']:.0f} of {b['n']:.0f} ({b['bad'] / b['n']:.2%}) against {a['bad']:.0f} of {a['n']:.0f} ({a['bad'] / a['n']:.2%})"
        )
    tail = {
        "pass": f"shown to be less than {_points(c['margin'])} worse",
        "wait": f"not yet shown to be less than {_points(c['margin'])} worse",
        "fail": f"shown to be more than {_points(c['tolerance'])} worse",
    }
    if c.get("looked_at") and c["verdict"] != "fail":
        tail = {"pass": "looks no worse", "wait": f"looks more than {_points(c['margin'])} worse"}
    return f"{words}: {tail[c['verdict']]}"


def _of_costs(words: str, c: Mapping[str, Any]) -> str:
    more = c["difference"]
    if more is None:
        return f"{words}: not measured in both arms"
    tail = {
        "pass": f"shown to be less than {c['margin']:.0%} dearer",
        "wait": f"not yet shown to be less than {c['margin']:.0%} dearer",
        "fail": f"shown to be more than {c['tolerance']:.0%} dearer",
    }
    if c.get("looked_at") and c["verdict"] != "fail":
        tail = {"pass": "looks no dearer than allowed", "wait": f"looks more than {c['margin']:.0%} dearer"}
    return f"{words} {more:+.0%} against stable's, of {c['candidate']['n']:.0f} and {c['stable']['n']:.0f} answers: {tail[c['verdict']]}"


def _points(share: float) -> str:
    return "0 points" if share == 0 else f"{100 * share:g} points"


def _e(log_e: float) -> float:
    return float(f"{math.exp(min(log_e, 230.0)):.4g}")


def _describe_shift(
    checks: list[dict[str, Any]], state: State, worse: Mapping[str, float], good: Mapping[str, float], spec: RolloutSpec
) -> None:
    check = next(c for c in checks if c["metric"] == SHIFT)
    found = evidence.distance(state.window, state.tests)
    if found is None:
        check["reason"] = "label shares: no labels in both arms yet"
        return
    js, label, moved = found
    check |= {"js": round(js, 4), "label": label, "moved": round(moved, 4)}
    beyond = f"more than {_points(check['tolerance'])}"
    if spec.shift is not None and evidence.factor(spec.shift) > 1:
        beyond += f", or a rare one by more than {evidence.factor(spec.shift):g} times"
    tail = {
        "pass": f"every label shown to have moved by less than {_points(check['margin'])}",
        "wait": f"not yet shown that every label moved by less than {_points(check['margin'])}",
        "fail": f"shown to have moved by {beyond} (where that is meant, set rollout.shift: null)",
    }[check["verdict"]]
    if check.get("looked_at") and check["verdict"] == "pass":
        tail = "not shown to have moved"
    check["reason"] = f"label shares ({label!r} {100 * moved:+.1f} points, Jensen-Shannon {js:.2f}): {tail}"


def _disagreement(spec: RolloutSpec, state: State, worse: Mapping[str, float]) -> dict[str, Any]:
    c = state.total["candidate"]
    n, k = c["compared"], c.get("disagreed", 0)
    failed = worse.get(DISAGREEMENT, 0.0) >= math.log(len(evidence.family(spec)) / spec.alpha)
    said = "shown to be above" if failed else "not above"
    return {
        "metric": DISAGREEMENT,
        "unit": "requests",
        "candidate": {"n": n, "bad": k},
        "limit": spec.shadow.disagreement,
        "e_worse": _e(worse.get(DISAGREEMENT, 0.0)),
        "verdict": "fail" if failed else "pass",
        "reason": f"disagreement with stable on {k:.0f} of {n:.0f} copies ({k / n:.1%}): {said} {spec.shadow.disagreement:.0%}",
    }


def _why_failed(spec: RolloutSpec, checks: list[dict[str, Any]], worse: Mapping[str, float], joint: float) -> tuple[str, ...]:
    failed = [c["reason"] for c in checks if c["verdict"] == "fail"]
    if failed:
        return tuple(failed)
    # The shares together reached the level none reached alone: name the one that weighs most.
    name = max(worse, key=lambda k: worse[k])
    reasons = [c["reason"] for c in checks if c["metric"] == name]
    return (f"{WORDS[name]} above all: together the shares show a worse candidate (e = {_e(joint):g})", *reasons)


def with_intervals(checks: tuple[dict[str, Any], ...], alpha: float) -> list[dict[str, Any]]:
    """Checks for showing: ``low`` and ``high`` bound the candidate's excess share at all times at once (`stats.difference_interval`)."""
    out = []
    for c in checks:
        if "stable" in c and "low" not in c and c["stable"].get("n") and c["candidate"].get("n"):
            # As many as independent ones are worth, on the unit of the test.
            worth = c.get("dispersion", 1.0)
            (n_a, k_a), (n_b, k_b) = [(x["n"] / worth, min(x["bad"], x["n"]) / worth) for x in (c["stable"], c["candidate"])]
            low, high = difference_interval(n_a, k_a, n_b, k_b, alpha)
            c = {**c, "low": round(float(low), 5), "high": round(float(high), 5)}
        out.append(c)
    return out


def verify(spec: RolloutSpec, state: State) -> str | None:
    """At 100 % there is no second arm: the candidate against what stable showed during the steps, plus the margin.

    A first model has nothing to be compared with: how fast it has to be only the project can say, by `latency_slo_ms`.

    Returns:
        Why to go back, or None.
    """
    reference, seen = state.total.get("stable", {}), state.window.get("candidate", {})
    logs, said = [], []
    for name in ("errors", "slow"):
        limits: Margin | None = getattr(spec, name)
        all_key, bad_key = RATES[name]
        n, k = seen.get(all_key, 0), seen.get(bad_key, 0)
        if limits is None or n <= 0 or (name == "slow" and not asked(spec, state)):
            logs.append(0.0)
            continue
        base = reference.get(bad_key, 0) / reference[all_key] if reference.get(all_key) else 0.0
        limit = min(base + limits.margin, 0.99)
        bets = [limit + (1 - limit) * f for f in (0.05, 0.2, 0.5, 0.9)]
        logs.append(float(combine(rate_log_e(n, min(k, n), limit, bets))))
        said.append((logs[-1], f"{WORDS[name]} {k:.0f} of {n:.0f} ({k / n:.2%}) at 100 %, above {limit:.2%}"))
    if float(combine(logs)) >= math.log(1 / spec.alpha):
        return max(said)[1]
    return None


def asked(spec: RolloutSpec, state: State) -> bool:
    """Whether how fast the candidate is has a limit: the stable model's, or for a first model one that the project sets."""
    return spec.slow is not None and (state.stable is not None or "latency_slo_ms" in spec.model_fields_set)


def caution(spec: RolloutSpec, state: State) -> tuple[str, ...]:
    """What to say beside the promotion of a first model of how fast it answers: it was slow and not stopped for it, or that was not to be told."""
    seen = state.window.get("candidate", {})
    n, k = seen.get("timed", 0), seen.get("slow", 0)
    if state.stable is not None or spec.slow is None:
        return ()
    if not n and state.limited > 0:
        return (f"{WARNING}how fast it answers could not be judged, the machine was the limit: {state.limit}",)
    if asked(spec, state) or not n or k / n <= spec.slow.margin:
        return ()
    return (
        f"{WARNING}{k:.0f} of {n:.0f} answers ({k / n:.0%}) took longer than {spec.latency_slo_ms:g} ms; nothing to compare a first model with, "
        "so this stopped nothing: set rollout.latency_slo_ms where it should",
    )
