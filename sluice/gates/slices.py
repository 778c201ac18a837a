"""The slices: is the metric good enough on each value of a column? An average can hide a group the model fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from sluice.core.check import Check, Decision
from sluice.core.predicate import names, well_formed
from sluice.core.section import Names
from sluice.gates.bar import number
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig, of_units

_SHOWN = 5
#: A column, or an expression (`sluice.core.predicate`).
Slice = Annotated[str, AfterValidator(well_formed)]


class SlicesConfig(MetricConfig):
    """Which groups are looked at, and the metric's worst value on them."""

    slices: Annotated[list[Slice], Names("held", read=names)] = Field(
        [],
        description="columns whose values are reported apart ('label': the classes), and rows told by an expression: age >= 60 and plan == 'basic'",
    )
    slice_minimum: float | None = Field(None, description="worst value accepted on a slice")
    slice_rows: int = Field(10, ge=1, description="rows (units, where rows belong together) a slice needs for slice_minimum to apply to it")


class Slices(Check):
    """Refuses where a slice is worse than `slice_minimum`."""

    name, step, Config = "slices", "evaluate", SlicesConfig
    then = "{more} of that slice, or change evaluate.slice_minimum"

    def judge(self, facts: Judged, config: SlicesConfig) -> Decision:
        """The decision of `decide`."""
        return decide(facts.evaluation, config)

    def section(self, decision: Decision) -> str:
        """Each slice's metric with its interval."""
        from sluice.report import svg
        from sluice.report.tables import Html, table

        rows = decision.evidence["evaluation"].get("slices") or ()
        shown = [
            [
                r["column"],
                r["value"],
                r["metric"],
                svg.between(r["low"], r["high"]) if r.get("low") is not None else "",
                r["rows"],
                Html("" if r.get("ok", True) else '<b class="bad-text">below the bar</b>'),
            ]
            for r in rows
        ]
        told = table(["column", "value", "metric", "interval", "rows", ""], shown, (2, 4))
        return f"<details><summary>Slices ({len(rows)})</summary>{told}</details>" if rows else ""


def called(found: Mapping[str, Any]) -> str:
    """Which rows a slice is of, for a sentence: ``plan is 'basic'``, or its expression."""
    return f"{found['column']} is {found['value']!r}" if found["value"] else str(found["column"])


def decide(evaluation: dict[str, Any], config: SlicesConfig) -> Decision:
    """Whether every slice that has the rows for it clears the bar.

    Args:
        evaluation: of `sluice.problems.evaluator.evaluate`, with its ``slices``.
        config: the bar.
    """
    if config.slice_minimum is None:
        return Decision("pass")
    metric, side = evaluation["metric"], "above" if evaluation["direction"] == "lower" else "below"
    failed = [s for s in evaluation["slices"] if s["ok"] is False]
    against = [
        f"on the {s['rows']} rows{of_units(s)} where {called(s)} {metric} is {number(s['metric'])}, "
        f"{side} evaluate.slice_minimum {config.slice_minimum:g}"
        for s in failed[:_SHOWN]
    ]
    if len(failed) > _SHOWN:
        against.append(f"{len(failed) - _SHOWN} more slices are {side} evaluate.slice_minimum")
    if against:
        return Decision("refuse", tuple(against))
    few = sum(s["ok"] is None for s in evaluation["slices"])
    said = f"{few} slices are too small for evaluate.slice_minimum (fewer than {config.slice_rows} {'units' if evaluation.get('unit') else 'rows'}) and were not judged"
    return Decision("pass", (said,) if few else ())
