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
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sluice.core.errors import DataError
from sluice.data.config import Split
from sluice.data.draws import hashed, id_numbers, uniform
from sluice.data.partitions import Partitions, heads
from sluice.data.split_keys import group_numbers, time_numbers
from sluice.data.strata import LARGE, Labels
from sluice.stats.tally import Tallier

SPLITS = ("train", "validation", "test")
#: How many other seeds are tried before an error says that none helps.
_SEEDS = 50


def sides(ids: NDArray[np.uint64], split: Split, has_test: bool) -> NDArray[np.int8]:
    """For each id the index of its split in `SPLITS`, by its own number alone.

    Args:
        ids: from `id_numbers`.
        split: the fractions and the seed.
        has_test: whether held-out rows come from elsewhere, so that none are taken from these.
    """
    where = uniform(ids, split.seed)
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
    piece = Piece(ids, labels, keys)
    return Splitter(lambda: iter([piece]), split, has_test).sides(piece)


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some rows: their ids (uint64), their labels (no null), and what they are split by, where that is no id."""

    ids: NDArray[np.uint64]
    labels: pa.ChunkedArray
    keys: pa.ChunkedArray | None = None


class Splitter:
    """Which side each row is on, of rows that come in pieces: what has to be known of all of them is kept, and no row is.

    Args:
        pieces: gives all rows, each time it is called.
        split, has_test: as for `split_rows`.
        on_disk: whether units are sorted in files.

    Raises:
        DataError: as `checked_sides`.
    """

    def __init__(self, pieces: Callable[[], Iterator[Piece]], split: Split, has_test: bool, on_disk: bool = False):
        if not has_test and split.test == 0:
            raise DataError(
                "leaves no rows to test on",
                field="data.split.test",
                value=0,
                fix="set a fraction above 0, or name held-out rows in data.test",
            )
        self._pieces, self.split, self.has_test = pieces, split, has_test
        self._labels = Labels(p.labels for p in pieces())
        if split.by == "time":
            self._after = _cuts(pieces, split, has_test)
            self._judge(self._labels.names, None)
            return
        rank = self._labels.rank
        parts, first = Partitions(on_disk), 0
        for p in pieces():
            of_unit = self._numbers(p)
            parts.add(of_unit, np.arange(first, first + len(of_unit)), rank[self._labels.codes(p.labels)])
            first += len(of_unit)
        self._units = _Units(parts, np.argsort(rank, kind="stable"), self._labels.names, split, has_test)
        self._small = self._units.small(split, has_test)
        self._judge(self._labels.names, self._units)

    def sides(self, piece: Piece) -> NDArray[np.int8]:
        """The index in `SPLITS` of each row's side, int8 [rows of the piece]."""
        if self.split.by == "time":
            assert piece.keys is not None
            return np.sum([time_numbers(piece.keys) >= t for t in self._after], axis=0, dtype=np.int8) if self._after else _zeros(piece)
        return self._sided(piece, self.split, self._small)

    def _numbers(self, piece: Piece) -> NDArray[np.uint64]:
        return piece.ids if piece.keys is None else group_numbers(piece.keys, piece.ids)

    def _sided(self, piece: Piece, split: Split, small: tuple[NDArray[np.uint64], NDArray[np.int8]]) -> NDArray[np.int8]:
        units, (known, side) = self._numbers(piece), small
        out = sides(units, split, self.has_test)
        if len(known):
            at = np.minimum(np.searchsorted(known, units), len(known) - 1)
            out = np.where(known[at] == units, side[at], out)
        return out

    def _counts(self, sided: Callable[[Piece], NDArray[np.int8]]) -> NDArray[np.int64]:
        """Rows of each side and label: int64 [3, labels]."""
        n = len(self._labels.rank)
        out = np.zeros(3 * n, np.int64)
        for p in self._pieces():
            out += np.bincount(sided(p).astype(np.int64) * n + self._labels.codes(p.labels), minlength=3 * n)
        return out.reshape(3, n)

    def _judge(self, names: list[str], units: _Units | None) -> None:
        """Raise where a side is empty, or a label has no row to train on."""
        self.sizes = self._counts(self.sides)
        fault = _fault(self.sizes, names, self.has_test)
        if fault is None:
            return
        rows, split = int(self.sizes.sum()), self.split
        if units is None:
            raise DataError(
                f"{fault} (of {rows:,} rows; the newest are held out)",
                field="data.split",
                value=split.model_dump(),
                fix="give rows of a longer time, smaller fractions, or data.split.by: hash",
            )
        what = f"of {rows} rows, {units.different} " + ("groups" if split.by == "group" else "with different features")
        raise DataError(f"{fault} ({what})", field="data.split", value=split.model_dump(), fix=self._remedy(units, names))

    def _remedy(self, units: _Units, names: list[str]) -> str:
        split = self.split
        if units.different < (2 if self.has_test else 3):
            return "give rows of more groups" if split.by == "group" else "the rows repeat: give more rows that differ"
        for seed in range(split.seed + 1, split.seed + 1 + _SEEDS):
            other = split.model_copy(update={"seed": seed})
            small = units.small(other, self.has_test)
            if _fault(self._counts(lambda p, o=other, s=small: self._sided(p, o, s)), names, self.has_test) is None:  # type: ignore[misc]
                return f"give more rows, or another seed: with data.split.seed: {seed} it works"
        return f"give more rows (of the rare labels above all), or smaller fractions; none of {_SEEDS} other seeds helps"


def _zeros(piece: Piece) -> NDArray[np.int8]:
    return np.zeros(len(piece.labels), np.int8)


class _Units:
    """What stays together, with its number, its rows and the label it counts for: the rarest it holds, which needs its rows most.

    Args:
        parts: a record a row: the unit's number, and the rank of the row's label among the rare ones.
        by_rank: the label of each rank. names: of the labels.
        split, has_test: as for `split_rows`.
    """

    def __init__(self, parts: Partitions, by_rank: NDArray[np.int64], names: Sequence[str], split: Split, has_test: bool):
        self._parts, self._by_rank, self._names = parts, by_rank, names
        self.different, self._split = 0, split
        few, sizes = list[tuple[NDArray[Any], ...]](), np.zeros(len(by_rank), np.int64)
        by_side = np.zeros(3 * len(by_rank), np.int64)
        for units, rows, stratum in self._each():
            self.different += len(stratum)
            sizes += np.bincount(stratum, minlength=len(sizes))
            by_side += np.bincount(stratum * 3 + sides(units, split, has_test), minlength=len(by_side))
            small = sizes[stratum] < LARGE
            if small.any():
                few.append((units[small], rows[small], stratum[small]))
        large = sizes >= LARGE
        #: Units of labels with few of them: number, rows, label.
        self._few = [tuple(x[~large[u[2]]] for x in u) for u in few]
        #: Units of all other labels on each side.
        self._many = by_side.reshape(-1, 3)[large].sum(axis=0)

    def small(self, split: Split, has_test: bool) -> tuple[NDArray[np.uint64], NDArray[np.int8]]:
        """The units whose side is not a matter of their number alone, rising, and the side of each."""
        test = 0.0 if has_test else split.test
        rows, strata = (np.concatenate([np.empty(0, np.int64), *(k[i] for k in self._few)]) for i in (1, 2))
        units: NDArray[np.uint64] = np.concatenate([np.empty(0, np.uint64), *(k[0].astype(np.uint64) for k in self._few)])
        out = np.zeros(len(units), np.int8)
        order = np.lexsort((uniform(units, split.seed), strata))
        stratum, first = np.unique(strata[order], return_index=True)
        for code, at in zip(stratum.tolist(), np.split(order, first[1:]), strict=False):  # of nothing `split` makes one part
            name = self._names[code] if self._names else str(code)
            out[at] = _quotas(rows[at], test, split.validation, float(uniform(hashed([name]), split.seed)[0]))
        order = np.argsort(units, kind="stable")
        chosen = known = units[order], out[order]
        for wanted in (1,) if has_test else (2, 1):
            if split == self._split and known is chosen and (self._many[wanted] or (out == wanted).any()):
                continue
            known = self._lent(known, wanted, split, has_test)
        return known

    def _each(self) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]]:
        """Units, a part at a time: numbers, rows, labels."""
        for part in self._parts.parts():
            at = heads(part["id"])
            if len(at):
                rank = np.minimum.reduceat(part["value"], at).astype(np.int64)
                yield part["id"][at], np.diff(np.append(at, len(part))), self._by_rank[rank]

    def _lent(
        self, known: tuple[NDArray[np.uint64], NDArray[np.int8]], side: int, split: Split, has_test: bool
    ) -> tuple[NDArray[np.uint64], NDArray[np.int8]]:
        """Give a side that chance left empty the smallest unit of the label that trains with the most, or else of the other side."""
        trains, others, some = np.zeros(len(self._by_rank) or 1, np.int64), 0, False

        def sided(units: NDArray[np.uint64]) -> NDArray[np.int8]:
            out = sides(units, split, has_test)
            at = np.minimum(np.searchsorted(known[0], units), max(len(known[0]) - 1, 0))
            return np.where(known[0][at] == units, known[1][at], out) if len(known[0]) else out

        for units, _, strata in self._each():
            out = sided(units)
            some = some or bool((out == side).any())
            trains += np.bincount(strata[out == 0], minlength=len(trains))
            others += int((out == 3 - side).sum())
        if some:
            return known
        from_training = trains.max() > 1
        spread = (
            not self._names and not from_training and others <= 1 and trains.sum() > 2
        )  # few rows of a quantity: no part of it has to train
        if not spread and (trains.max() if from_training else others) <= 1:
            return known
        best: tuple[int, int, float, int] | None = None
        for units, rows, strata in self._each():
            out = sided(units)
            strata = np.zeros_like(strata) if spread else strata
            use = np.flatnonzero((out == 0) & (spread | (strata == trains.argmax())) if from_training or spread else out == 3 - side)
            if len(use):
                at = uniform(units[use], split.seed)
                i = np.lexsort((at, strata[use], rows[use]))[0]
                here = (int(rows[use][i]), int(strata[use][i]), float(at[i]), int(units[use][i]))
                best = here if best is None else min(best, here)
        assert best is not None
        number = np.uint64(best[3])
        apart = known[0] != number
        every, out = np.append(known[0][apart], number), np.append(known[1][apart], np.int8(side))
        order = np.argsort(every, kind="stable")
        return every[order], out[order]


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


def _cuts(pieces: Callable[[], Iterator[Piece]], split: Split, has_test: bool) -> list[Any]:
    """The times from which on rows validate, and from which on they test."""
    counted, rows, gone, first = Tallier(), 0, 0, -1
    for p in pieces():
        assert p.keys is not None
        if p.keys.null_count and first < 0:
            first = rows + int(np.argmax(np.asarray(p.keys.is_null())))
        gone, rows = gone + p.keys.null_count, rows + len(p.keys)
        if not gone:
            counted.add(time_numbers(p.keys))
    if gone:
        raise DataError(
            f"{gone:,} of {rows:,} rows have no time; the first is row {first + 1} of those that can be used",
            field="data.split.column",
            value=split.column,
            fix="fill the column, take the rows out, or split by another column",
        )
    tally = counted.done()
    least = 2 if has_test else 3
    if tally.distinct < least:
        raise DataError(
            f"holds {tally.distinct} different times, {least} are needed (of {rows:,} rows)",
            field="data.split.column",
            value=split.column,
            fix="give rows of a longer time, or data.split.by: hash",
        )
    times, of_time = (np.concatenate(parts) for parts in zip(*tally.chunks(), strict=True))
    after, end = [], len(times)
    for fraction, left in ((0.0 if has_test else split.test, 2), (split.validation, 1)):
        if fraction:
            newest = np.cumsum(of_time[:end][::-1])[: end - left]
            end -= int(np.argmin(np.abs(newest - fraction * rows))) + 1
            after.append(times[end])
    return after[::-1]


def _fault(sizes: NDArray[np.int64], names: list[str], has_test: bool) -> str | None:
    """`sizes`: rows of each side and label."""
    for i, name in enumerate(SPLITS[:2] if has_test else SPLITS):
        if not sizes[i].sum():
            return f"no row falls into the {name} split"
    untrained = np.flatnonzero(sizes[0] == 0).tolist() if names else []
    if untrained:
        shown = ", ".join(repr(names[i]) for i in untrained[:5]) + (", ..." if len(untrained) > 5 else "")
        return f"{len(untrained)} label{'s' * (len(untrained) > 1)} would have no training row: {shown}"
    return None
