"""Two versions of data side by side: columns, rows, cells, and how far each column has moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.core.errors import DataError
from sluice.data.columns import null_for_nan
from sluice.data.digests import plain
from sluice.data.rules.hashing import hashes
from sluice.stats.drift import category_counts, noise_floor, numeric_counts, psi, quantile_edges

#: Changed cells that are shown, characters of a value, and rows that are paired by likeness at most.
_SHOWN, _CHARACTERS, _PAIRED = 20, 80, 2000
#: Categories that are told apart; a column with more different texts is compared by their lengths.
_CATEGORIES = 50
#: How seldom a column that did not move may be said to have.
BY_CHANCE = 1e-4
#: Population stability index from which a shift is large (Siddiqi 2006).
LARGE = 0.25

Indices = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Difference:
    """What differs from `a` to `b`; rows are counted from 1.

    Attributes:
        schema: ``added``, ``removed`` columns and ``changed`` ones (name -> types).
        by: how rows were told to be the same: ``key`` or ``content``.
        rows: ``a``, ``b``, ``same``, ``changed``, ``added``, ``removed``.
        cells: changed cells by column.
        drift: by column ``psi``, ``noise`` (what chance alone exceeds once in 10,000) and ``moved``.
        examples: changed cells: ``row_a``, ``row_b``, ``column``, ``before``, ``after``, and the ``key``.
        added, removed: numbers of the first such rows.
    """

    schema: dict[str, Any]
    by: str
    rows: dict[str, int]
    cells: dict[str, int]
    drift: dict[str, dict[str, Any]]
    examples: list[dict[str, Any]]
    added: list[int]
    removed: list[int]

    @property
    def equal(self) -> bool:
        """Whether nothing differs but the order of rows and columns."""
        return not any(self.schema.values()) and not any(self.rows[k] for k in ("changed", "added", "removed"))

    @property
    def share(self) -> float:
        """Rows that are not in both as they are, of the larger side's."""
        return sum(self.rows[k] for k in ("changed", "added", "removed")) / max(self.rows["a"], self.rows["b"], 1)

    def moved(self, threshold: float) -> list[str]:
        """Columns whose distance is beyond the threshold and beyond what chance explains, the farthest first."""
        found = [(n, d["psi"]) for n, d in self.drift.items() if d["psi"] is not None and d["psi"] > max(threshold, d["noise"])]
        return [n for n, _ in sorted(found, key=lambda f: -f[1])]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"equal": self.equal, **dataclasses.asdict(self)}


def difference(a: pa.Table, b: pa.Table, key: Sequence[str] = (), secret: Collection[str] = ()) -> Difference:
    """Compare two tables.

    Rows are the same by `key`; without one, by their content: what is left over on both sides is one row changed where at least half of its cells are those of the
    row at the same place of tables of one length, or of another row of the other side.

    Args:
        a, b: the tables; numbers are equal by value, whatever their type.
        key: columns whose values name a row.
        secret: columns whose values are not shown.

    Raises:
        DataError: a key column is missing, or names two rows.
    """
    a, b = plain(a), plain(b)
    in_a, in_b = set(a.schema.names), set(b.schema.names)
    shared = [n for n in a.schema.names if n in in_b and _alike(a.schema.field(n).type, b.schema.field(n).type)]
    moved = in_b - set(shared)
    schema = {
        "added": [n for n in b.schema.names if n not in in_a],
        "removed": [n for n in a.schema.names if n not in in_b],
        "changed": {n: [str(a.schema.field(n).type), str(b.schema.field(n).type)] for n in a.schema.names if n in moved},
    }
    ha, hb = ({n: _hash(t.column(n)) for n in shared} for t in (a, b))
    if key:
        left, right, gone, new = _by_key(a, b, list(key), shared)
    else:
        left, right, gone, new = _by_content(ha, hb, shared, a.num_rows, b.num_rows)
    differs = {n: ha[n][left] != hb[n][right] for n in shared if n not in key}
    changed = np.any(list(differs.values()), axis=0) if differs else np.zeros(len(left), bool)
    rows = {
        "a": a.num_rows,
        "b": b.num_rows,
        "same": int((~changed).sum()),
        "changed": int(changed.sum()),
        "added": len(new),
        "removed": len(gone),
    }
    return Difference(
        schema,
        "key" if key else "content",
        rows,
        {n: int(d.sum()) for n, d in differs.items() if d.any()},
        {n: _drift(a.column(n), b.column(n)) for n in shared},
        _examples(a, b, differs, left, right, list(key), frozenset(secret)),
        (new[:_SHOWN] + 1).tolist(),
        (gone[:_SHOWN] + 1).tolist(),
    )


def _alike(one: pa.DataType, other: pa.DataType) -> bool:
    def number(t: pa.DataType) -> bool:
        return bool(pa.types.is_integer(t) or pa.types.is_floating(t) or pa.types.is_decimal(t) or pa.types.is_boolean(t))

    if pa.types.is_null(one) or pa.types.is_null(other) or (number(one) and number(other)):
        return True
    return bool(one == other or (pa.types.is_temporal(one) and pa.types.is_temporal(other)))


def _hash(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Of a cell 64 bits: two cells that differ at one place are taken for one once in 2^64."""
    return hashes([null_for_nan(column) if pa.types.is_floating(column.type) else column])[0]


def _by_key(a: pa.Table, b: pa.Table, key: list[str], shared: list[str]) -> tuple[Indices, Indices, Indices, Indices]:
    for name in key:
        if name not in shared:
            where = "the first" if name not in a.schema.names else "the second" if name not in b.schema.names else "both, with one type,"
            raise DataError(f"is no column of {where}", field="--key", value=name, fix=f"columns of both: {', '.join(shared[:20])}")
    sides = []
    for table, which in ((a, "first"), (b, "second")):
        x, y = hashes([table.column(n) for n in key])
        order = np.lexsort((y, x))
        same = (x[order][1:] == x[order][:-1]) & (y[order][1:] == y[order][:-1])
        if same.any():
            at = sorted(order[[int(np.argmax(same)), int(np.argmax(same)) + 1]].tolist())
            raise DataError(
                f"does not name rows of the {which}: rows {at[0] + 1} and {at[1] + 1} have the same",
                field="--key",
                value=", ".join(key),
                fix="add a column to the key, or leave it out",
            )
        sides.append((x, y))
    return _matched(*sides)


def _matched(
    one: tuple[NDArray[np.uint64], NDArray[np.uint64]], other: tuple[NDArray[np.uint64], NDArray[np.uint64]]
) -> tuple[Indices, Indices, Indices, Indices]:
    """Rows of both by their hashes, each used once, the first with the first: pairs, and what is left of either."""
    kind = np.dtype([("x", "<u8"), ("y", "<u8"), ("n", "<i8")])
    numbered = []
    for x, y in (one, other):
        made = np.empty(len(x), kind)
        order = np.lexsort((np.arange(len(x)), y, x))
        start = np.concatenate([[True], (x[order][1:] != x[order][:-1]) | (y[order][1:] != y[order][:-1])]) if len(x) else np.zeros(0, bool)
        head = np.maximum.accumulate(np.where(start, np.arange(len(x)), 0))
        made["x"], made["y"] = x, y
        made["n"][order] = np.arange(len(x)) - head  # the how-manieth of its kind
        numbered.append(made)
    _, left, right = np.intersect1d(numbered[0], numbered[1], assume_unique=True, return_indices=True)
    order = np.argsort(left, kind="stable")
    left, right = left[order], right[order]
    return left, right, np.setdiff1d(np.arange(len(one[0])), left), np.setdiff1d(np.arange(len(other[0])), right)


def _by_content(
    ha: dict[str, NDArray[np.uint64]], hb: dict[str, NDArray[np.uint64]], shared: list[str], rows_a: int, rows_b: int
) -> tuple[Indices, Indices, Indices, Indices]:
    a, b = (_rows(h, shared, n) for h, n in ((ha, rows_a), (hb, rows_b)))
    left, right, gone, new = _matched(a, b)
    pairs: list[tuple[Indices, Indices]] = [(left, right)]
    if rows_a == rows_b:  # the same place is the same row, if it has anything to do with it
        both = np.intersect1d(gone, new)
        alike = np.sum([ha[n][both] == hb[n][both] for n in shared], axis=0) if shared else np.zeros(len(both))
        both = both[(alike * 2 >= len(shared)) | (len(shared) == 1)]
        pairs.append((both, both))
        gone, new = np.setdiff1d(gone, both), np.setdiff1d(new, both)
    if len(gone) and len(new) and len(gone) * len(new) <= _PAIRED**2 and len(shared) > 1:
        x, y = _likeliest(ha, hb, shared, gone, new)
        pairs.append((x, y))
        gone, new = np.setdiff1d(gone, x), np.setdiff1d(new, y)
    left, right = (np.concatenate([p[i] for p in pairs]).astype(np.int64) for i in (0, 1))
    return left, right, gone, new


def _rows(columns: dict[str, NDArray[np.uint64]], shared: list[str], rows: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    if not shared:
        return np.zeros(rows, np.uint64), np.zeros(rows, np.uint64)
    return hashes([pa.chunked_array([columns[n]]) for n in shared])


def _likeliest(
    ha: dict[str, NDArray[np.uint64]], hb: dict[str, NDArray[np.uint64]], shared: list[str], gone: Indices, new: Indices
) -> tuple[Indices, Indices]:
    """Rows of either side with at least half of their cells in common, the likest first, each used once."""
    alike = np.zeros((len(gone), len(new)), np.int16)
    for n in shared:
        alike += ha[n][gone][:, None] == hb[n][new][None, :]
    at, to = np.nonzero(alike * 2 >= len(shared))
    used_a, used_b, pairs = set[int](), set[int](), []
    for i in np.argsort(-alike[at, to], kind="stable").tolist():
        if int(at[i]) not in used_a and int(to[i]) not in used_b:
            used_a.add(int(at[i]))
            used_b.add(int(to[i]))
            pairs.append((gone[at[i]], new[to[i]]))
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _examples(
    a: pa.Table, b: pa.Table, differs: dict[str, NDArray[np.bool_]], left: Indices, right: Indices, key: list[str], secret: frozenset[str]
) -> list[dict[str, Any]]:
    out = []
    for name, changed in differs.items():
        for i in np.flatnonzero(changed)[:_SHOWN].tolist():
            x, y = int(left[i]), int(right[i])
            made: dict[str, Any] = {"row_a": x + 1, "row_b": y + 1, "column": name}
            if key:
                made["key"] = {k: _shown(a.column(k)[x].as_py()) for k in key if k not in secret}
            if name not in secret:
                made |= {"before": _shown(a.column(name)[x].as_py()), "after": _shown(b.column(name)[y].as_py())}
            out.append(made)
    return sorted(out, key=lambda e: (e["row_a"], e["column"]))[:_SHOWN]


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and np.isfinite(value)):
        return value
    text = str(value)
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 3] + "..."


def _drift(a: pa.ChunkedArray, b: pa.ChunkedArray) -> dict[str, Any]:
    """How far the second is from the first: over deciles of numbers and times, the commonest categories, or the lengths of texts and bytes."""
    counts = _counts(a, b)
    if counts is None:
        return {"psi": None, "noise": None, "moved": False}
    distance, noise = psi(*counts), noise_floor("psi", *counts, BY_CHANCE)
    if distance is None or noise is None:
        return {"psi": None, "noise": None, "moved": False}
    return {"psi": round(distance, 6), "noise": round(noise, 6), "moved": distance > max(LARGE, noise)}


def _counts(a: pa.ChunkedArray, b: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    x, y = _numbers(a), _numbers(b)
    if x is None or y is None:
        if not (pa.types.is_string(a.type) and pa.types.is_string(b.type)):
            return None
        found = [{str(c["values"] or ""): c["counts"] for c in t.value_counts().to_pylist()} for t in (a, b)]
        top = [k for k in sorted(found[0], key=lambda k: (-found[0][k], k)) if k][:_CATEGORIES]
        if len(found[0]) <= max(_CATEGORIES, len(a) // 20):
            return category_counts(found[0], top), category_counts(found[1], top)
        x, y = (np.asarray(pc.utf8_length(t).cast(pa.float64())) for t in (a, b))
    edges = quantile_edges(x)
    return numeric_counts(x, edges), numeric_counts(y, edges)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    elif pa.types.is_binary(kind):
        column = pc.binary_length(column)
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    return np.asarray(column.cast(pa.float64()).to_numpy())
