"""What held-out rows can be told apart by when the worst of them are looked for."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from sluice.core.predicate import WEEKDAYS, Column
from sluice.data.where import Held, missing_values
from sluice.stats.subgroups import Names, Numbers

#: Of texts with more different values than this only their length tells rows apart; and the mean length from which it does.
_FEW, _LONG = 200, 12


def features_of(held: Held, apart: Collection[str] = ("label",)) -> list[Numbers | Names]:
    """Of each column that can be compared: its number; of a time its hour and weekday; of a category its value, of a text its length.

    Args:
        held: the rows.
        apart: columns that are left out.
    """
    out: list[Numbers | Names] = []
    for name, field in held.fields.items():
        if name in apart or not held.comparable(name):
            continue
        if field.quantity:
            out.append(Numbers(Column(name), held.values(Column(name))))
        elif field.timed:
            out += [Numbers(c := Column(name, "hour"), held.values(c)), _named(Column(name, "weekday"), held, WEEKDAYS)]
        else:
            out += _of_texts(name, held)
    return out


def _of_texts(name: str, held: Held) -> list[Numbers | Names]:
    length = held.values(Column(name, "length"))
    names = sorted({v for v in held.values(Column(name)) if v is not None})
    found: list[Numbers | Names] = [] if len(names) > _FEW and held.fields[name].words else [_named(Column(name), held, names)]
    if len(names) > _FEW and np.isfinite(length).any() and np.nanmean(length) >= _LONG:
        found.append(Numbers(Column(name, "length"), length))
    return found


def _named(column: Column, held: Held, names: Collection[str]) -> Names:
    values, index = held.values(column), {n: i for i, n in enumerate(names)}
    missing = missing_values(values)
    return Names(column, np.array([-1 if gone else index[v] for v, gone in zip(values, missing, strict=True)], dtype=np.int64), list(names))
