"""Columns from which the label was computed."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa

#: The first rows are looked at.
LOOKED_AT = 20_000


def sums_to(table: pa.Table, features: Collection[str], label: str) -> list[str]:
    """Numeric features whose sum or difference is the label, or two whose product is: it was computed from them.

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
        involved = [n for n, w in zip(names, raw, strict=True) if abs(w) > 0.5]
        alike = np.allclose(np.abs(raw[np.abs(raw) > 0.5]), 1, atol=1e-4) and np.abs(raw[np.abs(raw) <= 0.5]).max(initial=0) < 1e-4
        if involved and alike and np.abs(x @ weights - y).max() <= 1e-4 * np.abs(y).max():
            return involved
    if len(names) <= 40:
        raw = np.asarray(table.column(label), dtype=np.float64)[:LOOKED_AT][use]
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                if np.allclose(columns[a][use] * columns[b][use], raw, rtol=2e-3, atol=1e-9):  # a price rounded to cents
                    return [a, b]
    return []
