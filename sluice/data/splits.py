"""Which side a row is on: decided by what the row says, so growing data moves no row or few.

``data.split.by`` says what is kept together. On ``hash`` it is rows with equal features: a row's id
(a sha256 of its features) is mixed with the seed to a uniform number, and rows are taken in that
order, test first, then validation, the rest to train. On ``group`` the units are the groups of a
column, whose values are hashed in place of the features. On ``time`` the newest rows are the test,
the next newest validate, and rows of one time stay together.

Hash and group are stratified: a label with fewer than `LARGE` units takes its share of each side to
within one row (`_quotas`), and keeps a unit to train on. From there on a unit's side is its number
against the fractions alone, which no other row can change: chance then moves a share by at most a
hundredth or so. The trade: in a small label a row near a cut changes sides when rows join (of 1,000
that become 2,000 about ten do); in a large one none ever does. Quantities are stratified by their
deciles while all of them are few.

Mixing: the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, OOPSLA 2014).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.core.errors import DataError
from sluice.core.spelling import number_text
from sluice.data.columns import null_for_nan, numbers
from sluice.data.config import Split
from sluice.data.digests import ROW_ID_DIGITS
from sluice.data.spellings import each_value, texts_of

SPLITS = ("train", "validation", "test")
#: Units of a label from which on a side is a matter of the unit's own number.
LARGE = 1000
#: Bins a quantity is cut into, so that parts have like values.
BINS = 10
#: How many other seeds are tried before an error says that none helps.
_SEEDS = 50


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


def strata(labels: NDArray[Any]) -> NDArray[np.int64]:
    """What parts are levelled over: class codes as they are, values as their decile, int64 [rows].

    Args:
        labels: int64 class codes, or float64 values, [rows].
    """
    if np.issubdtype(labels.dtype, np.integer):
        return np.asarray(labels, dtype=np.int64)
    edges = np.unique(np.quantile(labels, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, labels, side="right").astype(np.int64)


def sides(ids: NDArray[np.uint64], split: Split, has_test: bool) -> NDArray[np.int8]:
    """For each id the index of its split in `SPLITS`, by its own number alone.

    Args:
        ids: from `id_numbers`.
        split: the fractions and the seed.
        has_test: whether held-out rows come from elsewhere, so that none are taken from these.
    """
    where = _uniform(ids, split.seed)
    test = 0.0 if has_test else split.test
    return np.where(where < test, 2, np.where(where < test + split.validation, 1, 0)).astype(np.int8)


def split_rows(table: pa.Table, split: Split, has_test: bool, keys: pa.ChunkedArray | None = None) -> dict[str, pa.Table]:
    """Divide rows, keeping their order.

    Args:
        table: columns ``row_id`` and ``label`` among others; no label is null.
        split: how.
        has_test: whether held-out rows come from elsewhere.
        keys: what `split.column` holds for each row: groups (strings) or times; null on ``hash``, but for groups that a task tells.

    Returns:
        ``train``, ``validation`` and, unless `has_test`, ``test``.

    Raises:
        DataError: as `checked_sides`.
    """
    side = checked_sides(id_numbers(table.column("row_id")), table.column("label"), split, has_test, keys)
    return parted(table, side, SPLITS[:2] if has_test else SPLITS)


def parted(table: pa.Table, side: NDArray[np.int8], names: Sequence[str] = SPLITS) -> dict[str, pa.Table]:
    """Rows by the part each belongs to: an index into `names`."""
    return {name: table.filter(pa.array(side == i)) for i, name in enumerate(names)}


def checked_sides(
    ids: NDArray[np.uint64], labels: pa.ChunkedArray, split: Split, has_test: bool, keys: pa.ChunkedArray | None = None
) -> NDArray[np.int8]:
    """The index in `SPLITS` of each row's side, int8 [rows].

    Args:
        ids: of the rows, from `id_numbers`.
        labels: strings, or float64 for quantities; none is null.
        split, has_test, keys: as for `split_rows`.

    Raises:
        DataError: a split would be empty, a label would have no training row, or a row has no time.
    """
    if not has_test and split.test == 0:
        raise DataError(
            "leaves no rows to test on", field="data.split.test", value=0, fix="set a fraction above 0, or name held-out rows in data.test"
        )
    codes, names = _codes(labels)
    if split.by == "time":
        assert keys is not None
        side = _by_time(keys, split, has_test)
        fault = _fault(side, codes, names, has_test)
        if fault:
            raise DataError(
                f"{fault} (of {len(side):,} rows; the newest are held out)",
                field="data.split",
                value=split.model_dump(),
                fix="give rows of a longer time, smaller fractions, or data.split.by: hash",
            )
        return side
    units = _Units(ids, keys, codes, names)
    side = units.sides(split, has_test)
    fault = _fault(side, codes, names, has_test)
    if fault is None:
        return side
    what = f"of {len(ids)} rows, {len(units.numbers)} " + ("groups" if split.by == "group" else "with different features")
    raise DataError(f"{fault} ({what})", field="data.split", value=split.model_dump(), fix=_remedy(units, codes, names, split, has_test))


class _Units:
    """What stays together, with its number, its rows and the label it counts for: the rarest it holds, which needs its rows most."""

    def __init__(self, ids: NDArray[np.uint64], groups: pa.ChunkedArray | None, codes: NDArray[np.int64], names: Sequence[str]):
        numbers = ids if groups is None else group_numbers(groups, ids)
        self.numbers, self._of_row = np.unique(numbers, return_inverse=True)
        self._rows = np.bincount(self._of_row, minlength=len(self.numbers))
        rare = np.argsort(np.argsort(np.bincount(codes), kind="stable"), kind="stable") if len(codes) else np.empty(0, np.int64)
        rank = np.full(len(self.numbers), len(rare), np.int64)
        np.minimum.at(rank, self._of_row, rare[codes])
        self._stratum = np.argsort(rare, kind="stable")[rank] if len(rare) else rank
        self._names = names

    def sides(self, split: Split, has_test: bool) -> NDArray[np.int8]:
        """Each row's side."""
        if not len(self.numbers):
            return np.empty(0, np.int8)
        test = 0.0 if has_test else split.test
        at = _uniform(self.numbers, split.seed)
        out = sides(self.numbers, split, has_test)
        order = np.lexsort((at, self._stratum))
        stratum, first = np.unique(self._stratum[order], return_index=True)
        for code, units in zip(stratum.tolist(), np.split(order, first[1:]), strict=True):
            if len(units) < LARGE:
                name = self._names[code] if self._names else str(code)
                chance = float(_uniform(_hashed([name]), split.seed)[0])
                out[units] = _quotas(self._rows[units], test, split.validation, chance)
        for wanted in (1,) if has_test else (2, 1):
            if not (out == wanted).any():
                self._lend(out, wanted, order)
        return out[self._of_row]

    def _lend(self, out: NDArray[np.int8], side: int, order: NDArray[np.int64]) -> None:
        """Give a side that chance left empty the smallest unit of the label that trains with the most, or else of the other side."""
        trains = order[out[order] == 0]
        counts = np.bincount(self._stratum[trains], minlength=1)
        other = order[out[order] == 3 - side]
        if counts.max() > 1:
            other = trains[self._stratum[trains] == counts.argmax()]
        if len(other) > 1:
            out[other[np.argmin(self._rows[other])]] = side


def _quotas(rows: NDArray[np.int64], test: float, validation: float, chance: float) -> NDArray[np.int8]:
    """Sides of one label's units in the order of their numbers: as many rows as their fraction is, to within one.

    What is left of a row is rounded by `chance`, in [0, 1), so that many small labels meet the
    fractions together. A unit of several rows is passed over where it would overshoot by more than half
    of itself. One unit always trains.
    """
    total = int(rows.sum())
    out = np.zeros(len(rows), np.int8)
    if (rows == 1).all():
        most = len(rows) - 1
        tested = min(int(np.ceil(test * total - chance)), most) if test else 0
        held = min(int(np.ceil((test + validation) * total - chance)), most)
        out[: max(tested, 0)] = 2
        out[max(tested, 0) : max(held, 0)] = 1
        return out
    taken, wanted = 0, 0.0
    for side, fraction in ((2, test), (1, validation)):
        wanted = fraction * total + max(-1.0, min(1.0, wanted - taken))
        taken = 0
        for i in range(len(rows) - 1):
            room = rows[i] * 0.5 if rows[i] > 1 else chance
            if fraction and out[i] == 0 and taken + room < wanted:
                out[i] = side
                taken += int(rows[i])
    return out


def _by_time(keys: pa.ChunkedArray, split: Split, has_test: bool) -> NDArray[np.int8]:
    if keys.null_count:
        row = int(np.argmax(np.asarray(keys.is_null())))
        raise DataError(
            f"{keys.null_count:,} of {len(keys):,} rows have no time; the first is row {row + 1} of those that can be used",
            field="data.split.column",
            value=split.column,
            fix="fill the column, take the rows out, or split by another column",
        )
    times, of_row, rows = np.unique(time_numbers(keys), return_inverse=True, return_counts=True)
    least = 2 if has_test else 3
    if len(times) < least:
        raise DataError(
            f"holds {len(times)} different times, {least} are needed (of {len(keys):,} rows)",
            field="data.split.column",
            value=split.column,
            fix="give rows of a longer time, or data.split.by: hash",
        )
    out = np.zeros(len(times), np.int8)
    end = len(times)
    for side, fraction, left in ((2, 0.0 if has_test else split.test, 2), (1, split.validation, 1)):
        if fraction:
            newest = np.cumsum(rows[:end][::-1])[: end - left]
            taken = int(np.argmin(np.abs(newest - fraction * len(keys)))) + 1
            out[end - taken : end] = side
            end -= taken
    return out[of_row]


def group_keys(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Groups as strings: a number as ``3`` whatever its type and whether a text says ``3.0``, blank cells as null.

    Raises:
        DataError: infinite numbers, or a type that names no groups.
    """
    return each_value(texts_of(column, "data.split.column"), lambda v: None if v is None or not v.strip() else number_text(v) or v)


def time_keys(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times, or numbers that rise with time.

    Raises:
        DataError: a column of something else.
    """
    if pa.types.is_string(column.type):
        read, _ = numbers(column)
        column = column if read is None else read
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_temporal(column.type):
        return null_for_nan(column) if pa.types.is_floating(column.type) else column
    raise DataError(
        f"of type {column.type} tells no time",
        field="data.split.column",
        fix="name a column of times, or of numbers that rise with time; data.columns.timestamps says how times are written",
    )


def time_numbers(keys: pa.ChunkedArray) -> NDArray[Any]:
    """Times, or numbers that rise with time, as numbers of one order, [rows]; no nulls."""
    if pa.types.is_temporal(keys.type):
        keys = keys.cast(pa.timestamp("us")).cast(pa.int64())
    return np.asarray(keys)


def group_numbers(groups: pa.ChunkedArray, ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A number a row: of its group (strings), or, where that is null, its own id."""
    coded = groups.combine_chunks().dictionary_encode()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    codes = np.asarray(pc.fill_null(coded.indices, -1)).astype(np.int64)
    known = _hashed(coded.dictionary.to_pylist())
    return np.where(codes < 0, ids, known[codes]) if len(known) else ids


def _hashed(texts: Sequence[str]) -> NDArray[np.uint64]:
    return np.array([int.from_bytes(hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest()[:8]) for t in texts], np.uint64)


def _remedy(units: _Units, codes: NDArray[np.int64], names: list[str], split: Split, has_test: bool) -> str:
    distinct = len(units.numbers)
    if distinct < (2 if has_test else 3):
        return "give rows of more groups" if split.by == "group" else "the rows repeat: give more rows that differ"
    for seed in range(split.seed + 1, split.seed + 1 + _SEEDS):
        if _fault(units.sides(split.model_copy(update={"seed": seed}), has_test), codes, names, has_test) is None:
            return f"give more rows, or another seed: with data.split.seed: {seed} it works"
    return f"give more rows (of the rare labels above all), or smaller fractions; none of {_SEEDS} other seeds helps"


def _fault(side: NDArray[np.int8], codes: NDArray[np.int64], names: list[str], has_test: bool) -> str | None:
    counts = np.bincount(side, minlength=3)
    for i, name in enumerate(SPLITS[:2] if has_test else SPLITS):
        if not counts[i]:
            return f"no row falls into the {name} split"
    untrained = np.flatnonzero(np.bincount(codes[side == 0], minlength=len(names)) == 0).tolist() if names else []
    if untrained:
        shown = ", ".join(repr(names[i]) for i in untrained[:5]) + (", ..." if len(untrained) > 5 else "")
        return f"{len(untrained)} label{'s' * (len(untrained) > 1)} would have no training row: {shown}"
    return None


def _codes(labels: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """What each row counts for, and the labels' names; quantities have none, and are one kind where they are many."""
    if pa.types.is_floating(labels.type):
        values = np.asarray(labels.to_numpy(), np.float64)
        small = 0 < len(values) < LARGE and bool(np.isfinite(values).all())
        return strata(values) if small else np.zeros(len(values), np.int64), []
    if not (pa.types.is_string(labels.type) or pa.types.is_large_string(labels.type)):  # lists, say: no two need be alike
        return np.zeros(len(labels), np.int64), []
    names = pc.unique(labels).sort()
    return np.asarray(pc.index_in(labels, names)).astype(np.int64), names.to_pylist()


def _uniform(ids: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """In [0, 1), 53 bits."""
    with np.errstate(over="ignore"):
        z = ids ^ _mix(np.array([seed & (2**64 - 1)], np.uint64) + np.uint64(0x9E3779B97F4A7C15))
        return (_mix(z) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
