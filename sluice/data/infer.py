"""Checks that the present data passes, to start a project's own from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sluice.data.checks import validate
from sluice.data.config import Checks, Split
from sluice.data.report import Check
from sluice.fields import field_of, fields_of
from sluice.fields.summaries import Cells
from sluice.problems.problem import problem

#: Labels beyond this number are not listed: such a list is no longer read by anyone.
MOST_LABELS = 500
#: How far beyond what was seen a range is widened, as a share of its width.
_SLACK = 0.1


def infer_checks(table: pa.Table, kinds: Mapping[str, str], objective: str) -> dict[str, Any]:
    """``data.checks`` of a project, read off its rows.

    Half the rows, some more missing values, duplicates and imbalance than there are now, the labels
    that there are, and for each numeric column its range widened by a tenth and rounded outwards (a
    column that is never negative stays so). The rows it was read off pass.

    Args:
        table: rows in canonical form.
        kinds: feature -> kind.
        objective: the name of the problem.

    Returns:
        Settings of `sluice.data.config.Checks`, plain values.
    """
    # Measured with limits that nothing can pass or fail by accident.
    loose = Checks(rows_min=1, nulls_max=1, feature_nulls_max=1, duplicates_max=1, conflicts_max=1, label_rows_min=1, imbalance_max=1e300)
    report = validate(table, None, kinds=kinds, objective=objective, checks=loose, split=Split())
    measured: dict[str, Check] = {c.name: c for c in report.checks if c.value is not None}
    rows = max(table.num_rows, 1)
    fields = fields_of(kinds).values()
    essential = [f.name for f in fields if f.lacks] + ["label"]
    nulls = {c["name"]: c["nulls"] / rows for c in report.columns}
    blank = {c.column: float(c.value or 0) for c in report.checks if c.name == "nulls" and c.column is not None}
    out: dict[str, Any] = {
        "rows_min": max(1, table.num_rows // 2),
        "nulls_max": above(max(blank.get(n, nulls.get(n, 0.0)) for n in essential)),
        "feature_nulls_max": above(max((f for n, f in nulls.items() if n not in essential), default=0.0), least=0.05),
        "duplicates_max": above(_value(measured, "duplicates"), least=0.05),
        "conflicts_max": above(_value(measured, "conflicts"), least=0.01),
    }
    if report.labels:
        fewest = min(report.labels.values())
        out["label_rows_min"] = max(1, fewest // 2)
        out["imbalance_max"] = float(max(10, math.ceil(2 * max(report.labels.values()) / fewest)))
        if len(report.labels) <= MOST_LABELS:
            out["labels"] = sorted(report.labels)
    ranges = {}
    for name in [*(f.name for f in fields if f.quantity), *(["label"] if field_of(problem(objective).label, "label").quantity else [])]:
        numbers = Cells(table.column(name)).numbers
        if numbers.total:
            ranges[name] = widened(numbers.first, numbers.last)
    if ranges:
        out["ranges"] = ranges
    return out


def _value(measured: Mapping[str, Check], name: str) -> float:
    check = measured.get(name)
    return float(check.value or 0) if check else 0.0


def above(fraction: float, least: float = 0.0) -> float:
    """Half as much again, rounded up to whole percents; nothing stays nothing unless a least is allowed."""
    return max(least, min(1.0, math.ceil(round(fraction * 150, 6)) / 100))


def widened(low: float, high: float) -> dict[str, float]:
    """A range with a tenth more on each side, rounded outwards; what is never negative stays so."""
    slack = _SLACK * (high - low) if high > low else _SLACK * abs(high) or 1.0
    below, above = low - slack, high + slack
    if not (math.isfinite(below) and math.isfinite(above)):
        return {"min": low, "max": high}
    if low >= 0:
        below = max(0.0, below)
    unit = 10.0 ** math.floor(math.log10(slack)) if slack >= 1e-300 else slack
    down, up = math.floor(below / unit) * unit, math.ceil(above / unit) * unit
    return {"min": min(low, float(f"{down:.12g}")), "max": max(high, float(f"{up:.12g}"))}
