"""Words of the code made fit for a page."""

from __future__ import annotations

import re

#: What descriptions begin with that is no word: a capital would make another value of it.
_VALUES = {"true", "false", "null", "auto", "none"}


def cell(text: object) -> str:
    """A text in one cell of a table: no bar ends it, no bracket begins a link, but for what is set as code."""
    parts = " ".join(str(text).split()).split("`")
    return "`".join(part if i % 2 else _plain(part) for i, part in enumerate(parts)).replace("|", "\\|")


def _plain(text: str) -> str:
    return text.replace("[", "&#91;").replace("<", "&lt;").replace("{{", "&#123;&#123;")


def sentence(text: str | None) -> str:
    """A description as a sentence: a capital, unless it begins with a value that is written as it is, and a full stop."""
    text = (text or "").strip()
    word = re.match(r"[a-z][a-z'-]*(?=[ .;:]|$)(?! \|)", text)
    first = text[:1].upper() if word and word[0] not in _VALUES else text[:1]
    return first + text[1:] + ("" if not text or text.endswith((".", "`", ":")) else ".")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown; nothing for no rows."""
    if not rows:
        return ""
    return "\n".join(f"| {' | '.join(r)} |" for r in [head, ["---"] * len(head), *rows])
