"""Labelled rows as a source for training: of the predictions with their labels, in files of a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import DataError
from sluice.monitor.labels import Coverage, joined

if TYPE_CHECKING:
    import pyarrow as pa


def write_rows(
    root: str | Path,
    model: str,
    out: Path,
    label: str,
    read_back: Callable[[Sequence[str]], Sequence[Any]] = list,
    *,
    most_rows: int = 5_000_000,
    coverage: Coverage | None = None,
    **which: Any,
) -> dict[str, Any]:
    """The labelled rows as a source for training: Parquet files below `out`, the features' columns and the label's.

    Files are named by what is in them: the same rows again leave the same files. Written whole or not at all.

    Args:
        root, model, which: as `joined` takes them.
        out: a folder; made where it is not there.
        label: the label's column, as the project's ``data.columns.label``.
        read_back: texts of labels as values, `Problem.read_back`.
        most_rows: where it ends.

    Returns:
        ``{"rows", "files", "left_out" (rows whose features the log did not keep), "cut" (whether there were more), "coverage"}``.

    Raises:
        DataError: the log cannot be read, or a feature is called as the label is.
    """

    told = coverage if coverage is not None else Coverage()
    found: dict[str, Any] = {"rows": 0, "files": [], "left_out": 0, "cut": False}
    out.mkdir(parents=True, exist_ok=True)
    shares: list[pa.Table] = []
    for batch in joined(root, model, coverage=told, **which):
        rows, left = _features(batch, label, read_back)
        found["left_out"] += left
        if rows is None:
            continue
        room = most_rows - found["rows"]
        if rows.num_rows > room:
            found["cut"], rows = True, rows.slice(0, room)
        shares.append(rows)
        found["rows"] += rows.num_rows
        if sum(t.num_rows for t in shares) >= 65_536 or sum(t.nbytes for t in shares) >= 64 << 20:
            found["files"].append(_written(out, shares))
            shares = []
        if found["cut"]:
            break
    if shares:
        found["files"].append(_written(out, shares))
    return {**found, "coverage": told.to_dict()}


def _features(batch: pa.RecordBatch, label: str, read_back: Callable[[Sequence[str]], Sequence[Any]]) -> tuple[pa.Table | None, int]:
    """The features and the true answer of a batch's rows; how many have none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if "features" not in batch.schema.names:
        return None, batch.num_rows
    struct = pc.struct_field
    kind = batch.schema.field("features").type
    names = [kind.field(i).name for i in range(kind.num_fields) if kind.field(i).name != "tensors"]
    if label in names:
        raise DataError("is the name of a feature too", field="label", value=label, fix="give the label's column another name")
    features = {n: struct(batch.column("features"), n) for n in names}
    there = np.zeros(batch.num_rows, bool)
    for column in features.values():
        there |= np.asarray(column.is_valid())
    there &= np.asarray(batch.column("label").is_valid())
    left = int(batch.num_rows - there.sum())
    if not there.any():
        return None, left
    mask = pa.array(there)
    told = pa.array(list(read_back(batch.column("label").filter(mask).to_pylist())))
    return pa.table({**{n: c.filter(mask) for n, c in features.items()}, label: told}), left


def _together(shares: list[pa.Table]) -> pa.Table:
    """One table; a column that is a number in one and a text in another is a text."""
    import pyarrow as pa

    try:
        return pa.concat_tables(shares, promote_options="permissive")
    except pa.ArrowTypeError:
        mixed = {f.name for t in shares for f in t.schema if pa.types.is_string(f.type)}
        return pa.concat_tables([_as_texts(t, mixed) for t in shares], promote_options="permissive")


def _as_texts(table: pa.Table, names: set[str]) -> pa.Table:
    import pyarrow as pa

    for i, field in enumerate(table.schema):
        if field.name in names and not pa.types.is_string(field.type):
            cells = [None if v is None else v if isinstance(v, str) else str(v) for v in table.column(i).to_pylist()]
            table = table.set_column(i, field.name, pa.array(cells, pa.string()))
    return table


def _written(out: Path, shares: list[pa.Table]) -> str:
    import hashlib
    import io

    import pyarrow.parquet as pq

    from sluice.core import files

    sink = io.BytesIO()
    pq.write_table(_together(shares).combine_chunks(), sink, compression="zstd")
    raw = sink.getvalue()
    name = f"labelled-{hashlib.sha256(raw).hexdigest()[:16]}.parquet"
    if not (out / name).exists():
        files.write_bytes(out / name, raw)
    return name
