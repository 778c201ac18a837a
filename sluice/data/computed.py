"""Columns from which the label was computed."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa

#: The first rows are looked at.
LOOKED_AT = 20_000
#: How far a weight may be from 1, or from that of a mean, where the label is written out, and where it is rounded.
_WRITTEN_OUT, _ROUNDED = 1e-4, 0.02
#: A label is rounded to a step that small against its deviation, or what is near to it in whole numbers could be anything.
_FINE = 0.2


def sums_to(table: pa.Table, features: Collection[str], label: str) -> list[str]:
    """Numeric features whose sum, difference or mean is the label, rounded or not, or two whose product is: it was computed from them.

    Other weights are what a model is there to learn.

    Args:
        table: rows in canonical form, `label` and the features float64.
    """
    y = np.asarray(table.column(label), dtype=np.float64)[:LOOKED_AT]
    columns = {n: np.asarray(table.column(n), dtype=np.float64)[:LOOKED_AT] for n in features}
    use = np.isfinite(y)
    columns = {n: x for n, x in columns.items() if np.isfinite(x[use]).all() and np.ptp(x[use]) > 0} if use.any() else {}
    if len(y[use]) < 50 or not columns or len(columns) > 300 or np.ptp(y[use]) == 0:
        return []
    y = y[use] - y[use].mean()
    names = list(columns)
    x = np.stack([(c[use] - c[use].mean()) / c[use].std() for c in columns.values()], axis=1)
    if len(names) < len(y) / 4:
        weights, *_ = np.linalg.lstsq(x, y, rcond=None)
        raw = weights / np.array([c[use].std() for c in columns.values()])
        if involved := _alike(raw, names, columns, use, y, _step(table, label, use)):
            return involved
    if len(names) <= 40:
        raw = np.asarray(table.column(label), dtype=np.float64)[:LOOKED_AT][use]
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                if np.allclose(columns[a][use] * columns[b][use], raw, rtol=2e-3, atol=1e-9):  # a price rounded to cents
                    return [a, b]
    return []


def _step(table: pa.Table, label: str, use: np.ndarray) -> float:
    """The last decimal place that the label is written to; 0 where it is written out."""
    raw = np.asarray(table.column(label), dtype=np.float64)[:LOOKED_AT][use]
    return next((10.0**-d for d in range(4) if np.allclose(raw, np.round(raw, d), rtol=0, atol=1e-9 * max(1.0, np.abs(raw).max()))), 0.0)


def _alike(raw: np.ndarray, names: list[str], columns: dict[str, np.ndarray], use: np.ndarray, y: np.ndarray, step: float) -> list[str]:
    """Columns that have one weight, 1 or what makes a mean of them, if they alone make the label; else none.

    Args:
        raw: their weights in the best linear fit.
        y: the label less its mean, [rows].
        step: to which it is rounded.
    """
    largest = float(np.abs(raw).max(initial=0))
    involved = [i for i, w in enumerate(raw) if abs(w) > 0.5 * largest]
    near = _WRITTEN_OUT if not step else _ROUNDED
    weight = next((w for w in (1.0, 1.0 / len(involved)) if abs(largest - w) < near * w), None) if involved else None
    others = np.delete(np.abs(raw), involved)
    if weight is None or not np.allclose(np.abs(raw[involved]), weight, rtol=near, atol=0):
        return []
    if not step and others.max(initial=0) > near * weight:
        return []
    made = weight * sum(np.sign(raw[i]) * columns[names[i]][use] for i in involved)
    off = y - (made - np.mean(made))
    spread = float(off.max() - off.min())  # rounding moves each by half a step at most
    exact = 2e-4 * float(np.abs(y).max())
    if spread > max(exact, 1.001 * step if step <= _FINE * float(np.std(y)) else 0.0):
        return []
    return [names[i] for i in involved]
