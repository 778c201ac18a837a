"""Progress in a notebook: one output that is written anew as the run goes on. No widget, so VS Code, JupyterLab and Colab show it alike."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any

from rich.console import Console

from sluice.client.display import Display, describe

#: Seconds between two writings of a bar that moves.
_EVERY = 0.25


def display_for(quiet: bool) -> Display:
    """What shows a run: in a notebook's kernel `Live`, else `Display`."""
    show = None if quiet else _notebook()
    return Display(quiet) if show is None else Live(show)


def _notebook() -> Callable[[dict[str, str], bool], None] | None:
    """Writes an output of the cell that runs, or (True) writes over it; null outside a kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    handle = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]
    if handle is None:
        return None
    return lambda data, again: handle.update(data, raw=True)


class Live(Display):
    """Lines as the terminal has them, and below them the bar of the step that runs.

    Args:
        show: is given the output, as text and as HTML, and whether it takes the place of the one before.
    """

    def __init__(self, show: Callable[[dict[str, str], bool], None]):
        super().__init__(stream=io.StringIO())
        self.console = Console(file=io.StringIO(), highlight=False, soft_wrap=True, width=160, color_system=None)
        self._show, self._now, self._written = show, "", 0.0
        self._shown = False

    def start(self, title: str) -> None:
        super().start(title)
        self._write()

    def event(self, event: dict[str, Any]) -> None:
        super().event(event)
        if event["kind"] != "progress" or time.monotonic() - self._written > _EVERY:
            self._write()

    def _advance(self, event: dict[str, Any]) -> None:
        text, done, total, milestone = describe(event["step"], event["data"])
        if text and milestone:
            self.console.print(f"    {event['step']}: {text}", markup=False)
        if text:
            share = min(max(done / total, 0.0), 1.0) if total else None
            bar = (
                f'<progress max="1" value="{share:.3f}" aria-label="{escape(event["step"], quote=True)}"></progress>'
                if share is not None
                else ""
            )
            self._now = f"<div>{escape(event['step'])} {bar} {escape(text)}</div>"

    def _end_bar(self) -> None:
        self._now = ""

    def close(self) -> None:
        self._now = ""
        self._write()

    def _write(self) -> None:
        said = self.console.file.getvalue()  # type: ignore[attr-defined]
        self._written = time.monotonic()
        self._show({"text/plain": said, "text/html": f'<pre style="white-space:pre-wrap">{escape(said)}</pre>{self._now}'}, self._shown)
        self._shown = True
