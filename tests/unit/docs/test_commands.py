"""Every `sluice` command that the documentation shows is one that the command line takes."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from sluice.arguments import parser

REPO = Path(__file__).resolve().parents[3]
_PARSER = parser()
PAGES = [
    REPO / "README.md",
    *sorted((REPO / "docs").rglob("*.md")),
    *sorted((REPO / "examples").glob("*/README.md")),
    REPO / "charts/sluice/README.md",
]
#: What stands for something of the reader's.
CHOICE = re.compile(r"\{([^},]+)(?:,[^}]*)?\}")

#: In running text a command is named without all that it needs.
SHORT = re.compile(r"the following arguments are required|expected one argument|one of the arguments .* is required")


def blocks(text: str) -> list[str]:
    """The lines of code: of fences that are no other language's, and of what is set in by four."""
    found, fence = [], ""
    for line in text.splitlines():
        mark = re.match(r" *(`{3,})(\w*)", line)
        if mark:
            fence = "" if fence else mark[2] or "text"
        elif fence in ("bash", "sh", "shell", "console", "text") or (not fence and line.startswith("    ")):
            found.append(line.strip())
    return found


def commands(text: str) -> list[str]:
    """What is typed: code that begins with `sluice` (behind a prompt, too), and `sluice ...` between backquotes in running text."""
    lines = [line.removeprefix("$ ") for line in blocks(text)]
    typed = [line for line in "\n".join(lines).replace("\\\n", " ").splitlines() if re.match(r"sluice [a-z]", line)]
    prose = re.sub(r"(?ms)^ *(`{3,}).*?\1", "", text)
    return typed + [c for c in re.findall(r"`(sluice [a-z][^`]*)`", prose) if "..." not in c]


def parsed(command: str) -> str:
    """What the command line says of it; nothing where it takes it."""
    words = shlex.split(re.sub(r"[\[\]]", "", CHOICE.sub(r"\1", command)), comments=True)
    for end in ("|", ">", "&&", "&", ";", "<"):
        words = words[: words.index(end)] if end in words else words
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            _PARSER.parse_args(words[1:])
        except SystemExit as e:
            return errors.getvalue().strip().splitlines()[-1] if e.code else ""
    return ""


@pytest.mark.parametrize("document", PAGES, ids=lambda p: p.relative_to(REPO).as_posix())
def test_commands_are_ones_that_the_command_line_takes(document: Path) -> None:
    wrong = {c: said for c in commands(document.read_text()) if (said := parsed(c)) and not SHORT.search(said)}
    assert not wrong


def test_a_command_that_is_none_is_seen() -> None:
    text = "x\n\n    sluice run p --sett a=1   # c\n\n```yaml\nsluice: nothing\n```\n`sluice modles`, `sluice rollout {status,watch} N`\n"
    assert commands(text) == ["sluice run p --sett a=1   # c", "sluice modles", "sluice rollout {status,watch} N"]
    assert "unrecognized arguments" in parsed(commands(text)[0]) and "invalid choice" in parsed(commands(text)[1])
    assert not parsed(commands(text)[2])
