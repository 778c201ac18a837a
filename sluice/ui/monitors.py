"""Models that are watched: what the last look at each found, from a home's files and from `ModelMonitor`s."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sluice.core.home import Home
from sluice.ui.index import read_json
from sluice.ui.shape import Missing

#: Monitors and parts of one that are shown.
MOST, PARTS = 200, 60
#: How files end that stand beside a monitor's own and are none: what labels say, what was trained again.
_BESIDE = ("-quality", "-retraining")


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
    out, folder = [], home.root / "monitor"
    for path in [p for p in sorted(folder.glob("*.json")) if not p.stem.endswith(_BESIDE)][:MOST]:
        name, _, version = path.stem.rpartition("-")
        try:
            out.append(_kept(name or path.stem, version, read_json(path, folder), _judged(path, folder)))
        except Missing as e:
            out.append(Monitor(path.stem, "", "unreadable", f"its file {e.message}"))
        except (KeyError, TypeError, ValueError, AttributeError):
            out.append(Monitor(path.stem, "", "unreadable", "its file is of another kind"))
    return sorted(out, key=lambda m: (m.word != "alarm", m.name))


def _judged(path: Path, folder: Path) -> Mapping[str, Any]:
    """What labels said at the last look, which stands in a file beside; nothing where there is none."""
    beside = path.with_name(f"{path.stem}-quality.json")
    try:
        return (read_json(beside, folder).get("last") or {}) if beside.exists() else {}
    except Missing as e:
        return {"maybe": f"not known: {beside.name} {e.message}"}


def _kept(name: str, version: str, kept: Mapping[str, Any], judged: Mapping[str, Any]) -> Monitor:
    last, history, state = kept.get("last") or {}, kept["history"], kept["state"]
    standing = last.get("standing") or []
    rows, windows = int(state.get("rows") or 0), int(state.get("windows") or 0)
    alarms = [*map(str, judged.get("wrong") or ()), *(str(a.get("text") or a.get("feature") or "") for a in standing)]
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
    labels = "; ".join(str(t) for t in (judged.get("said") if not judged.get("wrong") else "", judged.get("maybe")) if t)
    more = {"labels": labels} if labels else {}
    return Monitor(name, version, word, said, rows, windows, str(newest.get("ended") or ""), alarms, parts, more)


def of_resource(raw: Mapping[str, Any]) -> Monitor:
    """A `ModelMonitor`."""
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or [] if isinstance(c, Mapping)}
    standing = [name for name in ("Drifted", "Degraded", "ErrorsRose") if conditions.get(name, {}).get("status") == "True"]
    drifted = "Drifted" in standing
    broken = [
        c for name in ("Accepted", "Synced") if (c := conditions.get(name, {})).get("status") == "False" and c.get("reason") != "Behind"
    ]
    phase = str(status.get("phase") or "Waiting")
    word = "alarm" if standing else "failed" if broken else {"Watching": "quiet"}.get(phase, phase.lower())
    other = {
        "Drifted": status.get("alarm") or "drifted",
        "Degraded": "quality is under its floor",
        "ErrorsRose": "answers are wrong more often",
    }
    alarms = [str(conditions[name].get("message") or other[name]) for name in standing]
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
