"""Fairness: do declared groups of people get the good answer as often, and as often where they should?"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from sluice.core.check import Check, Decision
from sluice.core.errors import ProjectError
from sluice.core.predicate import names
from sluice.core.section import Names, Section
from sluice.gates import bar
from sluice.gates.bar import number
from sluice.gates.facts import Judged
from sluice.gates.slices import Slice
from sluice.problems.config import MetricConfig, of_units

if TYPE_CHECKING:
    from sluice.problems.problem import Problem

_Share = Annotated[float | None, Field(ge=0, le=1)]


class FairnessBounds(Section):
    """How far groups may be apart; what has no bound is reported alone."""

    demographic_parity_difference: _Share = Field(
        None, description="most: of how often groups get the positive answer, the largest less the smallest"
    )
    disparate_impact: _Share = Field(
        None, description="least: of how often groups get the positive answer, the smallest over the largest (0.8: four fifths)"
    )
    equal_opportunity_difference: _Share = Field(None, description="most: the same difference among those whose label is the positive one")
    equalized_odds_difference: _Share = Field(
        None, description="most: the larger of the differences among those whose label is the positive one, and the others"
    )


class FairnessConfig(Section):
    """Which groups are compared, and how far they may be apart."""

    groups: Annotated[list[Slice], Names("held", read=names)] = Field(
        min_length=1,
        description="columns whose values are groups of people (numbers are cut at their quartiles), or expressions; they need not be features",
    )
    positive: Annotated[str | None, Names("class")] = Field(None, description="the answer that is good to get; null: evaluate.positive")
    metrics: FairnessBounds = FairnessBounds()
    support: int = Field(30, ge=5, description="held-out rows (units, where rows belong together) of a group that a rate is told from")
    on_cannot_tell: Literal["continue", "refuse"] = Field(
        "continue", description="where the held-out rows cannot tell whether a bound is kept"
    )

    @field_validator("positive", mode="before")
    @classmethod
    def _as_a_label_is_spelt(cls, label: Any) -> Any:
        if not isinstance(label, bool | int | float):
            return label
        from sluice.core.spelling import value_text

        return value_text(label)


class FairConfig(MetricConfig):
    """Fairness among the settings of the step."""

    fairness: FairnessConfig | None = Field(None, description="null: not looked at", exclude_if=lambda fairness: fairness is None)

    def suits(self, asked: Problem, labels: Sequence[str]) -> None:
        """Raises `ProjectError` where an answer is no label, or none is said to be the good one."""
        super().suits(asked, labels)
        if self.fairness is None:
            return
        if not asked.classes or asked.independent:
            raise ProjectError(
                "is of labels, and an answer here is none", field="evaluate.fairness", fix="remove it, or declare evaluate.slices"
            )
        if self.fairness.positive is None and self.positive is None:
            fix = f"name the answer that is good to get: one of {', '.join(list(labels)[:20])}"
            raise ProjectError("is required", field="evaluate.fairness.positive", fix=fix)


class Fairness(Check):
    """Refuses where a bound is broken beyond doubt: where the whole interval lies on the wrong side of it."""

    name, step, Config = "fairness", "evaluate", FairConfig
    then = "look at each group's rates in the report, {more} of the group that is answered worse, or change the bound (evaluate.fairness.metrics)"

    def judge(self, facts: Judged, config: FairConfig) -> Decision:
        """The decision of `decide`; ``fairness`` of `sluice.gates.groups.measured`."""
        if config.fairness is None:
            return Decision("pass")
        from sluice.gates.groups import of_facts

        return decide(of_facts(facts, config, config.fairness), config.fairness)

    def section(self, decision: Decision) -> str:
        """Each group's rates with their intervals, and what is bounded."""
        found = decision.evidence.get("fairness")
        return _drawn(found) if found else ""


def decide(found: dict[str, Any], config: FairnessConfig) -> Decision:
    """What `sluice.gates.groups.measured` found, against the bounds."""
    every = [(of, m) for of in found["columns"] for m in of["metrics"] if m["bound"] is not None]
    broken = tuple(_sentence(of, m, found) for of, m in every if m["verdict"] == "broken")
    open_ = tuple(f"cannot tell: {_sentence(of, m, found)}" for of, m in every if m["verdict"] == "cannot_tell")
    evidence = {"fairness": found}
    if broken or (open_ and config.on_cannot_tell == "refuse"):
        reasons = (
            broken
            if config.on_cannot_tell == "continue"
            else (*broken, *(f"{s}, and evaluate.fairness.on_cannot_tell is refuse" for s in open_))
        )
        return Decision("refuse", reasons, evidence, open_ if config.on_cannot_tell == "continue" else ())
    kept = sum(m["verdict"] == "kept" for _, m in every)
    return Decision("pass", (f"{kept} of {len(every)} bounds of fairness are kept beyond doubt",) if every else (), evidence, open_)


def _sentence(of: dict[str, Any], m: dict[str, Any], found: dict[str, Any]) -> str:
    where, setting = f"fairness by {of['column']}: {m['metric']}", f"evaluate.fairness.metrics.{m['metric']} {m['bound']:g}"
    if m["value"] is None:
        return f"{where} cannot be told: {m['why']} ({setting})"
    side = {"broken": "beyond", "cannot_tell": "on either side of", "kept": "within"}[m["verdict"]]
    shares = " and to ".join(f"{number(r)} of {g}" for g, r in m["between"])
    between = f"; {found['positive']!r} is answered to {shares}{_among(m['among'])}"
    few = f" ({m['why']})" if m["why"] else ""
    return f"{where} is {number(m['value'])} ({bar.between(m['low'], m['high'])}), {side} {setting}{between}{few}"


def _among(which: str) -> str:
    return {"": "", "positive": ", of those whose label it is", "others": ", of those whose label it is not"}[which]


def _drawn(found: dict[str, Any]) -> str:
    from sluice.report.bars import bars
    from sluice.report.tables import Html, table

    out = f"<h3>Fairness: who is answered {escape(found['positive'])}</h3>"
    words = {"broken": '<b class="bad-text">broken</b>', "cannot_tell": "cannot tell", "kept": "kept", "": ""}
    for of in found["columns"]:
        rows = [
            [
                m["metric"],
                m["value"],
                bar.between(m["low"], m["high"]) if m["low"] is not None else "",
                m["bound"],
                Html(words[m["verdict"]]),
                m["why"],
            ]
            for m in of["metrics"]
        ]
        pictures = "".join(
            f"<div>{bars([(g['group'], g[key]['rate'], g[key]['low'], g[key]['high']) for g in of['groups'] if g[key]['rate'] is not None], title)}</div>"
            for key, title in (
                ("all", "selection rate"),
                ("positive", f"of those labelled {found['positive']}"),
                ("others", "of the others"),
            )
        )
        counts = ", ".join(f"{g['group']} {g['all']['rows']:,} rows{of_units(g)}" for g in of["groups"])
        out += f"<h4>By {escape(of['column'])}</h4><div class='grid2'>{pictures}</div>{table(['', 'value', 'interval', 'bound', '', 'why'], rows, (1, 3))}"
        out += f"<p class='note'>{escape(counts)}</p>"
    return out + (
        f"<p class='note'>Refused where a whole interval lies beyond its bound. Intervals ({found['confidence']:.0%}) hold for all pairs of groups together; rates of "
        f"fewer than {found['support']} rows are compared with none.</p>"
    )
