"""A row's explanation by the package alone: what each column adds to its answer, against rows drawn from the reference profile.

Shapley values by sampled orders of the columns (Castro, Gomez, Tejada, Computers & Operations Research 36, 2009; Strumbelj, Kononenko, KAIS 41,
2014), each order with its reverse (Mitchell et al., JMLR 23, 2022). A drawn row turns into the explained one column by column, and each step's change
belongs to its column: so the contributions add up to the answer less the base, which is the mean answer to the drawn rows, exactly. The profile
holds each column's own distribution, so drawn rows have its columns independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from sluice.core.errors import PackageError, ProjectError
from sluice.fields import Processor, field_of
from sluice.package.package import Package
from sluice.problems.decision import codes
from sluice.problems.problem import problem
from sluice.stats.student import t_quantile

#: Drawn rows, an order and its reverse for each; fewer where a row's explanation would take more than `_ANSWERS` answers of the graph.
_DRAWN, _LEAST, _ANSWERS = 32, 4, 20_000
_RUN, _SEED, _CONFIDENCE = 2048, 17, 0.95


class Asked(Protocol):
    """A package that can be asked: a `sluice.engines.predictor.Predictor`, or a server's model."""

    @property
    def package(self) -> Package: ...
    @property
    def processor(self) -> Processor | None: ...
    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]: ...


class Explainer:
    """Explains rows of a package whose rows are records of columns, and whose answers are labels or values.

    Args:
        predictor: the package.

    Raises:
        ProjectError: its rows have no columns, or its answers are arrays.
        PackageError: it has no profile.
    """

    def __init__(self, predictor: Asked):
        package, processor = predictor.package, predictor.processor
        assert processor is not None
        self.predictor, self.processor, self.columns = predictor, processor, processor.owners()
        asked = problem(package.objective)
        if not self.columns:
            raise ProjectError(
                "answers to a value alone, which has no columns to explain it by",
                field="MODEL",
                value=package.name,
                fix="name a model of rows of columns",
            )
        if not (asked.classes or asked.scalar):
            raise ProjectError(
                "answers with an array, and an explanation is of one number",
                field="MODEL",
                value=package.name,
                fix="name a model of labels or values",
            )
        profile = package.profile()
        if profile is None:
            raise PackageError("has no reference profile to draw rows from", field=str(package.root), fix="train and export again")
        rng = np.random.default_rng(_SEED)
        drawn = max(_LEAST, min(_DRAWN, _ANSWERS // (2 * (len(self.columns) + 1))))
        features = profile["features"]
        found = {
            name: field_of(features[name]["kind"], name).drawn(features[name], drawn, rng) for name in self.columns if name in features
        }
        rows = [{name: values[i] for name, values in found.items()} for i in range(drawn)]
        self._background = processor.encode_batch(rows)
        # Of each order and its reverse the step at which a column is that of the explained row.
        ranks = np.stack([rng.permutation(len(self.columns)) for _ in range(drawn)])
        self._ranks = np.stack([ranks, len(self.columns) - 1 - ranks], axis=1)

    def explain(self, row: Mapping[str, Any], label: str | None = None) -> dict[str, Any]:
        """What each column adds to a row's answer.

        Args:
            row: column -> raw value, as a client sends it.
            label: the one whose probability is explained; None: the one that is answered. Of values none.

        Returns:
            ``of`` (the label; null of a value), ``answer`` (the label that is answered; null of a value), ``value`` (the probability, or value),
            ``base``, ``rows`` (drawn ones) and ``contributions`` [{column, value, contribution, low, high}], the largest first: 95 % intervals over
            the orders. They add up to ``value`` less ``base``; ``residual`` is what rounding leaves.

        Raises:
            InputError: the row cannot be used.
            ProjectError: there is no such label.
        """
        package = self.predictor.package
        explained = self.processor.encode_batch([row])
        own = self._answers(explained)
        answer = package.labels[int(codes(own, package.labels, package.rule)[0])] if package.labels else None
        of = answer if label is None else label
        if of is not None and of not in package.labels:
            raise ProjectError(
                "is no label of the model", field="--label", value=of, fix=f"labels: {', '.join(package.labels[:20]) or 'none'}"
            )
        k = None if of is None else package.labels.index(of)
        drawn, steps = len(self._ranks), len(self.columns) + 1
        along = self._along(explained, k).reshape(drawn, 2, steps)
        changes = np.diff(along, axis=2)
        each = np.take_along_axis(changes, self._ranks, axis=2).mean(axis=1)  # [drawn, columns]
        base, value = float(along[:, :, 0].mean()), float(along[:, :, -1].mean())
        means = each.mean(axis=0)
        reach = t_quantile(_CONFIDENCE, drawn - 1) * each.std(axis=0, ddof=1) / math.sqrt(drawn)
        parts = [
            {"column": name, "value": row.get(name), "contribution": float(m), "low": float(m - r), "high": float(m + r)}
            for name, m, r in zip(self.columns, means, reach, strict=True)
        ]
        return {
            "of": of,
            "answer": answer,
            "value": value,
            "base": base,
            "rows": drawn,
            "contributions": sorted(parts, key=lambda p: -abs(p["contribution"])),
            "residual": value - base - float(means.sum()),
        }

    def _along(self, explained: Mapping[str, np.ndarray], k: int | None) -> np.ndarray:
        """Answers along every path from a drawn row to the explained one, [drawn x 2 x steps], a part of them at a time."""
        steps = np.arange(len(self.columns) + 1)
        # [drawn, 2, steps, columns]: whether the column is that of the explained row.
        taken = (self._ranks[:, :, None, :] < steps[:, None]).reshape(-1, len(self.columns))
        giver = np.repeat(np.arange(len(self._ranks)), 2 * len(steps))
        parts = []
        for at in range(0, len(giver), _RUN):
            rows = slice(at, at + _RUN)
            tensors = {}
            for c, inputs in enumerate(self.columns.values()):
                for name in inputs:
                    tensors[name] = np.where(taken[rows, c, None], explained[name], self._background[name][giver[rows]])
            found = self._answers(tensors)
            parts.append(found if k is None else found[:, k])
        return np.concatenate(parts).astype(np.float64)

    def _answers(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        return self.predictor.run(tensors)[self.predictor.package.outputs[0].name]


def shown(name: str, found: Mapping[str, Any], most: int = 10) -> list[str]:
    """An explanation as lines for a terminal.

    Args:
        name: of the row.
        found: of `Explainer.explain`.
        most: columns shown; what the others add is one line.
    """
    parts: Sequence[Mapping[str, Any]] = found["contributions"]
    of = "" if found["of"] is None else f" {found['of']}"
    lines = [f"{name}:{of} {found['value']:.4g}, against {found['base']:.4g} of rows drawn from the profile"]
    wide = max((len(p["column"]) for p in parts[:most]), default=0)
    told = [_told(p["value"]) for p in parts[:most]]
    most_told = max(map(len, told), default=0)
    largest = max((abs(p["contribution"]) for p in parts), default=0) or 1.0
    for p, text in zip(parts, told, strict=False):
        bar = ("+" if p["contribution"] > 0 else "-") * round(20 * abs(p["contribution"]) / largest)
        reach = (p["high"] - p["low"]) / 2
        lines.append(f"  {p['column']:<{wide}}  {text:<{most_told}}  {p['contribution']:+.4f} ± {reach:.4f}  {bar}".rstrip())
    rest = parts[most:]
    if rest:
        lines.append(f"  {len(rest)} other columns together {sum(p['contribution'] for p in rest):+.4f}")
    return lines


def _told(value: Any) -> str:
    text = "missing" if value is None else str(value)
    return text if len(text) <= 24 else text[:23] + "…"
