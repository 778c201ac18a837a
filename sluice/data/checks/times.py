"""Checks of times, and of numbers that lose them in 32 bits."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.data.blocks import InMemory, where
from sluice.data.checks.look import Looks
from sluice.data.checks.subject import Side, Subject
from sluice.data.report import EXAMPLES, counted
from sluice.fields.centre import centre
from sluice.fields.timestamps import iso

#: Share of a column's values from which on it matters that they fall together with another: of whole numbers, and of fractions, of which some do by chance.
_LOST_WHOLE, _LOST = 0.01, 0.1
#: A day, in microseconds: clocks of other zones are no future. A column of which less than this share lies ahead was not meant to.
_DAY, _MEANT = 86_400_000_000, 0.5


def times(s: Subject) -> None:
    """How each column of times is read, and from when to when it goes."""
    for name in s.train.having("times"):
        ends = _ends(s.train, name)
        how = s.times.get(name)
        if how is None or ends is None:
            continue
        said = f"column {name!r} is read as times: {how.reader.words}, {'as it is declared' if how.declared else 'found out from its values'}, {how.zone}"
        if not how.declared and how.reader.unit:
            said += f"; if it only counts, list it under data.columns.categorical or declare data.columns.timestamps: {{{name}: ...}}"
        s.add("times", "pass", f"{said}; from {iso(ends[0])} to {iso(ends[1])}", column=name)


def ahead(s: Subject) -> None:
    """Times that are yet to come: among those that rows are split by they would pass for the newest; of a feature a few are worth a look."""
    now = int(time.time() * 1e6) + _DAY
    split = s.split.column if s.split.by == "time" else None
    for side in s.sides:
        names = side.having("times")
        if split is not None and side.keys is not None and pa.types.is_timestamp(side.keys.type):
            names = [*(n for n in names if n != split), split]
        for name in names:
            held = InMemory(pa.table({name: side.keys})) if name == split else side.held
            late = where(held, name, lambda c: pc.fill_null(pc.greater(_wall(c), now), False), EXAMPLES)
            if not late or (name != split and late.count >= _MEANT * sum(len(b) - b.column(0).null_count for _, b in held.blocks([name]))):
                continue
            latest = max(v for _, b in held.blocks([name]) if (v := pc.max(_wall(b.column(0))).as_py()) is not None)
            said = f"{side.prefix}column {name!r} holds {counted(late.count, 'time')} yet to come, such as {iso(latest)}"
            fix = f"correct them, or leave the cells empty{'' if name == split else ' where the date stands for none'}"
            why = ", and the newest rows are held out by it" if name == split else ""
            examples = side.examples(late, name if name in side.held.schema.names else None)
            s.add("ahead", "refuse" if name == split else "warn", f"{said}{why}; {fix}", column=name, value=late.count, examples=examples)


def _wall(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.timestamp("us")).cast("int64")


def _ends(side: Side, name: str) -> tuple[int, int] | None:
    found = [pc.min_max(block.column(0).cast("int64")).as_py() for _, block in side.held.blocks([name])]
    known = [f for f in found if f["min"] is not None]
    return (min(f["min"] for f in known), max(f["max"] for f in known)) if known else None


def precision(s: Subject) -> None:
    """Numbers that differ and fall together in the 32 bits a model computes with, even with their middle taken away."""
    for name in s.train.having("precision"):
        numbers = s.train.numbers(name)
        largest = float(np.finfo(np.float32).max)
        if not numbers.total or max(abs(numbers.first), abs(numbers.last)) > largest:  # refused already
            continue
        if numbers.distinct <= numbers.narrow()[0]:
            continue
        middle = centre(numbers)
        apart, pair = numbers.narrow(middle)
        lost = numbers.distinct - apart
        if pair and lost >= (_LOST_WHOLE if numbers.whole else _LOST) * numbers.distinct:
            s.add(
                "precision",
                "warn",
                f"{counted(lost, 'value')} of {numbers.distinct:,} in {name!r} fall together with another in the 32 bits a model computes with, "
                f"such as {pair[0]:.17g} and {pair[1]:.17g}; if they are times, declare data.columns.timestamps: {{{name}: s}} (or ms, us, ns); if they "
                "name things, list the column under data.columns.categorical; else store what they differ by",
                column=name,
                value=lost,
                limit=0,
            )
        elif middle:
            s.add(
                "precision",
                "pass",
                f"{name!r} is taken relative to {middle:.15g}, so that its values stay apart in 32 bits",
                column=name,
                value=middle,
            )


class ColumnTimes(Looks):
    """Checks times, and numbers that lose them in 32 bits."""

    name = "times"
    looks = (times, ahead, precision)
