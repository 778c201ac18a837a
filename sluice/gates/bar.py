"""The bar: is the deciding metric good enough on the held-out rows?"""

from __future__ import annotations

from html import escape
from typing import Any

from pydantic import Field

from sluice.core.check import Check, Decision
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig, of_units

_SHOWN_LABELS = 5


class BarConfig(MetricConfig):
    """The metric's worst value."""

    minimum: float | None = Field(None, description="worst value accepted (a maximum for losses and errors)")


class Bar(Check):
    """Refuses where the metric's value is worse than `minimum`; warns of labels that are never answered and of intervals that say too much."""

    name, step, Config = "bar", "evaluate", BarConfig
    then = "{better}, or change evaluate.minimum"

    def judge(self, facts: Judged, config: BarConfig) -> Decision:
        """The decision of `decide`."""
        return decide(facts.evaluation, config)

    def section(self, decision: Decision) -> str:
        """Every metric with its interval."""
        from sluice.report import svg
        from sluice.report.tables import Html, table

        found, precision = decision.evidence["evaluation"], decision.evidence.get("precision")
        metrics = [
            [
                Html(f"<b>{escape(n)}</b>") if n == found["metric"] else n,
                m["value"],
                svg.between(m["low"], m["high"]) if m.get("low") is not None else m.get("why", ""),
            ]
            for n, m in sorted(found["metrics"].items(), key=lambda item: item[0] != found["metric"])
        ]
        out = "<h3>On the held-out rows</h3>" + table(["metric", "value", "interval"], metrics, (1,))
        if found.get("unit"):
            said = f"Of {found['rows']:,} rows{of_units(found)}: rows of one unit may depend on each other, so intervals and comparisons are of units."
            out += f'<p class="note">{escape(said)}</p>'
        notes = [m["note"] for m in found["metrics"].values() if m.get("note")]
        out += f'<p class="note">{escape("; ".join(notes))}</p>' if notes else ""
        if precision:
            out += f'<p class="note">of the answers of the package as it is served: {escape(_form(decision, str(precision)))}</p>'
        return out


def _form(decision: Decision, precision: str) -> str:
    """What is served: a graph of a format, or what is none."""
    return precision if "prompts" in decision.evidence or decision.evidence.get("graph") is False else f"ONNX, {precision}"


def decide(evaluation: dict[str, Any], config: BarConfig) -> Decision:
    """Whether the metric clears the bar.

    Args:
        evaluation: of `sluice.problems.evaluator.evaluate`.
        config: the bar.
    """
    metric, value = evaluation["metric"], evaluation["value"]
    lower = evaluation["direction"] == "lower"
    against: tuple[str, ...] = ()
    beside, narrow = never_predicted(evaluation), too_narrow(evaluation)
    if config.minimum is not None:
        if value is None:
            against = (f"{metric} is not defined on the held-out rows, so it cannot reach evaluate.minimum {config.minimum:g}",)
        elif value > config.minimum if lower else value < config.minimum:
            against = (
                f"{metric} {number(value)} ({_range(evaluation)}) is {'above' if lower else 'below'} evaluate.minimum {config.minimum:g}",
            )
    found = (
        (
            f"{metric} {number(value)} ({_range(evaluation)}) on {evaluation['rows']} {evaluation.get('counted', 'held-out rows')}{of_units(evaluation)}",
        )
        if value is not None
        else ()
    )
    evidence, cautions = {"evaluation": evaluation}, (*beside, *narrow)
    if against:
        return Decision("refuse", against, evidence, cautions, always=beside)
    return Decision("pass", (*found, *beside, *narrow), evidence, cautions, always=beside)


def too_narrow(evaluation: dict[str, Any]) -> tuple[str, ...]:
    """A warning where the deciding metric's interval says more than these rows show."""
    note = evaluation["metrics"].get(evaluation["metric"], {}).get("note")
    return (f"warning: {note}",) if note else ()


def never_predicted(evaluation: dict[str, Any]) -> tuple[str, ...]:
    """A warning of labels that are never answered, with what to do."""
    missed = evaluation.get("never_predicted") or []
    if not missed:
        return ()
    shown = ", ".join(f"{m['label']!r} ({m['rows']} rows, {m['rows'] / evaluation['rows']:.1%})" for m in missed[:_SHOWN_LABELS])
    more = f" and {len(missed) - _SHOWN_LABELS} labels more" if len(missed) > _SHOWN_LABELS else ""
    two = len(evaluation["confusion"]["labels"]) == 2
    threshold = "choose a threshold with evaluate.decision (for example {aim: f1}), or " if two else ""
    return (f"warning: it never predicts {shown}{more} of the held-out rows: {threshold}set train.class_weights: balanced",)


def _range(e: dict[str, Any]) -> str:
    return f"{e['confidence']:.0%} interval {between(e['low'], e['high'])}" if e["low"] is not None else "no interval"


def number(value: float | None) -> str:
    """A value to four digits, or that it is undefined."""
    from sluice.report import svg

    return "undefined" if value is None else svg.number(value)


def between(low: float, high: float) -> str:
    """The limits of an interval, as in a report."""
    from sluice.report import svg

    return svg.between(low, high)
