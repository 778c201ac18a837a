"""Rows brought together by a number each, exactly, however many there are: parted by that number, in memory or in files, and sorted a part at a time."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Files, by the highest bits of the number; rows held before they are written (24 bytes each).
_BITS, _HELD = 6, 1 << 20
RECORD = np.dtype([("id", "<u8"), ("row", "<i8"), ("value", "<f8")])
_TOP = np.uint64(64 - _BITS)


class Partitions:
    """Records of a number, a row and a value. `add` in any number of arrays, then `parts` any number of times.

    Args:
        on_disk: whether records go to files; two that are compared part by part do either alike.
    """

    def __init__(self, on_disk: bool):
        self._held, self._rows = list[NDArray[np.void]](), 0
        self._sorted: NDArray[np.void] | None = None
        self._files = False
        self._settled = set[int]()
        self._folder = tempfile.TemporaryDirectory(prefix="sluice-parts-") if on_disk else None

    @classmethod
    def of(cls, blocks: Iterable[tuple[int, NDArray[np.uint64], Any]], on_disk: bool) -> Partitions:
        """Of pieces: rows before, ids, values (or null: all 0)."""
        made = cls(on_disk)
        for first, ids, values in blocks:
            made.add(ids, np.arange(first, first + len(ids)), values)
        return made

    def add(self, ids: NDArray[np.uint64], rows: NDArray[np.int64], values: Any = None) -> None:
        """Take records; rows rise."""
        self._settled.clear()
        made = np.zeros(len(ids), RECORD)
        made["id"], made["row"] = ids, rows
        if values is not None:
            made["value"] = values
        self._held.append(made)
        self._rows += len(made)
        if self._folder is not None and self._rows >= _HELD:
            self._write(Path(self._folder.name))

    def parts(self) -> Iterator[NDArray[np.void]]:
        """All records, those of one number in one part, each part sorted by number and row: once, however often it is asked."""
        if not self._files:
            whole = self._together()
            ends = np.searchsorted(whole["id"] >> _TOP, np.arange((1 << _BITS) + 1)) if self._folder else [0, len(whole)]
            yield from (whole[a:b] for a, b in zip(ends, ends[1:], strict=False))
            return
        assert self._folder is not None
        folder = Path(self._folder.name)
        self._write(folder)
        for i in range(1 << _BITS):
            path = folder / f"{i:02d}"
            part = np.fromfile(path, RECORD) if path.exists() else np.empty(0, RECORD)
            if i not in self._settled:
                part = _sorted(part)
                part.tofile(path)
                self._settled.add(i)
            yield part

    def _together(self) -> NDArray[np.void]:
        """All records, where they are still in memory."""
        if self._held:
            self._sorted = _sorted(np.concatenate([*([] if self._sorted is None else [self._sorted]), *self._held]))
            self._held = []
        return np.empty(0, RECORD) if self._sorted is None else self._sorted

    def _write(self, folder: Path) -> None:
        if self._sorted is not None:
            self._held, self._sorted = [self._sorted, *self._held], None
        if not self._held:
            return
        self._files = True
        records = np.concatenate(self._held)
        part = (records["id"] >> _TOP).astype(np.uint8)
        order = np.argsort(part, kind="stable")
        records, part = records[order], part[order]
        ends = np.searchsorted(part, np.arange((1 << _BITS) + 1))
        for i in range(1 << _BITS):
            if ends[i] < ends[i + 1]:
                with (folder / f"{i:02d}").open("ab") as f:
                    records[ends[i] : ends[i + 1]].tofile(f)
        self._held, self._rows = [], 0


def _sorted(records: NDArray[np.void]) -> NDArray[np.void]:
    """By number; of one number as they came, which is by row."""
    ids = np.ascontiguousarray(records["id"])
    order = np.argsort(ids)  # not stable, but several times as fast as what is
    ids = ids[order]
    tied = np.flatnonzero(ids[1:] == ids[:-1]) if len(ids) else np.empty(0, np.int64)
    if len(tied):
        some = np.unique(np.concatenate([tied, tied + 1]))
        order[some] = order[some][np.lexsort((order[some], ids[some]))]
    out = np.empty(len(ids), RECORD)
    out["id"] = ids
    for name in ("row", "value"):  # a column at a time: numbers that lie together are brought into order faster than records
        out[name] = np.ascontiguousarray(records[name])[order]
    return out


def heads(ids: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where each group of equal numbers begins in a sorted array."""
    return np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])) if len(ids) else np.empty(0, np.int64)


@dataclasses.dataclass
class Copies:
    """Rows that are equal.

    Attributes:
        different: how many different ones there are. again: rows of which there are more than one.
        most: how often the commonest stands. commonest: the first rows of it.
        against: rows that are equal to one with another value. differing: of the first of these, its first row and those after it of
            another value.
        first: of each row whether no equal one comes before it, [rows].
    """

    different: int = 0
    again: int = 0
    most: int = 0
    commonest: tuple[int, ...] = ()
    against: int = 0
    differing: tuple[int, ...] = ()
    first: NDArray[np.bool_] = dataclasses.field(default_factory=lambda: np.zeros(0, bool))

    @classmethod
    def of(cls, partitions: Partitions, rows: int, shown: int) -> Copies:
        """Found part by part; a value that is NaN is against none.

        Args:
            rows: how many there are in all. shown: rows that are named.
        """
        out, best, worst = cls(first=np.zeros(rows, bool)), rows, rows
        for part in partitions.parts():
            at = heads(part["id"])
            if not len(at):
                continue
            counts = np.diff(np.append(at, len(part)))
            out.first[part["row"][at]] = True
            out.different += len(at)
            out.again += int(counts[counts > 1].sum())
            most, first = int(counts.max()), part["row"][at]
            group = np.flatnonzero(counts == most)[np.argmin(first[counts == most])]
            if most > out.most or (most == out.most and first[group] < best):
                out.most, best = most, int(first[group])
                out.commonest = tuple(part["row"][at[group] : at[group] + min(most, shown)].tolist())
            if len(at) == len(part):
                continue
            known = np.isfinite(part["value"])
            low = np.minimum.reduceat(np.where(known, part["value"], np.inf), at)
            high = np.maximum.reduceat(np.where(known, part["value"], -np.inf), at)
            against = known & np.repeat(low < high, counts)
            if against.any():
                out.against += int(against.sum())
                here = int(part["row"][against].min())
                if here < worst:
                    worst = here
                    out.differing = _differing(part, at, counts, here, shown)
        return out

    def spread(self, most: int) -> NDArray[np.int64]:
        """Rows of which no equal one comes before, in their order: all, or `most` of them, evenly spaced."""
        if self.different <= most:
            return np.flatnonzero(self.first)
        ranks = np.linspace(0, self.different - 1, most).astype(np.int64)
        out, before = np.empty(most, np.int64), 0
        for at in range(0, len(self.first), 1 << 20):
            here = np.flatnonzero(self.first[at : at + (1 << 20)])
            mine = (ranks >= before) & (ranks < before + len(here))
            out[mine] = here[ranks[mine] - before] + at
            before += len(here)
        return out


def _differing(part: NDArray[np.void], at: NDArray[np.int64], counts: NDArray[np.int64], row: int, shown: int) -> tuple[int, ...]:
    group = int(np.searchsorted(at, int(np.flatnonzero(part["row"] == row)[0]), side="right")) - 1
    rows, values = (part[key][at[group] : at[group] + counts[group]] for key in ("row", "value"))
    return tuple(rows[np.concatenate([[True], values[1:] != values[0]])][:shown].tolist())


def shared(these: Partitions, others: Partitions, most: int) -> tuple[int, list[tuple[int, int]]]:
    """How many of these rows have the number of one of the others, and the first of them, each with the first such other."""
    count, found = 0, list[tuple[int, int]]()
    for mine, theirs in zip(these.parts(), others.parts(), strict=True):
        at = np.searchsorted(theirs["id"], mine["id"])
        hit = np.zeros(len(mine), bool)
        inside = at < len(theirs)
        hit[inside] = theirs["id"][at[inside]] == mine["id"][inside]
        count += int(hit.sum())
        rows, twins = mine["row"][hit], theirs["row"][at[hit]]
        order = np.argsort(rows, kind="stable")[:most]
        found = sorted([*found, *zip(rows[order].tolist(), twins[order].tolist(), strict=True)])[:most]
    return count, found
