"""What one look found, and many looks side by side that never wait for one another."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from sluice.core.errors import SluiceError, first_line

State = Literal["ok", "note", "fault"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the answer.

    Attributes:
        check: what was looked at. said: what was found. fix: the command or line that mends it; empty where nothing is to be mended.
        state: ``ok``; ``note``: fine, or it could not be asked; ``fault``: a run will fail for it.
    """

    check: str
    state: State
    said: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return dataclasses.asdict(self)


def ok(check: str, said: str) -> Finding:
    """A finding that all is well."""
    return Finding(check, "ok", said)


def note(check: str, said: str, fix: str = "") -> Finding:
    """A finding to know of."""
    return Finding(check, "note", said, fix)


def fault(check: str, said: str, fix: str) -> Finding:
    """A finding that stops work, and what mends it."""
    return Finding(check, "fault", said, fix)


@dataclasses.dataclass(frozen=True)
class Look:
    """A question: what it is called, who answers, and in how many seconds at most."""

    check: str
    ask: Callable[[], Finding | Sequence[Finding]]
    seconds: float = 10.0


def look(looks: Sequence[Look]) -> list[Finding]:
    """Every look in a thread of its own, none waited for beyond its time; findings in the order of the looks."""
    answers: list[list[Finding] | None] = [None] * len(looks)

    def one(i: int, it: Look) -> None:
        try:
            found = it.ask()
        except SluiceError as e:
            found = fault(it.check, e.message + (f" ({e.field})" if e.field else ""), e.fix or "")
        except Exception as e:
            found = fault(it.check, f"{type(e).__name__}: {first_line(e)}", "")
        answers[i] = [found] if isinstance(found, Finding) else list(found)

    begun = time.monotonic()
    threads = [threading.Thread(target=one, args=(i, it), daemon=True) for i, it in enumerate(looks)]
    for thread in threads:
        thread.start()
    for thread, it in zip(threads, looks, strict=True):
        thread.join(max(0.0, begun + it.seconds - time.monotonic()))
    late = "look at it by hand; --timeout SECONDS gives it longer"
    return [
        f
        for it, found in zip(looks, answers, strict=True)
        for f in (found if found is not None else [fault(it.check, f"no answer within {it.seconds:g} s", late)])
    ]
