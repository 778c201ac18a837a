"""Checks of times, and of numbers that lose them in 32 bits."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.data.checks.look import Looks
from sluice.data.checks.subject import Subject
from sluice.data.report import counted
from sluice.fields.centre import centre
from sluice.fields.timestamps import iso

#: Share of a column's values from which on it matters that they fall together with another: of whole numbers, and of fractions, of which some do by chance.
_LOST_WHOLE, _LOST = 0.01, 0.1
#: A day, in microseconds: clocks of other zones are no future. A column of which less than this share lies ahead was not meant to.
_DAY, _MEANT = 86_400_000_000, 0.5


def times(s: Subject) -> None:
    """How each column of times is read, and from when to when it goes."""
    for name in s.train.having("times"):
        column = s.train.table.column(name)
        ends = pc.min_max(column.cast("int64")).as_py()
        how = s.times.get(name)
        if how is None or ends["min"] is None:
            continue
        said = f"column {name!r} is read as times: {how.reader.words}, {'as it is declared' if how.declared else 'found out from its values'}, {how.zone}"
        if not how.declared and how.reader.unit:
            said += f"; if it only counts, list it under data.columns.categorical or declare data.columns.timestamps: {{{name}: ...}}"
        s.add("times", "pass", f"{said}; from {iso(ends['min'])} to {iso(ends['max'])}", column=name)


def ahead(s: Subject) -> None:
    """Times that are yet to come: among those that rows are split by they would pass for the newest; of a feature a few are worth a look."""
    now = int(time.time() * 1e6) + _DAY
    split = s.split.column if s.split.by == "time" else None
    for side in s.sides:
        found = {name: side.table.column(name) for name in side.having("times")}
        if split is not None and side.keys is not None and pa.types.is_timestamp(side.keys.type):
            found[split] = side.keys
        for name, column in found.items():
            wall = column.cast(pa.timestamp("us")).cast("int64")
            late = np.asarray(pc.fill_null(pc.greater(wall, now), False))
            known = len(wall) - wall.null_count
            if not late.any() or (name != split and late.sum() >= _MEANT * known):
                continue
            said = f"{side.prefix}column {name!r} holds {counted(int(late.sum()), 'time')} yet to come, such as {iso(pc.max(wall).as_py())}"
            fix = f"correct them, or leave the cells empty{'' if name == split else ' where the date stands for none'}"
            why = ", and the newest rows are held out by it" if name == split else ""
            examples = side.examples(late, name if name in side.table.column_names else None)
            s.add(
                "ahead", "refuse" if name == split else "warn", f"{said}{why}; {fix}", column=name, value=int(late.sum()), examples=examples
            )


def precision(s: Subject) -> None:
    """Numbers that differ and fall together in the 32 bits a model computes with, even with their middle taken away."""
    for name in s.train.having("precision"):
        numbers = s.train.numbers(name)
        narrow = (
            numbers.finite.astype(np.float32) if np.abs(numbers.finite).max(initial=0) <= np.finfo(np.float32).max else numbers.finite
        )  # refused already
        if numbers.distinct <= 1 + np.count_nonzero(narrow[1:] != narrow[:-1]):
            continue
        distinct = np.unique(numbers.finite)
        middle = centre(distinct)
        whole = bool((distinct == np.floor(distinct)).all())
        lost = len(distinct) - len(np.unique((distinct - middle).astype(np.float32)))
        if lost and lost >= (_LOST_WHOLE if whole else _LOST) * len(distinct):
            spread = np.unique((distinct - middle).astype(np.float32), return_inverse=True)[1]
            at = int(np.argmax(spread[1:] == spread[:-1]))
            s.add(
                "precision",
                "warn",
                f"{counted(lost, 'value')} of {len(distinct):,} in {name!r} fall together with another in the 32 bits a model computes with, "
                f"such as {distinct[at]:.17g} and {distinct[at + 1]:.17g}; if they are times, declare data.columns.timestamps: {{{name}: s}} (or ms, us, ns); if they "
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
