"""The runs of a home, without reading more than a page shows: names and times of all, the files of the page's own, each read once."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from sluice.core.home import Home
from sluice.report.svg import between, number
from sluice.ui.shape import PAGE, Missing, Page, RunLine

#: Bytes of a file that is read, and runs that are looked through for an outcome.
LARGEST, LOOKED = 8 << 20, 5000
#: How often longer than it took a list of names is good enough: looking for runs takes a tenth of the time at most.
_FRESH = 10.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_OF = re.compile(r"(.+)-\d{8}-\d{6}-[0-9a-f]{4,}")


def named(name: str) -> str:
    """The same name. Raises `Missing` for what cannot be a run's or a rollout's: no path is made of it."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise Missing("no such name", field="address", value=name[:200], fix="go by the lists of this page")
    return name


def read(path: Path, below: Path) -> bytes:
    """A file that lies below a folder, of a size that can be shown. Raises `Missing`."""
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(below.resolve()) or not real.is_file():
            raise Missing("is not here", field=path.name)
        if real.stat().st_size > LARGEST:
            raise Missing(f"is larger than {LARGEST >> 20} MiB", field=path.name, fix="open it in the home itself")
        return real.read_bytes()
    except OSError as e:
        raise Missing(f"cannot be read: {e.strerror}", field=path.name) from e


def read_json(path: Path, below: Path) -> dict[str, Any]:
    """An object in such a file. Raises `Missing`."""
    try:
        found = orjson.loads(read(path, below))
    except ValueError as e:
        raise Missing("is not JSON", field=path.name) from e
    if not isinstance(found, dict):
        raise Missing("is not an object", field=path.name)
    return found


class Index:
    """The runs of a home, newest first."""

    def __init__(self, home: Home):
        self.home = home
        self._listed: tuple[float, list[tuple[int, str, bool]]] = (float("-inf"), [])  # until when, what
        self._lines: dict[str, tuple[int, RunLine]] = {}

    def names(self) -> list[tuple[int, str, bool]]:
        """(nanoseconds since 1970, name, ended) of every run."""
        until, found = self._listed
        began = time.monotonic()
        if began > until:
            found = sorted(self._scan(), reverse=True)
            took = time.monotonic() - began
            self._listed = (began + took * (1 + _FRESH), found)
        return found

    def _scan(self) -> list[tuple[int, str, bool]]:
        out = []
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.home.runs) as entries:
            for entry in entries:
                if not _NAME.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
                    continue
                try:
                    out.append(((Path(entry.path) / "outcome.json").stat().st_mtime_ns, entry.name, True))
                except OSError:
                    with contextlib.suppress(OSError):
                        out.append((entry.stat().st_mtime_ns, entry.name, False))
        return out

    def projects(self) -> list[str]:
        """Of the runs' names."""
        return sorted({project_of(name) for _, name, _ in self.names()})

    def page(self, at: int, project: str = "", outcome: str = "") -> Page:
        """The lines of a page; with `outcome` of the newest runs alone."""
        found = [n for n in self.names() if project in ("", project_of(n[1]))]
        first = (at - 1) * PAGE
        if outcome:
            looked = [line for line in map(self._line, found[:LOOKED]) if line.outcome == outcome]
            lines = [self._measured(line) for line in looked[first : first + PAGE]]
            return Page(lines, at, len(looked) > first + PAGE, len(looked))
        lines = [self._measured(self._line(n)) for n in found[first : first + PAGE]]
        return Page(lines, at, len(found) > first + PAGE, len(found))

    def line(self, name: str) -> RunLine:
        """One run's. Raises `Missing`."""
        found = next((n for n in self.names() if n[1] == named(name)), None)
        if found is None:
            raise Missing("no such run here", field="run", value=name, fix="the list of runs has those there are")
        return self._measured(self._line(found))

    def _line(self, found: tuple[int, str, bool]) -> RunLine:
        when, name, ended = found
        if not ended:
            held = self.home.held() and not any(n[2] and n[0] > when for n in self.names()[:1])
            return RunLine(name, project_of(name), "running" if held else "interrupted", when / 1e9)
        kept = self._lines.get(name)
        if kept is not None and kept[0] == when:
            return kept[1]
        line = self._read(name, when / 1e9)
        self._lines[name] = (when, line)
        return line

    def _read(self, name: str, when: float) -> RunLine:
        try:
            raw = read_json(self.home.runs / name / "outcome.json", self.home.runs)
        except Missing as e:
            return RunLine(name, project_of(name), "unreadable", when, why=f"outcome.json {e.message}")
        outcome = str(raw.get("outcome") or "unreadable")
        told = raw.get("cautions") if outcome == "promoted" else raw.get("reasons")
        why = "; ".join(map(str, told)) if isinstance(told, list) else ""
        seconds = raw.get("seconds")
        return RunLine(
            name,
            str(raw.get("project") or project_of(name)),
            outcome,
            when,
            float(seconds) if isinstance(seconds, int | float) else None,
            str(raw.get("version") or ""),
            str(raw.get("digest") or ""),
            why=why[:300],
        )

    def _measured(self, line: RunLine) -> RunLine:
        """With what its evaluation found, which is a larger file: read for the lines that are shown."""
        kept = self._lines.get(line.id)
        if line.metric or kept is None:
            return line
        made = RunLine(**{**vars(line), **(evaluated(self.home, line.id) or {"metric": "-"})})
        self._lines[line.id] = (kept[0], made)
        return made


def evaluated(home: Home, run: str) -> Mapping[str, str] | None:
    """``metric``, ``limits`` and ``verdict`` of a run's evaluation in words; None where it did not get that far."""
    try:
        return figures(read_json(home.runs / run / "gates" / "evaluate.json", home.runs)["evidence"])
    except (Missing, KeyError, TypeError):
        return None


def figures(evidence: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The same of an evaluation's evidence; None where it is of another shape."""
    try:
        found, compared = evidence["evaluation"], evidence.get("comparison")
        limits = between(found["low"], found["high"]) if found.get("low") is not None else ""
        verdict = str(compared["verdict"]).replace("_", " ") if compared else ""
        return {"metric": f"{found['metric']} {number(found['value'])}", "limits": limits, "verdict": verdict}
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def project_of(name: str) -> str:
    """A run's project, by its name."""
    found = _OF.fullmatch(name)
    return found[1] if found else name
