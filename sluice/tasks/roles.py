"""Columns found by what they are called, where the project does not say which they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping


def plain(name: str) -> str:
    """A column's name in small letters and digits alone, without a type behind a colon (``user_id:token``)."""
    return re.sub(r"[^a-z0-9]", "", name.lower().split(":")[0])


def by_name(names: Iterable[str], called: Collection[str], taken: Collection[str] = ()) -> str | None:
    """The column that is called as one of these.

    Args:
        names: of the columns, in the file's order.
        called: what it may be called, plain, the likeliest first.
        taken: columns that are something else.
    """
    found: dict[str, str] = {}
    for name in names:
        if name not in taken:
            found.setdefault(plain(name), name)
    return next((found[c] for c in called if c in found), None)


def roles(names: Iterable[str], called: Mapping[str, Collection[str]], taken: Collection[str] = ()) -> dict[str, str]:
    """The column of each role that one is called as; no column has two.

    Args:
        names: of the columns, in the file's order.
        called: role -> what its column may be called, plain, the likeliest first.
        taken: columns that are something else.
    """
    there, found = list(names), dict[str, str]()
    for role, words in called.items():
        name = by_name(there, words, {*taken, *found.values()})
        if name is not None:
            found[role] = name
    return found
