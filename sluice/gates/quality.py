"""From numbers to a decision a person can follow."""

from __future__ import annotations

from typing import Any

from sluice.core.gate import Decision
from sluice.gates.config import EvaluateConfig
from sluice.gates.floor import rounded_up

_SHOWN_SLICES = 5


def decide(
    evaluation: dict[str, Any], comparison: dict[str, Any] | None, config: EvaluateConfig, floor: dict[str, Any] | None = None
) -> tuple[Decision, list[str]]:
    """The evaluation gate.

    A refusal: the metric's value is worse than `minimum`; a slice is worse than `slice_minimum`; the
    champion is better by more than the margin beyond doubt, which happens to one no worse than it with probability (1 - confidence) / 2 at most;
    or it cannot be told and `on_inconclusive` says so. The bare difference refuses nobody: of candidates as good as the champion a third
    would look worse by a margin of half a point on a few hundred rows. ``inconclusive`` goes on: the rollout will tell. Champion or none, a model shown to be no better than the trivial one is
    refused (`evaluate.baselines.on_no_better`), and one that cannot be told from it is ``inconclusive``.

    Args:
        evaluation: of `evaluate`.
        comparison: of `compare`; None where there is no champion to compare with.
        floor: of `floor.judge`; None: not looked at.

    Returns:
        The decision, and sentences that say why: all that speaks against it, or what it passed by.
    """
    metric, against = evaluation["metric"], []
    value = evaluation["value"]
    lower = evaluation["direction"] == "lower"
    if config.minimum is not None:
        if value is None:
            against.append(f"{metric} is not defined on the held-out rows, so it cannot reach evaluate.minimum {config.minimum:g}")
        elif value > config.minimum if lower else value < config.minimum:
            against.append(
                f"{metric} {_number(value)} ({_range(evaluation)}) is {'above' if lower else 'below'} evaluate.minimum {config.minimum:g}"
            )
    failed = [s for s in evaluation["slices"] if s["ok"] is False]
    against += [
        f"on the {s['rows']} rows where {s['column']} is {s['value']!r} {metric} is {_number(s['metric'])}, "
        f"{'above' if lower else 'below'} evaluate.slice_minimum {config.slice_minimum:g}"
        for s in failed[:_SHOWN_SLICES]
    ]
    if len(failed) > _SHOWN_SLICES:
        against.append(f"{len(failed) - _SHOWN_SLICES} more slices are {'above' if lower else 'below'} evaluate.slice_minimum")
    passed = [f"{metric} {_number(value)} ({_range(evaluation)}) on {evaluation['rows']} held-out rows"] if value is not None else []
    passed += never_predicted(evaluation) + too_narrow(evaluation)
    few = [s for s in evaluation["slices"] if s["ok"] is None] if config.slice_minimum is not None else []
    if few:
        passed.append(
            f"{len(few)} slices are too small for evaluate.slice_minimum (fewer than {config.slice_rows} rows) and were not judged"
        )
    unsure = _floor(floor, config, against, passed) if floor else False
    if comparison is None:
        return ("refuse", [*against, *never_predicted(evaluation)]) if against else ("inconclusive" if unsure else "pass", passed)
    verdict, said = comparison["verdict"], _sentence(comparison)
    if verdict == "worse":
        against.append(f"worse than the champion: {said}")
    elif verdict == "inconclusive" and config.on_inconclusive == "refuse":
        against.append(f"cannot be told from the champion and evaluate.on_inconclusive is refuse: {said}")
    if against:
        return "refuse", [*against, *never_predicted(evaluation)]
    if verdict == "inconclusive":
        return "inconclusive", [
            *passed,
            f"the held-out rows cannot tell it from the champion, so the rollout decides: {said}{_resolution(comparison)}",
        ]
    return "inconclusive" if unsure else "pass", [
        *passed,
        f"{'better than' if verdict == 'better' else 'no worse than'} the champion: {said}",
    ]


def _floor(floor: dict[str, Any], config: EvaluateConfig, against: list[str], passed: list[str]) -> bool:
    """What the baselines say, into either list; true where the rows are too few to tell the model from the trivial one."""
    verdict, said = floor["verdict"], floor["said"]
    if verdict == "no_better" and config.baselines.on_no_better == "refuse":
        against.append(f"no better than no model: {said}")
    elif verdict == "no_better":
        passed.append(f"no better than no model (evaluate.baselines.on_no_better is warn): {said}")
    elif verdict == "inconclusive" and config.on_inconclusive == "refuse":
        against.append(f"cannot be told from no model and evaluate.on_inconclusive is refuse: {said}")
    else:
        passed.append(said)
    if floor["ahead"]:
        refuse = config.baselines.on_ahead == "refuse"
        (against if refuse else passed).append(floor["ahead"] + (" and evaluate.baselines.on_ahead is refuse" if refuse else ""))
    return bool(verdict == "inconclusive")


def cautions(floor: dict[str, Any]) -> list[str]:
    """What a person has to hear of the floor beside a verdict of `pass`."""
    spoken = [floor["said"]] if floor["verdict"] != "better" else []
    return spoken + ([floor["ahead"]] if floor["ahead"] else [])


def too_narrow(evaluation: dict[str, Any]) -> list[str]:
    """A warning where the deciding metric's interval says more than these rows show."""
    note = evaluation["metrics"].get(evaluation["metric"], {}).get("note")
    return [f"warning: {note}"] if note else []


def never_predicted(evaluation: dict[str, Any]) -> list[str]:
    """A warning of labels that are never answered, with what to do."""
    missed = evaluation.get("never_predicted") or []
    if not missed:
        return []
    shown = ", ".join(f"{m['label']!r} ({m['rows']} rows, {m['rows'] / evaluation['rows']:.1%})" for m in missed[:_SHOWN_SLICES])
    more = f" and {len(missed) - _SHOWN_SLICES} labels more" if len(missed) > _SHOWN_SLICES else ""
    two = len(evaluation["confusion"]["labels"]) == 2
    threshold = "choose a threshold with evaluate.decision (for example {aim: f1}), or " if two else ""
    return [f"warning: it never predicts {shown}{more} of the held-out rows: {threshold}set train.class_weights: balanced"]


def _sentence(c: dict[str, Any]) -> str:
    note = f" ({c['note']})" if c["note"] else ""
    if c["difference"] is None:
        return f"{c['metric']} cannot be compared on {c['rows']} shared rows{note}"
    limits = f", {c['confidence']:.0%} interval {c['low']:+.4g} to {c['high']:+.4g}" if c["low"] is not None else ""
    return (
        f"{c['metric']} {_number(c['candidate'])} against {_number(c['champion'])}, {_gain(c)}{limits}, "
        f"margin {c['margin']:.4g}, on {c['rows']} rows{note}"
    )


def _resolution(c: dict[str, Any]) -> str:
    """What difference these rows can show, and how many the margin needs: the interval's half-width falls with the root of the rows."""
    if c["low"] is None or not c["high"] > c["low"]:
        return ""
    half = (c["high"] - c["low"]) / 2
    needed = (
        f", the margin needs about {rounded_up(c['rows'] * (half / c['margin']) ** 2):,}" if c["margin"] > 0 and half > c["margin"] else ""
    )
    return f"; so many rows show a difference from about {half:.2g} on{needed}"


def _gain(c: dict[str, Any]) -> str:
    d = c["difference"]
    return "equal" if d == 0 else f"{'better' if d > 0 else 'worse'} by {abs(d):.4g}"


def _range(e: dict[str, Any]) -> str:
    return f"{e['confidence']:.0%} interval {_number(e['low'])} to {_number(e['high'])}" if e["low"] is not None else "no interval"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
