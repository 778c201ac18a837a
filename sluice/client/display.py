"""What a person sees while a pipeline runs, here or on a cluster: a line a step, a bar while it trains."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

_SIGN = {"pass": ("✔", "green"), "refuse": ("✘", "red"), "inconclusive": ("≈", "yellow"), "error": ("✘", "bold red")}


class Display:
    """Writes to stderr; a live bar only on a terminal."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None):
        self.console = Console(file=stream or sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)
        # A file is none, whatever colours it was told to take.
        self._live = self.console.is_terminal and self.console.file.isatty()
        self._progress: Progress | None = None
        self._bar: Any = None
        self._last = 0.0

    def start(self, title: str) -> None:
        """Say what begins."""
        self.console.print(Text(title, style="bold"))

    def event(self, event: dict[str, Any]) -> None:
        """Show one event of a running step."""
        if event["kind"] == "gate":
            self._end_bar()
            self._line(event["step"], event["decision"], event["seconds"], event.get("summary") or "; ".join(event["reasons"]))
        elif event["kind"] == "error":
            self._end_bar()
            self._line(event.get("step", "?"), "error", None, event["message"])
        elif event["kind"] == "note":
            self.console.print(f"  · {event['text']}", style="dim")
        elif event["kind"] == "progress" and not self._told(event["step"], event["data"]):
            self._advance(event)

    def _told(self, step: str, data: dict[str, Any]) -> bool:
        """What is never left out, unlike progress: a restart, a checkpoint that could not be written, where a process stood still."""
        if data.get("kind") == "warning":
            self.console.print(Text(f"  ! {step}: {data['text']}", style="yellow"))
        elif data.get("kind") == "stack":
            self.console.print(
                Text(f"  ! {step}: rank {data['rank']} at step {data['step']} stood at\n{data['text'].rstrip()}", style="dim")
            )
        return data.get("kind") in ("warning", "stack")

    def _line(self, step: str, decision: str, seconds: float | None, text: str) -> None:
        sign, colour = _SIGN[decision]
        line = Text.assemble(
            (f"  {sign} ", colour), (f"{step:<14}", "bold"), (f"{seconds:6.1f} s  " if seconds is not None else " " * 10, "dim")
        )
        self.console.print(line + Text(text))

    def _advance(self, event: dict[str, Any]) -> None:
        text, done, total, milestone = describe(event["step"], event["data"])
        if not text:
            return
        if self._live and total:
            if self._progress is None:
                # stdout stays what it is: the events of the steps come through it.
                self._progress = Progress(
                    TextColumn("  ⠿ {task.fields[step]:<14}"),
                    BarColumn(30),
                    TextColumn("{task.description}"),
                    TimeElapsedColumn(),
                    console=self.console,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._progress.start()
                self._bar = self._progress.add_task(text, total=total, step=event["step"])
            self._progress.update(self._bar, completed=done, total=total, description=text)
        elif milestone or time.monotonic() - self._last > 5:
            self._last = time.monotonic()
            self.console.print(f"    {event['step']}: {text}", style="dim")

    def _end_bar(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    close = _end_bar


def describe(step: str, data: dict[str, Any]) -> tuple[str, float, float, bool]:
    """A progress event as text, how much of how much is done, and whether it is worth a line of its own."""
    if step == "train" and "epoch" in data:
        numbers = {k: data[k] for k in ("train_loss", "loss", "validation_loss") if isinstance(data.get(k), float)}
        numbers |= {k: v for k, v in (data.get("validation_metrics") or {}).items() if isinstance(v, float)}
        shown = "  ".join(f"{k.replace('validation_', 'val ')} {v:.4g}" for k, v in list(numbers.items())[:3])
        rate = f"  {data['samples_per_second']:,.0f} rows/s" if data.get("samples_per_second") else ""
        done, total = float(data.get("step") or 0), float(data.get("steps") or 0)
        return f"epoch {data.get('epoch', '?')}  {shown}{rate}", done, total, data.get("kind") == "epoch"
    if data.get("phase"):
        weight = data.get("weight")
        share = f"  {weight} % to the candidate" if weight else ""
        return (
            data["phase"] + share + (f"  {data['text']}" if data.get("text") else ""),
            float(weight or 0),
            100.0,
            data.get("kind") == "phase",
        )
    return str(data.get("text", "")), 0.0, 0.0, False
