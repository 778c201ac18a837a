"""The importance of columns: how much worse the served graph answers where a column tells nothing of its row any more.

Permutation importance on held-out rows (Breiman 2001; Fisher, Rudin, Dominici, JMLR 20, 2019): a column's values change places among the rows, and
the drop of a metric is what the model has of it. It works for any learner, since the package alone is asked. Of columns that say the
same each looks less important than they are together. It refuses nothing.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from sluice.core.check import Check, Decision
from sluice.core.section import Section
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig

if TYPE_CHECKING:
    import numpy as np

    from sluice.engines.predictor import Predictor
    from sluice.problems.answers import Answers
    from sluice.problems.metric import Metric
    from sluice.problems.problem import Problem

#: Groups of whole units, each left out once, that tell how far a drop may be off.
_GROUPS = 20
_SHOWN = 20


class ImportanceConfig(Section):
    """How the importance of columns is measured; beside the rest, which it neither passes nor refuses."""

    metric: str | None = Field(
        None, description="whose drop it is; null: the deciding one, or log_loss where that looks at the answered label alone"
    )
    repeats: int = Field(5, ge=0, le=100, description="times each column is permuted; 0: no importance is measured")
    rows: int = Field(1000, ge=10, le=1_000_000, description="most held-out rows it is measured on")
    seconds: float = Field(20, gt=0, le=86400, description="processor time it may take; columns it did not get to are named")


class ImportancesConfig(MetricConfig):
    """What the importance of columns is measured with."""

    importance: ImportanceConfig = Field(ImportanceConfig(), exclude_if=lambda told: told == ImportanceConfig())

    def suits(self, asked: Problem, labels: Sequence[str]) -> None:
        """See `Section.suits`: the metric is of such answers."""
        super().suits(asked, labels)
        from sluice.problems.metrics import metric_of, need_positive

        if self.importance.metric is not None:
            found = asked.metrics()[metric_of(self.importance.metric, asked.name, "evaluate.importance.metric")]
            need_positive(found, 0 if len(labels) == 2 or self.positive is not None else None, len(labels))


@dataclasses.dataclass(frozen=True)
class _Subject:
    """Encoded rows, their truth, and how answers to them are judged.

    Attributes:
        predictor: the package.
        columns: each column -> the graph's inputs that are made of it.
        tensors: every input, [rows, 1].
        answers: a graph's output as what metrics take.
        metric: by which they are.
        groups: of each row the number of its group, [rows].
    """

    predictor: Predictor
    columns: Mapping[str, Sequence[str]]
    tensors: Mapping[str, np.ndarray]
    answers: Callable[[np.ndarray], Answers]
    metric: Metric
    groups: np.ndarray

    def values(self, inputs: Sequence[str] = (), order: np.ndarray | None = None) -> np.ndarray:
        """The metric, turned so that more is better, on all rows, then without each group; where some inputs are taken from other rows, without these groups' there too.

        The mean over pairs of rows has the error of both (Arvesen, Annals of Mathematical Statistics 40, 1969).

        Args:
            inputs: taken from other rows.
            order: from which, [rows].
        """
        import numpy as np

        givers = self.groups if order is None else self.groups[order]
        out = self.predictor.run({**self.tensors, **{i: self.tensors[i][order] for i in inputs}})
        a = self.answers(out[self.predictor.package.outputs[0].name])
        rows = [np.flatnonzero((self.groups != g) & (givers != g)) for g in range(int(self.groups.max()) + 1)]
        return self.metric.sign * np.array([self.metric.value(a), *(self.metric.value(a.rows(r)) for r in rows)])


class Importance(Check):
    """What each column is worth to the model; only where a row is a record of columns, and an answer a label or a value."""

    name, step, Config = "importance", "evaluate", ImportancesConfig

    def judge(self, facts: Judged, config: ImportancesConfig) -> Decision:
        """``importance``: of `measured`, with ``shap``, what the package says of its trees."""
        asked = facts.dataset.problem
        if not config.importance.repeats or not (asked.classes or asked.scalar) or facts.dataset.rows("test") != len(facts.outputs):
            return Decision("pass")
        found = measured(facts, config)
        return Decision("pass", evidence={"importance": {**found, "shap": facts.package.shap()}} if found else {})

    def section(self, decision: Decision) -> str:
        """A bar a column, and beside it what the trees' own values say."""
        found = decision.evidence.get("importance")
        if not found or not found["columns"]:
            return ""
        return _drawn(found)


def measured(facts: Judged, config: ImportancesConfig) -> dict[str, Any] | None:
    """The drop of the metric by each column.

    Returns:
        ``metric``, ``value`` (with nothing permuted), ``rows``, ``repeats``, ``confidence``, ``columns`` [{column, value, low, high}], the most important
        first, and ``left``, those there was no time for. None where a row has no columns or the metric no value.
    """
    import numpy as np

    told = _subject(facts, config)
    if told is None:
        return None
    whole = told.values()
    if not np.isfinite(whole[0]):
        return None
    drops: dict[str, list[np.ndarray]] = {}
    for name, values in _permuted(told, config.importance, facts.project.train.seed):
        drops.setdefault(name, []).append(whole - values)
    least = min(map(len, drops.values()), default=0)
    if len(drops) < len(told.columns):  # not even a round of all
        least = 1
    columns = [{"column": name, **_interval(np.mean(d[:least], axis=0), config.confidence)} for name, d in drops.items()]
    return {
        "metric": told.metric.name,
        "value": told.metric.sign * float(whole[0]),
        "rows": len(told.groups),
        "repeats": least,
        "confidence": config.confidence,
        "columns": sorted(columns, key=lambda c: -c["value"]),
        "left": [name for name in told.columns if name not in drops],
    }


def _subject(facts: Judged, config: ImportancesConfig) -> _Subject | None:
    """The rows that are permuted, evenly spaced over the held-out ones."""
    import numpy as np

    from sluice.engines.predictor import Predictor
    from sluice.engines.rows import rows_from_arrow, spread

    predictor = Predictor(facts.package)
    columns = predictor.processor.owners()
    if not columns:
        return None
    total, asked = len(facts.outputs), facts.dataset.problem
    chosen = np.unique(np.linspace(0, total - 1, min(config.importance.rows, total)).astype(np.int64))
    units = facts.units.rows(chosen) if facts.units else None
    codes = units.codes if units else np.arange(len(chosen))
    rng = np.random.default_rng(facts.project.train.seed)
    groups = rng.permutation(int(codes.max()) + 1)[codes] % min(_GROUPS, int(codes.max()) + 1)
    targets = facts.targets[chosen]

    def answers(outputs: np.ndarray) -> Answers:
        return asked.answers(outputs, targets, facts.labels, rule=facts.package.rule, positive=facts.positive, units=units)

    rows = rows_from_arrow(facts.package.preprocess, spread(facts.dataset, "test", config.importance.rows))
    tensors = predictor.processor.encode_batch(rows)
    return _Subject(predictor, columns, tensors, answers, _metric(facts, config), groups)


def _metric(facts: Judged, config: ImportancesConfig) -> Metric:
    """A label that is answered turns over for few rows; its probability moves for many."""
    every, deciding = facts.dataset.problem.metrics(), facts.evaluation["metric"]
    usual = "log_loss" if every[deciding].by_label and "log_loss" in every else deciding
    return every[config.importance.metric or usual]


def _permuted(told: _Subject, config: ImportanceConfig, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Round by round each column with the metric where it is permuted, until there is no time left."""
    import numpy as np

    rng, started = np.random.default_rng(seed), time.process_time()
    for _ in range(config.repeats):
        for name, inputs in told.columns.items():
            if time.process_time() - started > config.seconds:
                return
            yield name, told.values(inputs, rng.permutation(len(told.groups)))


def _interval(drops: np.ndarray, confidence: float) -> dict[str, float | None]:
    """A drop and its limits, by the jackknife over the groups left out (Tukey 1958): the drop on all rows first, then without each group."""
    import numpy as np

    from sluice.stats.student import t_quantile

    value, left = float(drops[0]), drops[1:]
    if len(left) < 2 or not np.isfinite(left).all():
        return {"value": value, "low": None, "high": None}
    n = len(left)
    reach = t_quantile(confidence, n - 1) * math.sqrt((n - 1) / n * float(np.square(left - left.mean()).sum()))
    return {"value": value, "low": value - reach, "high": value + reach}


def _drawn(found: dict[str, Any]) -> str:
    from html import escape

    from sluice.report.bars import bars

    columns = found["columns"]
    title = f"how much worse {found['metric']} is without it"
    shown = bars([(c["column"], c["value"], c["low"], c["high"]) for c in columns[:_SHOWN]], title)
    note = (
        f"each column permuted {found['repeats']} times on {found['rows']:,} held-out rows, through the served graph; the lines are "
        f"{found['confidence']:.0%} intervals; of columns that say the same each looks less important than they are together"
    )
    left = [*(c["column"] for c in columns[_SHOWN:]), *found["left"]]
    if left:
        note += f"; not shown: {len(left):,} more" + (
            f", {len(found['left'])} of them for want of time (evaluate.importance.seconds)" if found["left"] else ""
        )
    out = f'<h3>Importance of columns</h3><div class="grid2"><div>{shown}<p class="note">{escape(note)}</p></div>'
    if shap := found.get("shap"):
        parts = bars(
            [(name, value, None, None) for name, value in sorted(shap["columns"].items(), key=lambda c: -c[1])[:_SHOWN]],
            f"mean |SHAP|, in {shap['unit']}",
        )
        out += f'<div>{parts}<p class="note">the trees\' own SHAP values on {shap["rows"]:,} held-out rows, the parts of a column added up</p></div>'
    return out + "</div>"
