"""Which side a row is on: decided by what the row says, so growing data moves no row.

The row's id (a sha256 of its features) is mixed with the seed to a uniform number; below the
test fraction it is held out, below the sum of both it validates, the rest trains. Rows with equal
features have one id, hence one side: nothing leaks between the splits of one source.

Mixing: the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, OOPSLA 2014).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.data.config import Split
from sluice.data.digests import ROW_ID_DIGITS
from sluice.errors import DataError

SPLITS = ("train", "validation", "test")
#: How many other seeds are tried before an error says that none helps.
_SEEDS = 200


def id_numbers(row_ids: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Row ids (16 hex digits) as unsigned numbers, shape [rows]."""
    out = [np.empty(0, np.uint64)]
    for chunk in row_ids.chunks:
        if len(chunk):
            offsets = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset :]
            raw = np.frombuffer(chunk.buffers()[2], np.uint8)[offsets[0] : offsets[len(chunk)]].reshape(len(chunk), ROW_ID_DIGITS)
            digits = np.where(raw >= ord("a"), raw - (ord("a") - 10), raw - ord("0")).astype(np.uint8)
            out.append((digits[:, 0::2] << 4 | digits[:, 1::2]).view(">u8")[:, 0].astype(np.uint64))
    return np.concatenate(out)


def sides(ids: NDArray[np.uint64], split: Split, has_test: bool) -> NDArray[np.int8]:
    """For each id the index of its split in `SPLITS`.

    Args:
        ids: from `id_numbers`.
        split: the fractions and the seed.
        has_test: whether held-out rows come from elsewhere, so that none are taken from these.
    """
    where = _uniform(ids, split.seed)
    test = 0.0 if has_test else split.test
    return np.where(where < test, 2, np.where(where < test + split.validation, 1, 0)).astype(np.int8)


def split_rows(table: pa.Table, split: Split, has_test: bool) -> dict[str, pa.Table]:
    """Divide rows by their ids, keeping their order.

    Args:
        table: columns ``row_id`` and ``label`` among others.
        split: the fractions and the seed.
        has_test: whether held-out rows come from elsewhere.

    Returns:
        ``train``, ``validation`` and, unless `has_test`, ``test``.

    Raises:
        DataError: a split would be empty, or a label would have no training row.
    """
    ids = id_numbers(table.column("row_id"))
    labels = table.column("label") if not pa.types.is_floating(table.schema.field("label").type) else None
    side = checked_sides(ids, labels, split, has_test)
    names = SPLITS[:2] if has_test else SPLITS
    return {name: table.filter(pa.array(side == i)) for i, name in enumerate(names)}


def checked_sides(ids: NDArray[np.uint64], labels: pa.ChunkedArray | None, split: Split, has_test: bool) -> NDArray[np.int8]:
    """`sides`, if no split is empty and each label (null: none to look at) has a training row. Raises `DataError`."""
    if not has_test and split.test == 0:
        raise DataError("leaves no rows to test on", field="data.split.test", value=0, fix="set a fraction above 0, or name held-out rows in data.test")
    codes, names = _codes(labels)
    side = sides(ids, split, has_test)
    fault = _fault(side, codes, names, has_test)
    if fault is None:
        return side
    distinct = len(np.unique(ids))
    raise DataError(f"{fault} (of {len(ids)} rows, {distinct} with different features)", field="data.split",
                    value=split.model_dump(), fix=_remedy(ids, codes, names, split, has_test, distinct))  # fmt: skip


def _remedy(ids: NDArray[np.uint64], codes: NDArray[np.int64], names: list[str], split: Split, has_test: bool, distinct: int) -> str:
    if distinct < (2 if has_test else 3):
        return "the rows repeat: give more rows that differ"
    for seed in range(split.seed + 1, split.seed + 1 + _SEEDS):
        if _fault(sides(ids, split.model_copy(update={"seed": seed}), has_test), codes, names, has_test) is None:
            return f"give more rows, or another seed: with data.split.seed: {seed} it works"
    return f"give more rows (of the rare labels above all), or smaller fractions; none of {_SEEDS} other seeds helps"


def _fault(side: NDArray[np.int8], codes: NDArray[np.int64], names: list[str], has_test: bool) -> str | None:
    counts = np.bincount(side, minlength=3)
    for i, name in enumerate(SPLITS[:2] if has_test else SPLITS):
        if not counts[i]:
            return f"no row falls into the {name} split"
    trained = codes[side == 0] if names else codes
    untrained = np.flatnonzero(np.bincount(trained[trained >= 0], minlength=len(names)) == 0)
    if names and len(untrained):
        shown = ", ".join(repr(names[i]) for i in untrained[:5]) + (", ..." if len(untrained) > 5 else "")
        return f"{len(untrained)} label{'s' * (len(untrained) > 1)} would have no training row: {shown}"
    return None


def _codes(labels: pa.ChunkedArray | None) -> tuple[NDArray[np.int64], list[str]]:
    if labels is None:
        return np.empty(0, np.int64), []
    names = pc.unique(labels.drop_null()).sort()
    codes = pc.fill_null(pc.index_in(labels, names), -1)
    return np.asarray(codes).astype(np.int64), names.to_pylist()


def _uniform(ids: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """In [0, 1), 53 bits."""
    with np.errstate(over="ignore"):
        z = ids ^ _mix(np.array([seed & (2**64 - 1)], np.uint64) + np.uint64(0x9E3779B97F4A7C15))
        return (_mix(z) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
