"""Tables of a report."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from sluice.report import svg
from sluice.report.words import explained


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], numeric: Sequence[int] = ()) -> str:
    """A table; cells that are already HTML are given as `Html`."""
    ths = "" if not any(head) else "".join(f'<th class="{"n" if i in numeric else ""}">{explained(h)}</th>' for i, h in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{_kind(c, i in numeric)}">{cell(c) if i or not isinstance(c, str) or isinstance(c, Html) else explained(c)}</td>'
            for i, c in enumerate(r)
        )
        + "</tr>"
        for r in rows
    )
    name = escape("table: " + ", ".join(h for h in head if h)[:80], quote=True)
    # Wide ones scroll: whoever has no mouse reaches them by the tab key.
    return f'<div class="scroll" tabindex="0" role="group" aria-label="{name}"><table><thead><tr>{ths}</tr></thead><tbody>{body}</tbody></table></div>'


#: From so many characters a cell is a sentence, which a narrow window must not break into a column of single words.
_SENTENCE = 40


def _kind(value: Any, numeric: bool) -> str:
    return "n" if numeric else "t" if isinstance(value, str) and not isinstance(value, Html) and len(value) >= _SENTENCE else ""


class Html(str):
    """Text that is HTML already."""


def cell(value: Any) -> str:
    """A value as the text of a cell: escaped, unless it is HTML already."""
    if isinstance(value, Html):
        return value
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    return svg.number(value) if isinstance(value, int | float) else escape(str(value))
