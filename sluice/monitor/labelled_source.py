"""The source ``labelled://``: training rows, and behind them the predictions of a model whose labels have come since.

``labelled://digits?rows=s3://bucket/digits/*.parquet&log=s3://bucket/log`` trains on the Parquet files below `rows` and on what the model `digits` was
asked and then told, joined by request id. So a retraining has the rows that asked for it, and nobody carries them anywhere.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import numpy as np

from sluice.core.errors import DataError
from sluice.data.forms import format_of
from sluice.data.locations import find
from sluice.data.parts import parts
from sluice.data.scheme import Asked, Found, bring, scheme_of
from sluice.monitor.labelled_rows import write_rows
from sluice.monitor.labels import Coverage

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger("sluice.data")
#: Of the labelled rows, those that may be left out because a value is none of its column's: more are a column of another type.
_FEW, _WRONG = 0.1, object()
_KEYS = ("rows", "log", "since", "until")
_SHAPE = "labelled://MODEL?rows=s3://bucket/rows/*.parquet&log=s3://bucket/log"


@dataclasses.dataclass(frozen=True)
class Address:
    """What an address says.

    Attributes:
        model: its name in the log. rows: the training rows, a path, glob or ``s3://`` of Parquet files. log: the prediction log, a folder or ``s3://``.
        since, until: of predictions, microseconds since 1970; None: all.
    """

    model: str
    rows: str
    log: str
    since: int | None = None
    until: int | None = None


def address_of(uri: str) -> Address:
    """An address taken apart. Raises `DataError`: it names no model, rows or log, has another key, or a time is none."""
    model, _, query = uri.partition("://")[2].partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(given.keys() - set(_KEYS))
    missing = [k for k in ("rows", "log") if not given.get(k)]
    if unknown or missing or not model:
        what = f"has no {unknown[0]}" if unknown else "names no model" if not model else f"names no {missing[0]}"
        raise DataError(what, field="data.source", value=uri, fix=f"{_SHAPE}, with since= and until= for a time")
    if scheme_of(given["rows"]) == "labelled":
        raise DataError("names itself for its rows", field="data.source", value=uri, fix=_SHAPE)
    return Address(model, given["rows"], given["log"], *(_micros(uri, k, given.get(k, "")) for k in ("since", "until")))


def _micros(uri: str, key: str, text: str) -> int | None:
    if not text:
        return None
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError as e:
        fix = f"{key}=2026-11-30, or {key}=2026-11-30T12:00:00Z; a time that names no zone is UTC's"
        raise DataError(f"has a {key} that is no time", field="data.source", value=uri, fix=fix) from e
    at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return int(at.timestamp() * 1_000_000)


def fetch(asked: Asked) -> list[Found]:
    """The files of the training rows, and those of the labelled predictions in the same columns and types.

    A prediction stands once, whichever versions answered it, with the label that was told last. Columns that the log does not have are null there.

    Raises:
        DataError: the address, the rows (Parquet files alone) or the log; or a feature's values are not of the rows' type.
        MissingExtra: as the source of the rows.
    """
    import pyarrow.parquet as pq

    address = address_of(asked.uri)
    found = _rows(asked, address)
    schema = pq.read_schema(found[0].path)
    label = asked.columns.label
    if label not in schema.names:
        fix = f"set data.columns.label to one of {', '.join(schema.names[:10])}"
        raise DataError(f"has no column {label!r}", field="data.columns.label", value=found[0].where, fix=fix)
    root = address.log if address.log.startswith("s3://") else str(asked.base_dir / address.log)
    if not root.startswith("s3://") and not Path(root).exists():
        return found  # a first model is trained before any is asked
    out = Path(tempfile.mkdtemp(prefix="labelled-", dir=asked.folder))
    coverage = Coverage()
    told = write_rows(root, address.model, out, label, once=True, since=address.since, until=address.until, coverage=coverage)
    for text in [*coverage.unread, *coverage.unread_labels]:
        _log.warning("%s was not read: %s", address.log, text)
    for name in told["files"]:
        path, where = out / name, f"{address.log}: {address.model}: {name}"
        pq.write_table(_like(pq.read_table(path), schema, where), path, compression="zstd")
        if (kept := parts()) is not None:
            kept.see(where, path, name)
        found.append(Found(path, where))
    return found


def _rows(asked: Asked, address: Address) -> list[Found]:
    """The files of the training rows. Raises `DataError`."""
    if scheme_of(address.rows) is None:
        found = find(address.rows, asked.base_dir)
    else:
        inner = dataclasses.replace(asked, uri=address.rows, rest=address.rows.partition("://")[2])
        brought = bring(inner, asked.base_dir)
        found = brought if isinstance(brought, list) else []
    other = next((f.where for f in found if f.path.is_dir() or format_of(f.path) != "parquet"), "" if found else address.rows)
    if other:
        fix = "name them by a glob, rows=s3://bucket/rows/*.parquet; pyarrow and pandas write other forms as Parquet"
        raise DataError("is no Parquet file, which labelled rows are put beside", field="data.source", value=other, fix=fix)
    return found


def _like(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """The rows in a schema's columns and types; without the few of which a value is none of its column's. Raises `DataError`: it is more than a few."""
    import pyarrow as pa

    columns, fine = [], np.ones(table.num_rows, bool)
    for field in schema:
        if field.name not in table.schema.names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowException as e:
            cells = [_cell(v, field.type) for v in column.to_pylist()]
            wrong = np.array([c is _WRONG for c in cells], bool)
            if wrong.sum() > _FEW * table.num_rows:
                fix = "write the column of the training rows as the model is asked for it"
                raise DataError(f"column {field.name!r} is {column.type}, in the training rows {field.type}", field=where, fix=fix) from e
            fine &= ~wrong
            columns.append(pa.chunked_array([pa.array([None if c is _WRONG else c for c in cells], field.type)]))
    if not fine.all():
        _log.warning("%s: %d rows were left out, with a value that is none of its column's", where, int((~fine).sum()))
    return pa.table(columns, schema=pa.schema([(f.name, f.type) for f in schema])).filter(pa.array(fine))


def _cell(value: object, kind: pa.DataType) -> object:
    """A value as one of a type; `_WRONG` where it is none."""
    import pyarrow as pa

    try:
        return pa.scalar(value).cast(kind).as_py()
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _WRONG
