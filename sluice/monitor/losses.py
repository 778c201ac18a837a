"""Where a model lost: quality before and after a moment, slice by slice, and what each column is worth to the model then and now."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sluice.fields.parts import numbers
from sluice.monitor.quality import Judge

if TYPE_CHECKING:
    from sluice.package.package import Package

Floats = NDArray[np.float64]
#: Labelled rows kept with their features; values of a column that are slices; rows of a slice, before and after, below which it says nothing.
MOST, _VALUES, _FEW = 60_000, 20, 30
_ROWS, _REPEATS, _SEED = 1000, 3, 17
#: A change of a column's importance that is told.
MOVED = 0.1


@dataclasses.dataclass
class Rows:
    """Labelled rows with their features, in the order of their predictions.

    Attributes:
        times, told: of the prediction and of its label, microseconds since 1970. outputs, targets: as metrics take them. columns: feature -> values.
    """

    times: NDArray[np.int64]
    told: NDArray[np.int64]
    outputs: Floats
    targets: NDArray[Any]
    columns: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, judge: Judge, batches: Any, features: Sequence[str], most: int = MOST) -> Rows:
        """From `sluice.monitor.labels.joined`: all rows' answers, and the features of the last `most` of them; of others None."""
        from sluice.monitor.labels import microseconds
        from sluice.monitor.rows import Batch

        parts: list[tuple[NDArray[Any], ...]] = []
        held: list[dict[str, list[Any]]] = []
        for batch in batches:
            batch = batch.filter(batch.column("label").is_valid())
            if not batch.num_rows:
                continue
            fine, outputs, targets = judge.rows(batch)
            rows = Batch(batch, list(features))
            columns = {n: c.to_pylist() if (c := rows.feature(n)) is not None else [None] * batch.num_rows for n in features}
            held.append({n: [v for v, f in zip(c, fine.tolist(), strict=True) if f] for n, c in columns.items()})
            told = np.asarray(batch.column("labelled_at").to_numpy())
            parts.append((np.array(microseconds(batch), np.int64)[fine], told[fine], outputs, targets))
            if sum(len(p[0]) for p in parts[:-1]) > most and held[0]:
                first = next(i for i, h in enumerate(held) if any(h.values()))
                held[first] = {n: [None] * len(parts[first][0]) for n in features}
        if not parts:
            shape = (0, len(judge.labels)) if judge.problem.classes else (0,)
            none = np.empty(0, np.int64)
            return cls(none, none, np.empty(shape), none, {n: np.empty(0, object) for n in features})
        times, told, outputs, targets = (np.concatenate(v) for v in zip(*parts, strict=True))
        order = np.argsort(times, kind="stable")
        kept = {n: _objects([v for h in held for v in h[n]])[order] for n in features}
        return cls(times[order], told[order], outputs[order], targets[order], kept)

    def __len__(self) -> int:
        return len(self.times)


def _objects(values: list[Any]) -> NDArray[Any]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def losses(judge: Judge, rows: Rows) -> Floats | None:
    """What each row adds: 1 for a wrong label; a value's error in the deviation of what is true."""
    if not len(rows):
        return None
    a = judge.answers(rows.outputs, rows.targets)
    if judge.problem.classes:
        return judge.wrong(a).astype(np.float64)
    scale = float(np.std(a.targets)) or 1.0
    return np.asarray(np.abs(a.outputs - a.targets) / scale)


def slices(rows: Rows, loss: Floats, after: NDArray[np.bool_], quantities: Mapping[str, bool]) -> dict[str, Any]:
    """Which slices lost: each value of a category, and each quarter of a number, by the rows before.

    Args:
        loss: of each row. after: which rows are of now. quantities: feature -> whether it is a number.

    Returns:
        ``lost`` [{slice, rows_before, rows, before, after, loss, low, high}], those whose loss is beyond chance (all slices together, Bonferroni), the most
        lost first; ``overall`` before and after; and ``all_in``, the one slice without which next to nothing is lost, or null.
    """
    found: list[dict[str, Any]] = []
    whole = {"before": _mean(loss[~after]), "after": _mean(loss[after])}
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, values in rows.columns.items():
        masks |= _masks(name, values, after, quantities.get(name, False))
    from statistics import NormalDist

    reach = NormalDist().inv_cdf(1 - 0.025 / max(len(masks), 1))
    for name, mask in masks.items():
        a, b = loss[mask & ~after], loss[mask & after]
        if min(len(a), len(b)) < _FEW:
            continue
        lost = float(b.mean() - a.mean())
        error = math.sqrt(_variance(a) / len(a) + _variance(b) / len(b))
        if lost - reach * error > 0:
            found.append(
                {
                    "slice": name,
                    "rows_before": len(a),
                    "rows": len(b),
                    "before": float(a.mean()),
                    "after": float(b.mean()),
                    "loss": lost,
                    "low": lost - reach * error,
                    "high": lost + reach * error,
                }
            )
    found.sort(key=lambda s: -s["loss"])
    return {"lost": found[:20], "overall": whole, "all_in": _all_in(found, masks, loss, after, whole)}


def _mean(x: Floats) -> float | None:
    return float(x.mean()) if len(x) else None


def _variance(x: Floats) -> float:
    """Of a few errors among few rows too: half an error of either kind is added."""
    if set(np.unique(x)) <= {0.0, 1.0}:
        p = (float(x.sum()) + 0.5) / (len(x) + 1)
        return p * (1 - p)
    return float(x.var(ddof=1))


def _masks(name: str, values: NDArray[Any], after: NDArray[np.bool_], quantity: bool) -> dict[str, NDArray[np.bool_]]:
    there = np.array([v is not None and not isinstance(v, bytes) for v in values], dtype=bool)
    if not there.any():
        return {}
    if quantity:
        found = numbers([v if t else None for v, t in zip(values, there, strict=True)])
        known = found[~after & np.isfinite(found)]
        edges = np.unique(np.quantile(known, (0.25, 0.5, 0.75))) if len(known) >= 4 * _FEW else np.empty(0)
        if not len(edges):
            return {}
        place = np.where(np.isfinite(found), np.searchsorted(edges, found, side="right"), -1)
        names = [
            f"{name} < {edges[0]:.4g}",
            *(f"{a:.4g} <= {name} < {b:.4g}" for a, b in zip(edges, edges[1:], strict=False)),
            f"{name} >= {edges[-1]:.4g}",
        ]
        return {n: place == i for i, n in enumerate(names)}
    texts = np.array([str(v) if t else "" for v, t in zip(values, there, strict=True)], dtype=object)
    every, counts = np.unique(texts[there], return_counts=True)
    if len(every) > 200:  # a text, or a key
        return {}
    return {f"{name} = {every[i]}": texts == every[i] for i in np.argsort(-counts)[:_VALUES]}


def _all_in(
    found: Sequence[Mapping[str, Any]],
    masks: Mapping[str, NDArray[np.bool_]],
    loss: Floats,
    after: NDArray[np.bool_],
    whole: Mapping[str, float | None],
) -> str | None:
    if whole["before"] is None or whole["after"] is None or whole["after"] - whole["before"] <= 0.01:
        return None
    total, best = whole["after"] - whole["before"], (0.3, "")
    for one in found:
        rest = ~masks[one["slice"]]
        if min((rest & after).sum(), (rest & ~after).sum()) < _FEW or masks[one["slice"]].mean() > 0.6:
            continue
        left = (float(loss[rest & after].mean()) - float(loss[rest & ~after].mean())) / total
        best = min(best, (left, one["slice"]))
    return best[1] or None


def importance(package: Package, judge: Judge, rows: Rows, after: NDArray[np.bool_]) -> list[dict[str, Any]] | None:
    """What each column is worth to the model before and after: how much worse it answers where the column's values change places among the rows
    (Breiman 2001), in points of accuracy, or of the variance explained. None where a row has no columns, or too few are labelled.

    Returns:
        [{column, before, after, change, moved}], the most changed first.
    """
    from sluice.engines.predictor import Predictor

    predictor = Predictor(package)
    columns = predictor.processor.owners()
    if not columns or any(c not in rows.columns for c in columns):
        return None
    metric = judge.every["accuracy" if judge.problem.classes else "r2"]
    rng = np.random.default_rng(_SEED)
    worth: list[dict[str, float]] = []
    for mask in (~after, after):
        at = np.flatnonzero(mask)
        at = at[np.array([any(rows.columns[c][i] is not None for c in columns) for i in at], dtype=bool)]
        if len(at) < 4 * _FEW:
            return None
        at = np.sort(rng.choice(at, min(_ROWS, len(at)), replace=False))
        worth.append(_worth(predictor, judge, metric, rows, at, columns, rng))
    changes = {c: worth[1][c] - worth[0][c] for c in columns}
    order = sorted(columns, key=lambda c: -abs(changes[c]))
    return [
        {"column": c, "before": worth[0][c], "after": worth[1][c], "change": changes[c], "moved": abs(changes[c]) > MOVED} for c in order
    ]


def _worth(
    predictor: Any,
    judge: Judge,
    metric: Any,
    rows: Rows,
    at: NDArray[np.int64],
    columns: Mapping[str, Sequence[str]],
    rng: np.random.Generator,
) -> dict[str, float]:
    tensors = predictor.processor.encode_batch([{c: rows.columns[c][i] for c in columns} for i in at])
    name = predictor.package.outputs[0].name

    def value(given: Mapping[str, Any]) -> float:
        return float(metric.sign * metric.value(judge.answers(np.asarray(predictor.run(given)[name], np.float64), rows.targets[at])))

    whole = value(tensors)
    out = {}
    for column, inputs in columns.items():
        drops = []
        for _ in range(_REPEATS):
            order = rng.permutation(len(at))
            drops.append(whole - value({**tensors, **{i: tensors[i][order] for i in inputs}}))
        out[column] = float(np.mean(drops))
    return out
