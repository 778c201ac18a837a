"""`sluice predict` on a long table of series: each is forecast from its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from sluice.core import files
from sluice.core.errors import DataError, PackageError
from sluice.data import timestamps
from sluice.data.columns import numbers, switches
from sluice.data.config import DataConfig
from sluice.data.forms import format_of
from sluice.data.panel import Panel
from sluice.data.scheme import Found
from sluice.data.sources import read_source
from sluice.data.timestamps import Times, wall_clock
from sluice.data.windows import last
from sluice.engines.predictor import Predictor
from sluice.fields.grid import Grid
from sluice.fields.tabular import TabularProcessor
from sluice.fields.timestamps import TimeForm
from sluice.fields.zones import MISSING
from sluice.package.package import Package
from sluice.prediction.summary import Summary
from sluice.problems.problem import problem

#: The column of a row's past, which a file of such rows has and a long table has not.
HISTORY = "history"


def predict_series(
    package: Package, data: DataConfig, file: Found, out: Path, *, on_error: Literal["stop", "skip"], batch_size: int
) -> Summary:
    """Write the values to come of each series of a long table: its columns, the time, and the quantiles; `out` appears whole or not at all.

    Rows behind a series' last known value tell what is known of the times to come.

    Args:
        package: of forecasts.
        data: how the rows of training were written.
        file: the table, with the columns that the model was trained on.
        out: CSV, JSON lines or Parquet, by its name.
        on_error: what a series that cannot be forecast does.

    Raises:
        DataError: the file cannot be read, lacks a column, or a series cannot be forecast.
    """
    layout, processor = layout_of(package)
    source = read_source(str(file.path), "auto", Path(), None, data.columns, dialect=data.dialect, numerals=data.numerals)
    table, names = source.table, [*layout["series"], *layout["static"]]
    panel = _panel(table, layout, processor, file.where)
    origins, past, more = last(panel, int(layout["context"]), int(layout["horizon"]), frozenset(layout["known"]))
    kinds = {n: table.column(n).take(pa.array(panel.rows)).to_pylist() for n in names}
    at = panel.grid.times(origins)
    bad = _faults(panel, past, more, layout)
    if bad and (on_error == "stop" or len(bad) == len(origins)):
        series, why = next(iter(bad.items()))
        raise DataError(
            why, field=f"{file.where}: series {panel.names[series]!r}", fix="give the values, or leave such series out: --on-error skip"
        )
    good = [s for s in range(len(origins)) if s not in bad]
    rows = [
        {
            **{n: kinds[n][s] for n in names},
            layout["time"]: _sent(at[s], layout),
            HISTORY: past[s],
            **{n: x[s] for n, x in more.items()},
        }
        for s in good
    ]
    predictor = Predictor(package, threads=1)
    told = problem(package.objective).told(predictor.predict(rows, batch_size), package.labels)
    horizon = int(layout["horizon"])
    steps = panel.grid.times((origins[good][:, None] + np.arange(1, horizon + 1)).ravel())
    columns: dict[str, Any] = {n: [kinds[n][s] for s in good for _ in range(horizon)] for n in layout["series"]}
    columns[layout["time"]] = _written(steps, layout, processor)
    columns |= {name: pa.array(values.ravel(), pa.float32()) for name, values in told.items()}
    _write(pa.table(columns), out)
    left_out = [f"series {panel.names[s]!r}: {why}" for s, why in bad.items()]
    return Summary(len(good) * horizon, 0, list(told), {}, left_out, list(source.notes))


def layout_of(package: Package) -> tuple[dict[str, Any], TabularProcessor]:
    """How the long table is laid out that the package was trained on, and its pre-processing. Raises `PackageError`: it does not say."""
    processor = Predictor(package, threads=1).processor
    column = next((c for c in getattr(processor, "columns", ()) if c.name == HISTORY), None)
    if not isinstance(processor, TabularProcessor) or column is None or "layout" not in column.own:
        raise PackageError("does not say how its series are laid out", field="preprocess.columns", value=HISTORY, fix="train again")
    return dict(column.own["layout"]), processor


def _panel(table: pa.Table, layout: dict[str, Any], processor: TabularProcessor, where: str) -> Panel:
    names = [*layout["series"], layout["time"], layout["target"], *layout["static"], *layout["numbers"]]
    for name in names:
        if name not in table.column_names:
            raise DataError(
                "has no such column, which the model was trained on",
                field=where,
                value=name,
                fix=f"columns: {', '.join(table.column_names[:20])}; for rows with a {HISTORY!r} give that column",
            )
    series = [
        " / ".join("" if v is None else str(v) for v in row)
        for row in zip(*(table.column(n).to_pylist() for n in layout["series"]), strict=True)
    ]
    at, known = _times(table, layout, processor)
    numbers = {HISTORY: _numbers(table, layout["target"], where), **{n: _numbers(table, n, where) for n in layout["numbers"]}}
    return Panel.of(
        at,
        known,
        series or [""] * table.num_rows,
        numbers,
        HISTORY,
        setting=f"{where}: {layout['time']}",
        timed=layout["grid"]["unit"] != "number",
        grid=Grid.load(layout["grid"]),
        several=bool(layout["series"]),
    )


def _times(table: pa.Table, layout: dict[str, Any], processor: TabularProcessor) -> tuple[np.ndarray, np.ndarray]:
    name = layout["time"]
    column = next(c for c in processor.columns if c.name == name)
    if column.time is None:
        found = _numbers(table, name, "FILE")
        return np.nan_to_num(found).astype(np.int64), np.isfinite(found)
    form: TimeForm = column.time.form
    wall = wall_clock(timestamps.read(table.column(name), name, Times(form.form, form.zone.name, True)))
    return wall, wall != MISSING


def _numbers(table: pa.Table, name: str, where: str) -> np.ndarray:
    values = table.column(name)
    if pa.types.is_string(values.type) and (on := switches(values)) is not None:
        values = on
    if pa.types.is_string(values.type):
        found, bad = numbers(values)
        if found is None:
            assert bad is not None
            raise DataError(
                "is not a number", field=f"{where}: {name}, row {bad.row + 1}", value=bad.value, fix="correct the cell, or leave it empty"
            )
        values = found
    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _faults(panel: Panel, past: np.ndarray, more: dict[str, np.ndarray], layout: dict[str, Any]) -> dict[int, str]:
    """Series that cannot be forecast, and why."""
    out = {}
    horizon = int(layout["horizon"])
    for s in range(len(past)):
        if not np.isfinite(past[s]).any():
            out[s] = f"has no value of {layout['target']!r} among its last {past.shape[1]} times"
            continue
        lacks = [n for n in layout["known"] if not np.isfinite(more[n][s, -horizon:]).any()]
        if lacks:
            out[s] = f"has no rows for the {horizon} times after its last value, which tell {', '.join(map(repr, lacks))}"
    return out


def _sent(at: np.int64, layout: dict[str, Any]) -> Any:
    """A time as the processor reads it."""
    return float(at) if layout["grid"]["unit"] == "number" else timestamps.iso(int(at))


def _written(at: np.ndarray, layout: dict[str, Any], processor: TabularProcessor) -> list[Any]:
    """Times as the file writes them: by a declared form, else ISO 8601."""
    if layout["grid"]["unit"] == "number":
        return list(at.tolist())
    column = next(c for c in processor.columns if c.name == layout["time"])
    form = column.time.form.form if column.time is not None else "iso"
    moments = at.astype("datetime64[us]").tolist()
    if "%" in form:
        return [m.strftime(form) for m in moments]
    days = all(m.hour == m.minute == m.second == m.microsecond == 0 for m in moments)
    return [m.date().isoformat() if days else m.isoformat() for m in moments]


def _write(table: pa.Table, out: Path) -> None:
    form = format_of(out)
    with files.new_file(out) as tmp:
        if form == "parquet":
            pq.write_table(table, tmp)
        elif form == "jsonl":
            tmp.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in table.to_pylist()))
        else:
            pyarrow.csv.write_csv(table, tmp)
