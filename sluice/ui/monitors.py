"""Models that are watched: what the last look at each found, from a home's files and from `ModelMonitor`s."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sluice.core.home import Home
from sluice.ui.index import read_json
from sluice.ui.shape import Missing

#: Monitors and parts of one that are shown.
MOST, PARTS = 200, 60


@dataclasses.dataclass(frozen=True)
class Part:
    """A feature, or a part of one. Attributes: name; score, and what counts; moved; scores of the last windows."""

    name: str
    score: float | None
    limit: float | None
    moved: bool
    history: Sequence[float] = ()

    @property
    def points(self) -> str:
        """The last windows as a line, of a picture 120 wide and 28 high."""
        most = max([*self.history, self.limit or 0.0, 1e-9])
        step = 120 / max(len(self.history) - 1, 1)
        return " ".join(f"{i * step:.1f},{27 - 26 * min(max(v / most, 0), 1):.1f}" for i, v in enumerate(self.history))


@dataclasses.dataclass(frozen=True)
class Monitor:
    """A model that is watched.

    Attributes:
        name: its own. version: the package's digest, or its first digits. word: ``quiet``, ``alarm``, ``waiting``, ``unreadable``.
        said: one sentence. rows, windows: read so far. until: the end of the last window. alarms: that stand. parts: of the last window.
        more: other facts, in words.
    """

    name: str
    version: str
    word: str
    said: str
    rows: int = 0
    windows: int = 0
    until: str = ""
    alarms: Sequence[str] = ()
    parts: Sequence[Part] = ()
    more: Mapping[str, str] = dataclasses.field(default_factory=dict)


def of_home(home: Home) -> list[Monitor]:
    """What `sluice monitor` keeps below ``monitor/``, by name."""
    out = []
    for path in sorted((home.root / "monitor").glob("*.json"))[:MOST]:
        name, _, version = path.stem.rpartition("-")
        try:
            out.append(_kept(name or path.stem, version, read_json(path, home.root / "monitor")))
        except Missing as e:
            out.append(Monitor(path.stem, "", "unreadable", f"its file {e.message}"))
        except (KeyError, TypeError, ValueError, AttributeError):
            out.append(Monitor(path.stem, "", "unreadable", "its file is of another kind"))
    return sorted(out, key=lambda m: (m.word != "alarm", m.name))


def _kept(name: str, version: str, kept: Mapping[str, Any]) -> Monitor:
    last, history, state = kept.get("last") or {}, kept["history"], kept["state"]
    standing = last.get("standing") or []
    rows, windows = int(state.get("rows") or 0), int(state.get("windows") or 0)
    alarms = [str(a.get("text") or a.get("feature") or "") for a in standing]
    if not windows:
        said = f"no window has closed yet: {rows:,} predictions so far"
    elif not alarms:
        said = f"nothing has moved in {windows:,} windows of {rows:,} predictions"
    else:
        said = f"{len(alarms)} {'alarm stands' if len(alarms) == 1 else 'alarms stand'}"
    newest = history[-1] if history else {}
    parts = []
    for part, found in list((newest.get("parts") or {}).items())[:PARTS]:
        past = [h["parts"][part][0] for h in history[-60:] if part in (h.get("parts") or {})]
        parts.append(
            Part(str(part), _number(found[0]), _number(found[1]), bool(found[2]), [v for v in map(_number, past) if v is not None])
        )
    parts.sort(key=lambda p: (not p.moved, -(p.score or 0)))
    word = "alarm" if alarms else "quiet" if windows else "waiting"
    return Monitor(name, version, word, said, rows, windows, str(newest.get("ended") or ""), alarms, parts)


def of_resource(raw: Mapping[str, Any]) -> Monitor:
    """A `ModelMonitor`."""
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or [] if isinstance(c, Mapping)}
    drifted = conditions.get("Drifted", {}).get("status") == "True"
    broken = [
        c for name in ("Accepted", "Synced") if (c := conditions.get(name, {})).get("status") == "False" and c.get("reason") != "Behind"
    ]
    phase = str(status.get("phase") or "Waiting")
    word = "alarm" if drifted else "failed" if broken else {"Watching": "quiet"}.get(phase, phase.lower())
    alarms = [str(conditions["Drifted"].get("message") or status.get("alarm") or "drifted")] if drifted else []
    score = status.get("drift")
    parts = []
    with contextlib.suppress(TypeError, ValueError):
        if score not in (None, ""):
            parts = [Part(str(status.get("feature") or "largest"), float(str(score)), None, drifted)]
    more = {
        "model": str(spec.get("model") or ""),
        "quality": str(status.get("quality") or ""),
        "last alarm": f"{status.get('lastAlarm')}: {status.get('alarm', '')}" if status.get("lastAlarm") else "",
        "last retraining": f"{status.get('lastRetraining')}: {status.get('outcome', '')}" if status.get("lastRetraining") else "",
    }
    return Monitor(
        str(meta["name"]),
        str(status.get("version") or "")[:64],
        word,
        str(status.get("message") or (broken[0].get("message") if broken else "") or phase),
        _whole(status.get("rows")),
        _whole(status.get("windows")),
        str(status.get("readTo") or ""),
        alarms,
        parts,
        {k: v for k, v in more.items() if v},
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0
