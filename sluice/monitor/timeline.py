"""What happened to a model, on one line of time: releases, rollouts, runs and alerts, beside what a diagnosis finds."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sluice.core.errors import DataError
from sluice.core.home import Home

_LIMIT = 5000


@dataclasses.dataclass(frozen=True, order=True)
class Event:
    """Something that happened.

    Attributes:
        at: microseconds since 1970. what: ``release``, ``rollout``, ``run``, ``alert``, ``drift``, ``quality``. text: a sentence without its full stop.
    """

    at: int
    what: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"at": iso(self.at), "what": self.what, "text": self.text}


def iso(at: int | None) -> str:
    """Microseconds since 1970 as people read them; "" where not told."""
    return "" if not at else datetime.datetime.fromtimestamp(at / 1e6, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def of_home(home: Home, model: str) -> list[Event]:
    """Runs, and steps of the rollout, that a home remembers of a model; what cannot be read is left out."""
    found = []
    if home.runs.is_dir():
        for path in home.runs.glob("*/outcome.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                told = json.loads(path.read_text())
                if told.get("project") == model:
                    digest = f", version {str(told['digest'])[:12]}" if told.get("digest") else ""
                    found.append(Event(int(path.stat().st_mtime * 1e6), "run", f"run {told['run']} ended: {told['outcome']}{digest}"))
    path = home.rollouts / model / "events.jsonl"
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().split("\n")[-_LIMIT:]:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                told = json.loads(line)
                at = told.get("time", told.get("at"))
                text = told.get("message") or told.get("text") or told.get("event") or told.get("kind")
                if at is not None and text:
                    found.append(Event(micros(at), "rollout", str(text)[:200]))
    return found


def of_file(path: Path) -> list[Event]:
    """Alerts and other events, a JSON object a line: ``{"time", "what", "text"}``; or what Alertmanager's webhook sends (``alerts``).

    Raises:
        DataError: it cannot be read, or a line is none of these; the line is named.
    """
    try:
        lines = path.read_text().split("\n")[:_LIMIT]
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"cannot be read: {e}", field="--events", value=str(path), fix="name a file of JSON lines") from e
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            if "alerts" in told:
                found += [_alert(a) for a in told["alerts"]]
            else:
                found.append(Event(micros(told["time"]), str(told.get("what", "alert")), str(told["text"])[:200]))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise DataError(
                f"is no event: {e}",
                field=f"--events line {number}",
                value=line[:100],
                fix='write {"time": "...", "what": "alert", "text": "..."}',
            ) from e
    return found


def _alert(told: dict[str, Any]) -> Event:
    name = told.get("labels", {}).get("alertname", "an alert")
    said = told.get("annotations", {}).get("summary", "")
    return Event(micros(told["startsAt"]), "alert", f"{name} {told.get('status', 'firing')}{': ' + said if said else ''}"[:200])


def micros(at: Any) -> int:
    """A time as text (ISO 8601, UTC unless it says otherwise), or as seconds, milliseconds or microseconds since 1970."""
    if isinstance(at, int | float):
        return int(at * 1e6 if at < 1e11 else at * 1e3 if at < 1e14 else at)
    told = datetime.datetime.fromisoformat(str(at))
    return int((told if told.tzinfo else told.replace(tzinfo=datetime.UTC)).timestamp() * 1e6)


def served(batches: Iterable[Any]) -> list[Event]:
    """When each version began to answer, from batches of a log with ``time`` and ``version``."""
    from sluice.monitor.labels import microseconds

    first: dict[str, int] = {}
    for batch in batches:
        if "version" not in batch.schema.names or "time" not in batch.schema.names:
            continue
        for version, at in zip(batch.column("version").to_pylist(), microseconds(batch), strict=True):
            if version is not None and at and at < first.get(version, at + 1):
                first[version] = at
    return [Event(at, "release", f"version {version} begins to answer") for version, at in first.items()]


def beside(events: Iterable[Event], at: int, seconds: float = 6 * 3600) -> str:
    """What happened just before a moment, as a clause; "" where nothing did."""
    near = [e for e in events if e.what in ("release", "rollout", "alert", "run") and 0 <= at - e.at <= seconds * 1e6]
    if not near:
        return ""
    last = max(near, key=lambda e: (e.what == "release", e.at))
    minutes = (at - last.at) / 60e6
    how = "at once" if minutes < 1 else f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
    return f"{how + ' after' if how != 'at once' else 'as'} {last.text}"
