"""Evidently's report of a prediction log, on demand: the rows that a version answered last beside the first ones.

A package carries the profile of its training rows and not the rows, which Evidently needs. So its reference is what the version was asked first, as that of
the answers is (`monitor.drift.baseline`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluice.core.errors import DataError, MissingExtra
from sluice.fields import field_of
from sluice.monitor.log import PredictionLog
from sluice.monitor.rows import Batch

#: Rows of a log that stand for now, and of each side at the least: Evidently holds them in memory, and says little of fewer.
LAST, LEAST = 20_000, 30


def write(profile: Mapping[str, Any], log: PredictionLog, out: Path, first: int) -> dict[str, Any]:
    """Write Evidently's page.

    Args:
        profile: of the training rows: which columns are numbers, and which categories. Others, texts and images, are left out.
        first: rows of the log that are the reference.

    Returns:
        Plain JSON: ``page``, ``reference`` and ``current`` rows, ``left_out`` columns, ``scores``: column -> Evidently's.

    Raises:
        MissingExtra: evidently is not installed. DataError: too few rows, or no column that it can compare.
    """
    try:
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset
    except ImportError as e:
        raise MissingExtra("its report is made by Evidently", field="--evidently", fix="pip install 'sluice-ml[evidently]'") from e
    fields = {n: field_of(f["kind"], n) for n, f in profile["features"].items()}
    numbers = [n for n, f in fields.items() if f.quantity]
    names = [n for n, f in fields.items() if f.category and not f.quantity]
    if not numbers and not names:
        raise DataError(
            "has neither numbers nor categories, which are what Evidently compares here", field="--evidently", value=", ".join(fields)
        )
    before, now = _sides(log, [*numbers, *names], first)
    sizes = [len(next(iter(side.values()))) for side in (before, now)]
    if min(sizes) < LEAST:
        raise DataError(
            f"needs {LEAST} rows on either side: the first {first:,} predictions, and what came behind them",
            field="--evidently",
            value=f"{sizes[0]} and {sizes[1]}",
            fix="wait for more predictions, or set monitor.drift.baseline lower",
        )
    import pandas as pd

    definition = DataDefinition(numerical_columns=numbers, categorical_columns=names)
    sets = []
    for side in (now, before):
        frame = pd.DataFrame({n: pd.to_numeric(pd.Series(side[n], dtype=object), errors="coerce") for n in numbers})
        frame = frame.assign(**{n: pd.Series(side[n], dtype=object).map(lambda v: None if v is None else str(v)) for n in names})
        sets.append(Dataset.from_pandas(frame, data_definition=definition))
    found = Report([DataDriftPreset()]).run(*sets)
    out.parent.mkdir(parents=True, exist_ok=True)
    found.save_html(str(out))
    scores = {m["config"]["column"]: m for m in found.dict()["metrics"] if "column" in m.get("config", {})}
    return {
        "page": str(out),
        "reference": sizes[0],
        "current": sizes[1],
        "left_out": [n for n in fields if n not in now],
        "scores": {n: float(m["value"]) for n, m in scores.items()},
    }


def _sides(log: PredictionLog, names: list[str], first: int) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """The first rows, and the last of those behind them."""
    before: dict[str, list[Any]] = {n: [] for n in names}
    now: dict[str, deque[Any]] = {n: deque(maxlen=LAST) for n in names}
    for batch, _ in log.read(columns=["features"]):
        rows = Batch(batch, names)
        for n in names:
            column = rows.feature(n)
            values = [None] * batch.num_rows if column is None else column.to_pylist()
            room = max(first - len(before[n]), 0)
            before[n] += values[:room]
            now[n].extend(values[room:])
    return before, {n: list(v) for n, v in now.items()}
