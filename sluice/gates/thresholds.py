"""Thresholds: is every metric that the project names good enough on the held-out rows, beside the one it is judged by?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from sluice.core.check import Check, Decision
from sluice.core.errors import ProjectError
from sluice.gates.bar import between, number
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig, of_units

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sluice.problems.problem import Problem

_LIMITS = {"higher": ("minimums", "below"), "lower": ("maximums", "above")}


class ThresholdsConfig(MetricConfig):
    """The worst values accepted of metrics, each by its name."""

    minimums: dict[str, float] = Field(
        {}, description="metric -> worst value accepted, where more is better: {macro_f1: 0.7, recall: 0.8}", exclude_if=lambda m: not m
    )
    maximums: dict[str, float] = Field(
        {}, description="metric -> worst value accepted, where less is better: {log_loss: 0.5}", exclude_if=lambda m: not m
    )

    def suits(self, asked: Problem, labels: Sequence[str]) -> None:
        """See `Section.suits`: each metric is of such answers, stands on its side, and has a value that can be reached."""
        super().suits(asked, labels)
        from sluice.problems.metrics import metric_of, need_positive

        for better, name, limit in self.limits():
            where = f"evaluate.{_LIMITS[better][0]}"
            metric = asked.metrics()[metric_of(name, asked.name, where)]
            need_positive(metric, 0 if len(labels) == 2 or self.positive is not None else None, len(labels))
            if metric.better != better:
                key, other = _LIMITS[metric.better][0], {"higher": "larger", "lower": "smaller"}[metric.better]
                raise ProjectError(
                    f"is better the {other} it is", field=where, value=name, fix=f"write evaluate.{key}: {{{name}: {limit:g}}}"
                )
            if limit > metric.most if better == "higher" else limit < metric.least:
                reached = f"{metric.most if better == 'higher' else metric.least:g}"
                raise ProjectError(
                    f"no model can reach it: {name} is {reached} at best",
                    field=f"{where}.{name}",
                    value=limit,
                    fix="write one within reach",
                )

    def limits(self) -> Iterator[tuple[str, str, float]]:
        """Each threshold: ``higher`` or ``lower``, whichever is better, the metric, its worst value."""
        yield from (("higher", name, limit) for name, limit in self.minimums.items())
        yield from (("lower", name, limit) for name, limit in self.maximums.items())


class Thresholds(Check):
    """Refuses where a metric's value is worse than its threshold; each has its own sentence."""

    name, step, Config = "thresholds", "evaluate", ThresholdsConfig
    then = "{better}, or change evaluate.minimums and maximums"

    def judge(self, facts: Judged, config: ThresholdsConfig) -> Decision:
        """The decision of `decide`."""
        return decide(facts.evaluation, config)

    def section(self, decision: Decision) -> str:
        """Each threshold with the value, its interval and how far it is."""
        from sluice.report import svg
        from sluice.report.tables import Html, table

        rows = [
            [
                t["metric"],
                t["value"],
                svg.between(t["low"], t["high"]) if t["low"] is not None else "",
                f"{'at least' if t['better'] == 'higher' else 'at most'} {svg.number(t['limit'])}",
                Html('<span class="ok-text">reached</span>' if t["ok"] else '<b class="bad-text">missed</b>'),
            ]
            for t in decision.evidence.get("thresholds") or ()
        ]
        return "<h3>Thresholds</h3>" + table(["metric", "value", "interval", "threshold", ""], rows, (1,)) if rows else ""


def decide(evaluation: dict[str, Any], config: ThresholdsConfig) -> Decision:
    """Whether every metric clears its threshold: by its value on these rows, as `evaluate.minimum` is.

    Args:
        evaluation: of `sluice.problems.evaluator.evaluate`.
        config: the thresholds.

    Returns:
        With evidence ``thresholds`` [{metric, better, value, low, high, limit, ok}].
    """
    rows = []
    for better, name, limit in config.limits():
        found = evaluation["metrics"].get(name) or {"value": None, "low": None, "high": None, "why": "it is not measured of such answers"}
        value = found["value"]
        ok = value is not None and (value >= limit if better == "higher" else value <= limit)
        told = {key: found.get(key) for key in ("value", "low", "high")}
        rows.append({"metric": name, "better": better, "limit": limit, "ok": ok, **told, "why": found.get("why", "")})
    if not rows:
        return Decision("pass")
    said = [_sentence(r, evaluation) for r in rows]
    against = tuple(s for s, r in zip(said, rows, strict=True) if not r["ok"])
    return Decision("refuse" if against else "pass", against or tuple(said), {"thresholds": rows})


def _sentence(row: dict[str, Any], evaluation: dict[str, Any]) -> str:
    key, side = _LIMITS[row["better"]]
    bar = f"evaluate.{key}.{row['metric']} {row['limit']:g}"
    if row["value"] is None:
        return f"{row['metric']} is not defined on the held-out rows ({row['why']}), so it cannot reach {bar}"
    limits = f" ({evaluation['confidence']:.0%} interval {between(row['low'], row['high'])})" if row["low"] is not None else ""
    return f"{row['metric']} {number(row['value'])}{limits}{of_units(evaluation)} {'reaches' if row['ok'] else f'is {side}'} {bar}"
