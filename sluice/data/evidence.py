"""What a column that comes in pieces has to be known by, so that it is read as the whole of it would be: few values that stand for all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.core.numerals import MISSING_NUMBERS
from sluice.data.columns import MOSTLY_NUMBERS, looks_numeric, null_for_empty
from sluice.fields.summaries import Counted

#: The first values of a column of texts are kept as they stand, since some of what is asked is asked of these.
_FIRST = 5000
#: Different texts, and different numbers, of a column beyond which it cannot be told from so few.
MOST_TEXTS, MOST_NUMBERS = 1 << 20, 100_000


class TooMany(Exception):
    """A column has more different values than are kept."""


class Evidence:
    """One column's. `add` its pieces, then `values`.

    Args:
        kind: the column's type. every: whether each different value has to be known, whatever the type.
    """

    def __init__(self, kind: pa.DataType, every: bool):
        self.kind, self._every = kind, every
        self.texts = pa.types.is_string(kind)
        self.counted = Counted()
        self._first: list[pa.Array] = []
        self._few: pa.Array = pa.array([], kind)
        self._more = False

    def add(self, block: pa.ChunkedArray) -> None:
        """Take the next rows. Raises `TooMany`."""
        if self.texts:
            self.counted.add(block)
            missing = _FIRST - sum(map(len, self._first))
            if missing > 0:
                self._first.append(pa.concat_arrays(block.drop_null().slice(0, missing).chunks or [pa.array([], self.kind)]))
            if len(self.counted.values) > MOST_TEXTS:
                raise TooMany
            return
        if pa.types.is_nested(self.kind) or pa.types.is_binary(self.kind):
            return
        if self._more:
            here = _ends(block)
        else:
            here = pa.chunked_array([pc.unique(block).drop_null()])
        if self._every:
            self._few = pc.unique(pa.chunked_array([self._few, *here.chunks]))
            if len(self._few) > MOST_TEXTS:
                raise TooMany
            return
        found = pc.unique(pa.chunked_array([self._few, *here.chunks]))
        if len(found) > MOST_NUMBERS:
            self._more = True
            ends = _ends(pa.chunked_array([found]))
            found = pc.unique(pa.chunked_array([found.slice(0, MOST_NUMBERS // 2), *ends.chunks]))
        self._few = found

    def take(self, other: Evidence) -> None:
        """Take what was found of the next rows elsewhere. Raises `TooMany`."""
        if self.texts:
            self.counted.take(other.counted.values, other.counted.counts)
            for part in other._first:
                missing = _FIRST - sum(map(len, self._first))
                if missing > 0:
                    self._first.append(part.slice(0, missing))
            if len(self.counted.values) > MOST_TEXTS:
                raise TooMany
        elif len(other._few):
            more = self._more or other._more
            self._more = False  # what was found there is kept apart from what stands here
            self.add(pa.chunked_array([other._few]))
            self._more = self._more or more

    def values(self) -> pa.Array:
        """The values that stand for all: of texts each different one, in the order in which they come, and some again where the share of numbers needs it."""
        if not self.texts:
            return self._few
        head = pa.concat_arrays(self._first) if self._first else pa.array([], self.kind)
        known = self.counted.values
        rest = known.filter(pc.invert(pc.is_in(known, value_set=pc.unique(head))))
        return _weighted(pa.concat_arrays([head, rest]), known, self.counted.counts)


def _ends(found: pa.ChunkedArray) -> pa.ChunkedArray:
    """The smallest and the largest value, and one that is not whole."""
    found = found.drop_null()
    if pa.types.is_boolean(found.type) or not len(found):
        return found
    ends = pc.min_max(found)
    out = [pa.array([ends["min"].as_py(), ends["max"].as_py()], found.type)]
    if pa.types.is_floating(found.type):
        broken = found.filter(pc.fill_null(pc.not_equal(found, pc.floor(found)), False))
        out.append(pa.array(broken.slice(0, 1).to_pylist(), found.type))
    return pa.chunked_array(out)


def numeric_share(values: pa.Array, counts: np.ndarray | None = None) -> float | None:
    """Of texts that are not missing those that spell numbers; None where all are missing."""
    trimmed = null_for_empty(pc.utf8_trim_whitespace(pa.chunked_array([values])))
    number = np.asarray(pc.fill_null(looks_numeric(trimmed), False))
    missing = pc.is_in(pc.utf8_lower(trimmed), value_set=pa.array(sorted(MISSING_NUMBERS), pa.string()))
    there = np.asarray(pc.is_valid(trimmed)) & ~np.asarray(pc.fill_null(missing, False))
    weight = np.ones(len(values)) if counts is None else counts
    total = float(weight[there].sum())
    return float(weight[there & number].sum()) / total if total else None


def _weighted(kept: pa.Array, values: pa.Array, counts: np.ndarray) -> pa.Array:
    """`kept` with one of its values again so often that its share of numbers is on the same side of the limit as that of all rows."""
    true, seen = numeric_share(values, counts), numeric_share(kept)
    if true is None or seen is None or (true >= MOSTLY_NUMBERS) == (seen >= MOSTLY_NUMBERS):
        return kept
    trimmed = null_for_empty(pc.utf8_trim_whitespace(pa.chunked_array([kept])))
    number = np.asarray(pc.fill_null(looks_numeric(trimmed), False))
    missing = np.asarray(pc.fill_null(pc.is_in(pc.utf8_lower(trimmed), value_set=pa.array(sorted(MISSING_NUMBERS), pa.string())), True))
    wanted = number if true >= MOSTLY_NUMBERS else ~number & ~missing & np.asarray(pc.is_valid(trimmed))
    one = kept.slice(int(np.argmax(wanted)), 1)
    return pa.concat_arrays([kept, *[one] * (10 * len(kept))])


def table_of(columns: Mapping[str, Evidence]) -> pa.Table:
    """The values of each column, those of shorter ones filled up with nulls."""
    found = {name: e.values() for name, e in columns.items()}
    rows = max(map(len, found.values()), default=0)
    return pa.table({name: pa.concat_arrays([v, pa.nulls(rows - len(v), v.type)]) for name, v in found.items()})
