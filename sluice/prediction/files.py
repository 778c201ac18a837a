"""`sluice predict`: a file of rows, and the same file with what a package says of each row."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sluice.core import files
from sluice.core.errors import DataError, InputError, PackageError, ProjectError, SluiceError
from sluice.core.ordered import in_order
from sluice.data.config import DataConfig
from sluice.data.dialect import Dialect
from sluice.data.forms import format_of
from sluice.data.packed import PACKED, WRITTEN
from sluice.data.scheme import Found
from sluice.engines.predictor import Predictor
from sluice.fields import processor_class
from sluice.package.package import Package
from sluice.prediction.answers import Tally, columns_of
from sluice.prediction.cells import named, needed, reader
from sluice.prediction.csv_stream import CsvStream
from sluice.prediction.json_stream import JsonLines
from sluice.prediction.parquet_stream import ParquetStream
from sluice.prediction.streams import Stream, Window
from sluice.prediction.summary import Summary
from sluice.problems.problem import problem

#: Rows at a time; encoded files are large.
_WINDOW, _BLOBS = 4096, 64
#: Where some rows of a file are wanted.
_FEW = 256
#: Rows that were left out, named one by one before the rest is only counted.
_SHOWN = 5


def predict_file(
    package: Package, file: Found, out: Path, *, on_error: Literal["stop", "skip"] = "stop", batch_size: int = 64, workers: int = 1
) -> Summary:
    """Write a file's rows again with the package's answers behind them, in the same format and order; `out` appears whole or not at all.

    Added: what the problem tells (`Problem.columns`): ``prediction`` (the label) and ``probability`` (its), or ``value``; with ``predicted_`` before them where the
    file has such a column already. CSV keeps its separator, header line and encoding, JSON lines keep each line, Parquet its
    types. Rows are read as the source of the training rows was (`Package.reading`); other columns than the model's pass through.

    Args:
        file: CSV (any separator), JSON lines or Parquet, told by its name; text may be packed.
        on_error: what a row that cannot be used does: end the work, or be left out and counted.
        workers: threads.

    Raises:
        DataError: `out` ends in what is not written; the file cannot be read or lacks a column; or a row cannot be used (its line is named); or no row can.
    """
    if out.suffix.lower() in PACKED - WRITTEN.keys():
        raise DataError(
            "is a packed file that is read but not written",
            field="OUTPUT",
            value=str(out),
            fix=f"end it in {', '.join(WRITTEN)}, or plainly",
        )
    data = _reading(package)
    stream = open_stream(file, told_form(file), data.dialect, named(package, data.columns), [data.columns.label])
    other = problem(package.objective).by_file
    if other and not set(named(package, data.columns)) <= set(stream.columns):
        return _by_file(other)(package, data, file, out, on_error=on_error, batch_size=batch_size)
    names = needed(package, data.columns, list(stream.columns), file.where)
    predictor = Predictor(package, threads=1)
    job = _Job(predictor, reader(package, data.columns, names, file), file, on_error == "skip", batch_size)
    added = _free(list(columns_of(predictor, predictor.predict([]))), stream.columns)
    tally, told = Tally(), list[str]()
    rows = _BLOBS if processor_class(package.preprocess).blobs() else _WINDOW
    with files.new_file(out) as tmp:
        with stream.writer(tmp, added, WRITTEN.get(out.suffix)) as writer:
            for window, good, answers, bad in in_order(job.predict, stream.windows(rows), workers):
                made = dict(zip(added, columns_of(predictor, answers).values(), strict=True))
                if good:
                    writer.write(window, good, made)
                predictions = made[added[0]] if problem(package.objective).classes else None
                tally.add(len(window.places) + len(window.broken), len(bad), bad[0] if bad else None, predictions)
                told += bad[: _SHOWN - len(told)]
        if not tally.rows:
            raise DataError("holds no rows", field=file.where, fix="name another file")
        if tally.bad == tally.rows:
            raise DataError(
                f"has no row that can be predicted; the first: {tally.first_bad}",
                field=file.where,
                fix="correct the rows, or name another file",
            )
    return Summary(tally.rows, tally.bad, added, dict(sorted(tally.labels.items())), told, list(stream.notes))


def _by_file(where: str) -> Callable[..., Summary]:
    """What answers files whose rows are not the model's (`Problem.by_file`)."""
    module, _, name = where.partition(":")
    found: Callable[..., Summary] = getattr(importlib.import_module(module), name)
    return found


def raw_rows(package: Package, file: Found) -> Iterator[tuple[str, Any]]:
    """A file's rows as a package's processor takes them, each with where it lies: its line, or ``row N``.

    Raises:
        DataError: as `predict_file`.
    """
    data = _reading(package)
    stream = open_stream(file, told_form(file), data.dialect, named(package, data.columns), [data.columns.label])
    names = needed(package, data.columns, list(stream.columns), file.where)
    read = reader(package, data.columns, names, file)
    for window in stream.windows(_FEW):
        for place, message, value in window.broken:
            raise DataError(message, field=f"{file.where}:{place}", value=value, fix="correct the row, or leave it out")
        yield from zip(window.places, read(window.columns), strict=True)


def told_form(file: Found) -> str:
    """The format that a file's name tells. Raises `DataError`."""
    form = format_of(file.path)
    if form is None:
        raise DataError(
            "the file's name does not tell its format", field="FILE", value=file.where, fix="name it .csv, .tsv, .jsonl or .parquet"
        )
    return form


def open_stream(file: Found, form: str, dialect: Dialect, wanted: Sequence[str], optional: Sequence[str] = ()) -> Stream:
    """A file as a stream.

    Args:
        form: ``csv``, ``jsonl`` or ``parquet``.
        dialect: how a CSV is written, as far as it is declared.
        wanted: columns that are needed, a help in finding the separator.
        optional: declared columns that new rows need not have (the label).

    Raises:
        DataError: it cannot be read at all.
    """
    if form == "csv":
        return CsvStream(file, dialect, wanted, optional)
    return JsonLines(file) if form == "jsonl" else ParquetStream(file)


def check_out(file: Found, out: Path) -> None:
    """Raises `ProjectError` where `out` is the file itself, or its name says another format."""
    form, other = format_of(file.path), format_of(out)
    if form != other:
        raise ProjectError(
            f"is to be {form} like {file.where}" if form else "is to have the format of FILE",
            field="--output",
            value=str(out),
            fix=f"name it {out.with_suffix(file.path.suffix).name}",
        )
    if out.exists() and out.samefile(file.path):
        raise ProjectError("is FILE itself", field="--output", value=str(out), fix="name another file")


class _Job:
    """What every window is put through, on any thread."""

    def __init__(self, predictor: Predictor, rows: Callable[[Mapping[str, Any]], list[Any]], file: Found, tolerate: bool, batch_size: int):
        self._predictor, self._rows, self._file, self._tolerate, self._batch_size = predictor, rows, file, tolerate, batch_size

    def predict(self, window: Window) -> tuple[Window, Sequence[int], np.ndarray, list[str]]:
        """(the window, its rows that were answered, their answers, why the others were not)."""
        if not window.broken:
            try:
                rows = self._rows(window.columns)
                return window, range(len(rows)), self._predictor.predict(rows, self._batch_size), []
            except (InputError, DataError):
                pass  # row by row, to say which
        faults = {
            place: DataError(
                message, field=f"{self._file.where}:{place}", value=value, fix="correct the row, or leave such rows out: --on-error skip"
            )
            for place, message, value in window.broken
        }
        good, rows = [], []
        for i, place in enumerate(window.places):
            try:
                row = self._rows({name: column[i : i + 1] for name, column in window.columns.items()})
                self._predictor.processor.encode(row)
            except (InputError, DataError) as e:
                faults[place] = self._fault(place, e)
            else:
                good.append(i)
                rows += row
        order = sorted(faults, key=lambda place: int(place.removeprefix("row ")))
        if faults and not self._tolerate:
            raise faults[order[0]]
        return window, good, self._predictor.predict(rows, self._batch_size), [f"{faults[p].field}: {faults[p].message}" for p in order]

    def _fault(self, place: str, e: SluiceError) -> DataError:
        column = (e.field or "").removeprefix("rows[0]").lstrip(".") if isinstance(e, InputError) else ""
        fix = f"{e.fix}; or leave such rows out: --on-error skip" if e.fix else "correct the row, or leave such rows out: --on-error skip"
        return DataError(
            e.message,
            field=f"{self._file.where}:{place}" + (f": {column}" if column else ""),
            fix=fix,
            **({"value": e.value} if e.has_value else {}),
        )


def _reading(package: Package) -> DataConfig:
    try:
        return DataConfig.model_validate({"source": "-", **package.reading()})
    except ValueError as e:
        raise PackageError(
            f"cannot be read: {e}", field=f"{package.root}/reading.json", fix="use the version of Sluice that wrote the package"
        ) from e


def _free(names: list[str], taken: Sequence[str]) -> list[str]:
    """The names, all with ``predicted_`` before them as often as it takes to be no column of the file."""
    while set(names) & set(taken):
        names = [f"predicted_{n}" for n in names]
    return names
