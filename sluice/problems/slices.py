"""The metric apart for each value of a column: an average can hide a group the model fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import DataError, ProjectError
from sluice.problems.answers import Answers
from sluice.problems.metrics import Metric

if TYPE_CHECKING:
    from sluice.gates.slices import SlicesConfig

_MOST_VALUES = 1000


def judge_slices(
    metric: Metric, a: Answers, columns: Mapping[str, Sequence[str] | np.ndarray], config: SlicesConfig
) -> list[dict[str, Any]]:
    """Each value of each column, the worst first within its column; of an expression the rows it is true of (bool [rows]), its `value` "".

    Returns:
        ``[{"column", "value", "rows", "metric", "low", "high", "ok"}]``, with ``unit`` and ``units`` where its rows belong together. `ok` is
        false where the metric is worse than `slice_minimum`; null where the slice has fewer than `slice_rows` rows (units) or no value.

    Raises:
        DataError: a column does not have a value a row.
        ProjectError: a column has too many values to be slices.
    """
    out: list[dict[str, Any]] = []
    for column, values in columns.items():
        if len(values) != len(a.targets):
            raise DataError(f"has {len(values)} values for {len(a.targets)} rows", field=f"slices.{column}")
        if isinstance(values, np.ndarray) and values.dtype == bool:
            out.append(_slice(column, "", metric, a.rows(values), config) if values.any() else _empty(column))
            continue
        names, codes = np.unique(np.asarray(values, dtype=object).astype(str), return_inverse=True)
        if len(names) > _MOST_VALUES:
            raise ProjectError(
                f"has {len(names)} values; a column to slice by has at most {_MOST_VALUES}",
                field="evaluate.slices",
                value=column,
                fix=f"name a column of categories, or ranges of it: '{column} < 30'",
            )
        found = [_slice(column, str(name), metric, a.rows(codes == i), config) for i, name in enumerate(names)]
        out += sorted(found, key=lambda s: (s["metric"] is None, metric.sign * (s["metric"] or 0.0), s["value"]))
    return out


def _empty(column: str) -> dict[str, Any]:
    return {"column": column, "value": "", "rows": 0, "metric": None, "low": None, "high": None, "ok": None}


def _slice(column: str, name: str, metric: Metric, a: Answers, config: SlicesConfig) -> dict[str, Any]:
    value, rows = metric.value(a), len(a.targets)
    limits = metric.interval(a, config.confidence, config.resamples)
    ok: bool | None = None
    if config.slice_minimum is not None and (a.units.count if a.units else rows) >= config.slice_rows and np.isfinite(value):
        ok = metric.sign * (value - config.slice_minimum) >= 0
    return {
        "column": column,
        "value": name,
        "rows": rows,
        **(a.units.told_as() if a.units else {}),
        "metric": value if np.isfinite(value) else None,
        "low": limits[0] if limits else None,
        "high": limits[1] if limits else None,
        "ok": ok,
    }
