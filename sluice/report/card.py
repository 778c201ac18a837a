"""A model card as Markdown and as HTML, from the same parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from sluice.report.tables import Html, table

#: Characters of a cell, and of a reason.
CELL, REASON = 600, 200
#: What of Markdown the texts of a card hold.
_BOLD, _CODE = re.compile(r"\*\*(.+?)\*\*"), re.compile(r"`([^`]+)`")

#: ``title``, and one of ``rows`` [[name, text]], ``table`` [head, rows], ``items`` [text].
Part = Mapping[str, Any]


def markdown(parts: Sequence[Part]) -> str:
    """Markdown that no text inside can break."""
    return "\n\n".join(filter(None, map(_markdown, parts)))


def _markdown(part: Part) -> str:
    title = f"**{part['title']}**\n\n" if part["title"] else ""
    if rows := part.get("rows"):
        return title + "| | |\n|---|---|\n" + "\n".join(f"| {cell(name)} | {cell(text)} |" for name, text in rows)
    if found := part.get("table"):
        head, body = found
        lines = [head, ["---"] * len(head), *body]
        return title + "\n".join("| " + " | ".join(cell(str(c)) for c in line) + " |" for line in lines)
    return title + "\n".join(f"- {cell(text)}" for text in part["items"]) if part.get("items") else ""


def cell(text: str, most: int = CELL) -> str:
    """Text that stays inside a cell or an item of Markdown, and is no HTML."""
    flat = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def html(parts: Sequence[Part]) -> str:
    """The same as HTML, everything escaped."""
    return "".join(_html(parts))


def _html(parts: Sequence[Part]) -> Iterator[str]:
    for part in parts:
        title = f"<h3>{escape(part['title'])}</h3>" if part["title"] else ""
        if part.get("rows"):
            yield title + table(["", ""], [[name, _inline(text)] for name, text in part["rows"]])
        elif part.get("table"):
            head, body = part["table"]
            yield title + table(head, [[_inline(c) if isinstance(c, str) else c for c in line] for line in body], range(1, len(head)))
        elif part.get("items"):
            yield title + "<ul>" + "".join(f"<li>{_inline(text)}</li>" for text in part["items"]) + "</ul>"


def _inline(text: str) -> Html:
    flat = " ".join(text.split())
    safe = escape(flat if len(flat) <= CELL else flat[: CELL - 1] + "…")
    return Html(_CODE.sub(r"<code>\1</code>", _BOLD.sub(r"<b>\1</b>", safe)))
