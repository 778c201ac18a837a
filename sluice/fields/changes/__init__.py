"""Changes of raw values, by which a model is tried. Of a single value, as somebody wrote them into a file of cases: what must not matter, and what must matter one way,
a file a kind of value. And of whole columns, by chance, which leave the truth what it is: `disturbances`.
"""

from __future__ import annotations

from typing import Any

from sluice.core.registry import Registry
from sluice.fields.changes.change import Change

#: The word of a change -> its class.
CHANGES = Registry(
    "change",
    {
        "set": "sluice.fields.changes.values:Set",
        "add": "sluice.fields.changes.values:Add",
        "scale": "sluice.fields.changes.values:Scale",
        "replace": "sluice.fields.changes.texts:Replace",
        "typos": "sluice.fields.changes.texts:Typos",
        "case": "sluice.fields.changes.texts:Case",
        "append": "sluice.fields.changes.texts:Append",
        "prepend": "sluice.fields.changes.texts:Prepend",
        "shift": "sluice.fields.changes.pictures:Shift",
        "brightness": "sluice.fields.changes.pictures:Brightness",
        "noise": "sluice.fields.changes.pictures:Noise",
    },
)


def parse_change(raw: Any) -> list[tuple[str, Change]]:
    """Changes as they are written: ``{typos: 1}``, or of a table's columns ``{income: {add: 1000}, plan: {set: basic}}``.

    Returns:
        The column of each ("" where a row is one value), and the change, in their order.

    Raises:
        ValueError: there is no such change, or its argument is wrong.
    """
    if not isinstance(raw, dict) or not raw:
        raise ValueError("is a mapping: {typos: 1}, or of a table's columns {income: {add: 1000}}")
    if set(raw) <= set(CHANGES.names()) and not all(isinstance(v, dict) and v and set(v) <= set(CHANGES.names()) for v in raw.values()):
        return [("", _made(word, argument)) for word, argument in raw.items()]
    out = []
    for column, inner in raw.items():
        if not isinstance(inner, dict) or not inner:
            hint = "" if column in CHANGES.names() else f" of a column, or {column!r} is no change: {', '.join(CHANGES.names())}"
            raise ValueError(f"{column}: is no change{hint}; write {{{column}: {{add: 1000}}}}")
        out += [(str(column), _made(word, argument)) for word, argument in inner.items()]
    return out


def _made(word: str, argument: Any) -> Change:
    if word not in CHANGES.names():
        raise ValueError(f"{word!r} is no change: {CHANGES.nearest(word)}")
    try:
        made: Change = CHANGES.get(word)(argument)
    except ValueError as e:
        raise ValueError(f"{word}: {e}") from None
    return made
