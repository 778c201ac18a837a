"""A rollout on disk: ``<home>/rollouts/<name>/``.

state.json     the whole of where it stands, replaced atomically at every look
events.jsonl   the audit trail, one note a line, numbered
result.json    how it ended
commands/      requests of `sluice rollout pause` and the like, one file each
history/       the same files of earlier rollouts
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import orjson

from sluice.core import files
from sluice.core.errors import HomeError, RolloutError, SluiceError
from sluice.rollouts.state import Command, Note, State

STATE, EVENTS, RESULT, COMMANDS, HISTORY = "state.json", "events.jsonl", "result.json", "commands", "history"
_KEPT = 20


def unknown(name: str, others: Sequence[str], where: str) -> RolloutError:
    """The error for a rollout that is not there, naming the nearest one that is.

    Args:
        name: what was asked for. others: what there is. where: a folder or namespace, for the message.
    """
    near = difflib.get_close_matches(name, others, 1, 0.5)
    there = f"{where} holds: {', '.join(others[:20]) or 'none'}"
    return RolloutError("no such rollout", field="NAME", value=name, fix=f"did you mean {near[0]!r}? {there}" if near else there)


def known(command: str) -> None:
    """Raises `RolloutError` when `command` is none."""
    if command not in get_args(Command):
        raise RolloutError("is not a command", field="command", value=command, fix="one of " + ", ".join(get_args(Command)))


class Store:
    """Reads and writes one rollout's directory."""

    def __init__(self, home: Path, name: str):
        self.root = home / "rollouts" / name
        self.name = name

    # -- writing -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Only one process drives a rollout. Raises `HomeError` when another one does."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / "lock").open("a")
        except OSError as e:
            raise HomeError(f"cannot be written: {e.strerror}", field=str(self.root), fix="choose another --home") from e
        with lock:
            for attempt in range(10):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as e:
                    if attempt == 9:
                        raise HomeError(
                            "another process is rolling out this name",
                            field=str(self.root),
                            fix=f"wait for it, or `sluice rollout abort {self.name}`",
                        ) from e
                    # Somebody who asks whether it is driven holds it for a moment.
                    time.sleep(0.02)
            yield

    def driven(self) -> bool:
        """Whether a process drives it now; the kernel lets go of the lock when that process ends, however it ends."""
        try:
            with (self.root / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def fresh(self) -> None:
        """Move what an earlier rollout left into the history; the last 20 are kept."""
        files.sweep_partials(self.root)
        if any((self.root / name).exists() for name in (STATE, EVENTS, RESULT)):
            past = self.root / HISTORY / f"{time.time_ns():020d}"
            past.mkdir(parents=True)
            for name in (STATE, EVENTS, RESULT):
                if (self.root / name).exists():
                    (self.root / name).rename(past / name)
            for old in sorted((self.root / HISTORY).iterdir())[:-_KEPT]:
                shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.root / COMMANDS, ignore_errors=True)
        (self.root / COMMANDS).mkdir(parents=True)

    def save(self, state: State, **around: Any) -> None:
        """Replace state.json: the state, and what else a reader wants to see of this moment."""
        value = {"name": self.name, "pid": os.getpid(), "updated": time.time(), "state": state.to_dict(), **around}
        files.write_bytes(self.root / STATE, orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))

    def note(self, note: Note, now: float) -> None:
        """Append to the audit trail."""
        entry = {"sequence": note.sequence, "time": now, "kind": note.kind, "message": note.message, "data": dict(note.data)}
        with (self.root / EVENTS).open("ab") as f:
            f.write(orjson.dumps(entry) + b"\n")

    def finish(self, result: dict[str, Any]) -> None:
        """Keep how the rollout ended."""
        files.write_json(self.root / RESULT, result)

    # -- reading -----------------------------------------------------------------------------------

    def load(self) -> dict[str, Any]:
        """state.json. Raises `RolloutError` when there is no rollout of this name, `SluiceError` when it cannot be read."""
        try:
            value = files.read_json(self.root / STATE)
        except FileNotFoundError as e:
            raise unknown(self.name, self.others(), str(self.root.parent)) from e
        except (OSError, ValueError) as e:
            raise SluiceError(f"cannot be read: {e}", field=str(self.root / STATE)) from e
        if not isinstance(value, dict) or not {"state", "updated"} <= value.keys():
            raise SluiceError("is not a rollout's state", field=str(self.root / STATE))
        return value

    def others(self) -> list[str]:
        """Names of the rollouts in this home."""
        return sorted(p.name for p in self.root.parent.glob("*") if (p / STATE).exists())

    def events(self) -> list[dict[str, Any]]:
        """The audit trail; a note written twice across a crash counts once, a torn last line is left out."""
        out: dict[int, dict[str, Any]] = {}
        try:
            lines = (self.root / EVENTS).read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        for line in lines:
            with contextlib.suppress(ValueError):
                entry = orjson.loads(line)
                out[entry["sequence"]] = entry
        return [out[k] for k in sorted(out)]

    def result(self) -> dict[str, Any] | None:
        """How the rollout ended; None while it has not."""
        try:
            value = files.read_json(self.root / RESULT)
        except FileNotFoundError:
            return None
        return value if isinstance(value, dict) else None

    # -- commands ----------------------------------------------------------------------------------

    def order(self, command: str, reason: str = "") -> str:
        """Leave a command for the process that drives the rollout, and why it is given; returns its id.

        Raises:
            RolloutError: not a command.
        """
        known(command)
        ident = f"{time.time_ns():020d}-{secrets.token_hex(3)}"
        files.write_json(self.root / COMMANDS / f"{ident}.json", {"id": ident, "command": command, "reason": reason})
        return ident

    def commands(self) -> tuple[tuple[str, Command], ...]:
        """What was ordered, oldest first, files that make no sense left out."""
        out: list[tuple[str, Command]] = []
        for path in sorted((self.root / COMMANDS).glob("*.json")):
            with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
                raw = files.read_json(path)
                if raw["command"] in get_args(Command):
                    out.append((str(raw["id"]), raw["command"]))
        return tuple(out)

    def reason(self) -> str:
        """Why the newest command was given; "" where nobody said."""
        for path in sorted((self.root / COMMANDS).glob("*.json"), reverse=True):
            with contextlib.suppress(ValueError, AttributeError, OSError):
                return str(files.read_json(path).get("reason") or "")
        return ""
