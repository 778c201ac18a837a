"""A label told in several columns of 0 and 1, a column a class: seen, and how to write it as one column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from sluice.commands.opening import opened
from sluice.data.forms import format_of
from sluice.data.report import listed
from sluice.data.scheme import Found
from sluice.data.sources import read_tables

if TYPE_CHECKING:
    from sluice.data.look import Look

#: Such columns that are one label, at least: two of them may be anything.
_CLASSES = 3
_ONES, _ZEROS = frozenset({"1", "1.0", "true"}), frozenset({"0", "0.0", "false"})


def told_in_columns(look: Look, given: str) -> str | None:
    """What to write where a file's labels are columns of 0 and 1; null where they are not.

    Args:
        look: at the file.
        given: its name, as a person wrote it.
    """
    flags = _flags(look)
    texts = look.of("text", "image")
    if len(flags) < (2 if texts else _CLASSES):
        return None
    sums = np.sum(list(flags.values()), axis=0)
    names, read = list(flags), f"import json, pandas as pd; d = {opened(given)}; c = {list(flags)!r}"
    out = "d.drop(columns=c).to_csv('labelled.csv', index=False)"
    if (sums == 1).all() and len(flags) >= _CLASSES:
        said, made = "tell one label, a column a class and a single 1 a row", "d['label'] = d[c].idxmax(axis=1)"
    elif texts:
        said, made = (
            "tell several labels a row, a column each",
            "d['label'] = d[c].apply(lambda r: json.dumps(list(r.index[r == 1])), axis=1)",
        )
    else:
        return None
    return f'{listed(names)} {said}: make one column of them: python3 -c "{read}; {made}; {out}"\nthen: --data labelled.csv --label label'


def _flags(look: Look) -> dict[str, np.ndarray]:
    """The columns of 0 and 1 alone, both of which occur: bool [rows] each, by name."""
    may = {c.name for c in look.columns if c.kind in ("number", "category") and c.distinct == 2 and c.missing == 0}
    form = format_of(look.path) or (look.format if look.format != "auto" else "csv")
    table = read_tables([Found(look.path, look.path.name)], form, look.dialect, (), ())[0][0] if may else None
    found: dict[str, np.ndarray] = {}
    for name in table.schema.names if table is not None else ():
        if name not in may:
            continue
        texts = [str(v).strip().lower() for v in pc.unique(table.column(name)).to_pylist()] if table is not None else []
        if {*texts} <= _ONES | _ZEROS and table is not None:
            found[name] = np.array([str(v).strip().lower() in _ONES for v in table.column(name).to_pylist()])
    return {n: v for n, v in found.items() if v.any() and not v.all()}
