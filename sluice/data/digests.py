"""Digests over what an Arrow table says, not over how it is laid out.

Two tables with the same column names, logical types and values have the same digest, whatever
their chunks, offsets, dictionary encoding, string width, or the bytes that lie under nulls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.core import files
from sluice.core.errors import DataError

#: Hex digits of a row's id.
ROW_ID_DIGITS = 16

_ID_BLOCK = 1 << 14
_SHA256 = type(hashlib.sha256())
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def logical_type(kind: pa.DataType, column: str = "column") -> pa.DataType:
    """The plain type of the same values: no dictionary, no large or view variants, no run-end encoding.

    Raises:
        DataError: a type without bytes of its own (unions, views of lists).
    """
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return logical_type(kind.value_type, column)
    if isinstance(kind, pa.BaseExtensionType):
        return logical_type(kind.storage_type, column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if _is_bytes(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return kind
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(logical_type(kind.value_type, column))
    if pa.types.is_map(kind):
        return pa.list_(pa.struct([("key", logical_type(kind.key_type, column)), ("value", logical_type(kind.item_type, column))]))
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, logical_type(f.type, column)) for f in kind])
    raise DataError(
        "has a type Sluice does not read", field=column, value=str(kind), fix="store it as a number, a string, bytes or a list of those"
    )


def plain(table: pa.Table) -> pa.Table:
    """The table with every column in its `logical_type`, without schema metadata. Raises `DataError`."""
    fields = [pa.field(f.name, logical_type(f.type, f.name)) for f in table.schema]
    columns = []
    for f, column in zip(fields, table.columns, strict=True):
        if isinstance(column.type, pa.BaseExtensionType):
            column = pa.chunked_array([c.storage for c in column.chunks], column.type.storage_type)
        columns.append(column if column.type == f.type else _cast(column, f))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _cast(column: pa.ChunkedArray, to: pa.Field) -> pa.ChunkedArray:
    try:
        return column.cast(to.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
        raise DataError(f"cannot be read as {to.type}: {e}", field=to.name, value=str(column.type)) from e


class TableHasher:
    """sha256 over a stream of tables or batches of one schema, in `logical_type`s.

    Each column feeds streams of its own (validity, lengths, values), so where the stream is cut
    makes no difference and nothing is kept in memory.
    """

    def __init__(self, schema: pa.Schema):
        self._names = list(schema.names)
        self._columns = [_ColumnHasher(logical_type(f.type, f.name)) for f in schema]
        self.rows = 0

    def update(self, table: pa.Table | pa.RecordBatch) -> None:
        """Take the next rows; the columns are the schema's, in its order and its logical types."""
        self.rows += table.num_rows
        for hasher, column in zip(self._columns, table.columns, strict=True):
            for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
                hasher.update(chunk)

    def hexdigest(self) -> str:
        """sha256 over what was updated so far, as hex."""
        columns = [[name, str(c.type), c.digest()] for name, c in zip(self._names, self._columns, strict=True)]
        return files.digest_of({"rows": self.rows, "columns": columns})


class Passing:
    """Pieces of a source, which go into its digest as they pass.

    Attributes:
        schema: of the pieces, before their types are made plain; null: none has passed.
    """

    schema: pa.Schema | None = None

    def __init__(self) -> None:
        self._hasher = TableHasher(pa.schema([]))

    def of(self, pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same pieces. Raises `DataError`."""
        for piece in pieces:
            whole = plain(piece)
            if self.schema is None:
                self._hasher = TableHasher(whole.schema)
            self.schema = piece.schema
            self._hasher.update(whole)
            yield piece

    def digest(self) -> str:
        """sha256 (hex) of all that passed, as `table_digest` of the whole."""
        return self._hasher.hexdigest()


def table_digest(table: pa.Table) -> str:
    """sha256 (hex) of a table's names, logical types and values. Raises `DataError` for types datasets do not hold."""
    table = plain(table)
    hasher = TableHasher(table.schema)
    hasher.update(table)
    return hasher.hexdigest()


class _ColumnHasher:
    def __init__(self, kind: pa.DataType):
        self.type = kind
        self._valid, self._lengths, self._values = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self._children = [_ColumnHasher(t) for t in _children(kind)]

    def update(self, array: pa.Array) -> None:
        if len(array) == 0:
            return
        self._valid.update(_valid(array))
        if pa.types.is_struct(self.type):
            for child, values in zip(self._children, array.flatten(), strict=True):
                child.update(values)
        elif pa.types.is_list(self.type):
            self._lengths.update(_lengths(array))
            self._children[0].update(array.flatten())
        elif self.type in (pa.string(), pa.binary()):
            self._lengths.update(_lengths(array))
            self._values.update(_joined(array))
        elif not pa.types.is_null(self.type):
            self._values.update(np.ascontiguousarray(_fixed(array)).data.cast("B"))

    def digest(self) -> list[Any]:
        return [self._valid.hexdigest(), self._lengths.hexdigest(), self._values.hexdigest(), [c.digest() for c in self._children]]


def row_ids(table: pa.Table, columns: Sequence[str]) -> pa.ChunkedArray:
    """An id a row: the first 16 hex digits of sha256 over the row's values in `columns`.

    Equal values give equal ids in any table, whatever the order of its columns; 0.0 and -0.0 are
    equal, and so are null and NaN. Names and types of the columns are part of what is hashed.

    Raises:
        DataError: a column is not there, or has a type datasets do not hold.
    """
    return pa.chunked_array([row_texts(block) for block in _numbered(table, columns)], pa.string())


def row_numbers(table: pa.Table, columns: Sequence[str]) -> NDArray[np.uint64]:
    """`row_ids` as numbers, uint64 [rows]. Raises as it does."""
    return np.concatenate([np.empty(0, np.uint64), *_numbered(table, columns)])


def row_texts(numbers: NDArray[np.uint64]) -> pa.Array:
    """Rows' numbers as ids of `ROW_ID_DIGITS` hex digits."""
    digits = numbers.astype(">u8").view(np.uint8).reshape(len(numbers), 8)
    texts = np.stack([_DIGITS[digits >> 4], _DIGITS[digits & 15]], axis=2).reshape(-1)
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * ROW_ID_DIGITS
    made: pa.Array = pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(texts))
    return made


def _numbered(table: pa.Table, columns: Sequence[str]) -> list[NDArray[np.uint64]]:
    names = sorted(columns)
    missing = sorted(set(names) - set(table.schema.names))
    if missing or not names:
        raise DataError("is not a column of the table", field=missing[0] if missing else "features", value=table.schema.names)
    features = plain(table.select(names))
    head = hashlib.sha256(files.canonical_json([[f.name, str(f.type)] for f in features.schema])).digest()
    return [_block_numbers(batch, head) for batch in features.to_batches(max_chunksize=_ID_BLOCK)]


def _block_numbers(batch: pa.RecordBatch, head: bytes) -> NDArray[np.uint64]:
    n, cells = batch.num_rows, [a for c in batch.columns for a in _cells(c)]
    data = np.empty(n, [("head", f"V{len(head)}"), *((f"{i}", a.dtype) for i, a in enumerate(cells))])  # no gaps: a row is its cells' bytes
    data["head"] = np.void(head)
    for i, values in enumerate(cells):
        data[f"{i}"] = values
    rows = data.view(f"V{data.dtype.itemsize}").tolist() if n else []  # bytes objects, made in one go
    made = map(_SHA256.digest, map(hashlib.sha256, rows))  # type: ignore[arg-type]
    return np.frombuffer(b"".join(made), ">u8")[::4].astype(np.uint64)


def _cells(array: pa.Array) -> list[np.ndarray]:
    """Of each value whether it is there, uint8 [rows]; then what stands for it, 0 where it is not: itself or its sha256, [rows] of one width."""
    kind, n = array.type, len(array)
    valid = np.frombuffer(_valid(array), np.uint8)
    if kind == pa.string():
        coded = array.dictionary_encode()
        table = _sha256_each(coded.dictionary)
        values = table[np.asarray(coded.indices.fill_null(0))] if len(table) else np.zeros(n, "V32")
    elif kind == pa.binary():
        values = _sha256_each(array)
    elif pa.types.is_list(kind):
        ends = np.cumsum(np.frombuffer(_lengths(array), np.int64))
        slices = np.split(_packed(array.flatten()), ends[:-1]) if n else []
        values = np.frombuffer(b"".join(hashlib.sha256(s.tobytes()).digest() for s in slices), "V32")
    elif pa.types.is_struct(kind):
        values = _rows_of(np.concatenate([_packed(c) for c in array.flatten()], axis=1))
    elif pa.types.is_null(kind):
        return [valid]
    else:
        values = _fixed(array)
        if pa.types.is_floating(kind):
            numbers = values.view(f"<f{kind.bit_width // 8}")[:, 0] + 0.0  # -0.0 + 0.0 is 0.0
            nan = np.isnan(numbers)
            if nan.any():
                valid, numbers[nan] = valid & ~nan, 0
            return [valid, numbers]
        values = _rows_of(values)
    if not valid.all():
        values = values.copy()
        values[valid == 0] = np.void(bytes(values.itemsize))
    return [valid, values]


def _packed(array: pa.Array) -> np.ndarray:
    """`_cells` side by side, uint8 [rows, 1 + width]."""
    parts = [np.ascontiguousarray(a).view(np.uint8).reshape(len(array), a.itemsize) for a in _cells(array)]
    return np.concatenate(parts, axis=1)


def _rows_of(data: np.ndarray) -> np.ndarray:
    """Bytes, uint8 [rows, width], as one value a row."""
    return np.ascontiguousarray(data).view(f"V{data.shape[1]}")[:, 0]


def _sha256_each(array: pa.Array) -> np.ndarray:
    lengths = np.frombuffer(_lengths(array), np.int64)
    data, ends = _joined(array), np.cumsum(lengths).tolist()
    digests, start = [], 0
    for end in ends:
        digests.append(hashlib.sha256(data[start:end]).digest())
        start = end
    return np.frombuffer(b"".join(digests), "V32")


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _children(kind: pa.DataType) -> list[pa.DataType]:
    if pa.types.is_struct(kind):
        return [f.type for f in kind]
    return [kind.value_type] if pa.types.is_list(kind) else []


def _valid(array: pa.Array) -> bytes:
    """One byte a value: 1 where it is not null."""
    if array.null_count == 0:
        return b"\x01" * len(array)
    return np.asarray(array.is_valid()).astype(np.uint8).tobytes()


def _lengths(array: pa.Array) -> bytes:
    """Length of each value, int64 little-endian; 0 for nulls."""
    if len(array) and array.null_count == 0 and not pa.types.is_list(array.type):
        offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
        return np.diff(offsets).astype("<i8").tobytes()
    lengths = pc.list_value_length(array) if pa.types.is_list(array.type) else pc.binary_length(array)
    return np.asarray(lengths.fill_null(0)).astype("<i8").tobytes()


def _joined(array: pa.Array) -> memoryview:
    """The bytes of all strings in a row, those under nulls left out."""
    if array.null_count:
        array = array.drop_null()
    if len(array) == 0:
        return memoryview(b"")
    offsets = np.frombuffer(array.buffers()[1], np.int32)
    first, last = int(offsets[array.offset]), int(offsets[array.offset + len(array)])
    data = array.buffers()[2]
    return memoryview(data)[first:last] if data is not None and last > first else memoryview(b"")


def _fixed(array: pa.Array) -> np.ndarray:
    """Values of a fixed width, uint8 [rows, width], little-endian: 0 under nulls, one bit pattern for every NaN; a boolean is one byte."""
    n = len(array)
    if pa.types.is_boolean(array.type):
        return np.asarray(array.fill_null(False)).astype(np.uint8).reshape(n, 1)
    width = array.type.bit_width // 8
    raw = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width : (array.offset + n) * width].reshape(n, width)
    blank = ~np.asarray(array.is_valid()) if array.null_count else None
    nan = np.isnan(raw.view(f"<f{width}")[:, 0]) if pa.types.is_floating(array.type) else None
    if blank is not None or (nan is not None and nan.any()):
        raw = raw.copy()
        if nan is not None:
            raw[nan] = np.array([np.nan], f"<f{width}").view(np.uint8)
        if blank is not None:
            raw[blank] = 0
    return raw
