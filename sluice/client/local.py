"""Runs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sluice import files
from sluice.cli import checkout_command
from sluice.client.runs import Run
from sluice.errors import HomeError
from sluice.gates import Gate, read_gates
from sluice.home import Home
from sluice.project import Project
from sluice.tracking.references import registry_of
from sluice.tracking.registry import Registry


class Local:
    """The home's runs.

    Args:
        home: the folder of local state.
    """

    def __init__(self, home: Home):
        self.home = home

    def run(self, project: Project, text: str, base_dir: Path, *, quiet: bool) -> Run:
        """The whole pipeline here."""
        outcome = checkout_command("run")(project, text=text, base_dir=base_dir, home=self.home, command="Client.run", quiet=quiet)
        return self._run(outcome)

    def get(self, run: str) -> Run:
        """A finished run. Raises `HomeError` for one that is not there, or not finished."""
        path = self.home.runs / run / "outcome.json"
        if not path.is_file():
            there = [p.parent.name for p in sorted(self.home.runs.glob("*/outcome.json"), key=lambda p: p.stat().st_mtime)[-3:]]
            what = "has not ended" if (self.home.runs / run).is_dir() and run else "there is no such run"
            raise HomeError(what, field="run", value=run, fix=f"the last that ended: {', '.join(there) or 'none'}")
        return self._run(files.read_json(path))

    def status(self, run: str) -> dict[str, Any]:
        """``{run, state, steps, outcome}``. Raises `HomeError` for a run that is not there."""
        folder = self.home.runs / run
        if run and folder.is_dir() and not (folder / "outcome.json").exists():
            gates = read_gates(self.home.artifacts / "pipelines" / run)
            return {"run": run, "state": "running" if self.home.held() else "interrupted", "outcome": None, "steps": {g.step: g.decision for g in gates}}
        found = self.get(run)
        return {"run": run, "state": "finished", "outcome": found.outcome["outcome"], "steps": {g.step: g.decision for g in found.gates}}

    def history(self, name: str | None, limit: int | None) -> list[Run]:
        """Finished runs, newest first."""
        return [self._run(o) for o in self.home.outcomes(name)[:limit]]

    def report(self, run: str) -> Path:
        """The report's file."""
        return self.get(run).report

    def registry(self) -> Registry:
        return registry_of(self.home)

    def _run(self, outcome: dict[str, Any]) -> Run:
        folder = self.home.runs / outcome["run"] / "gates"
        return Run(outcome, tuple(Gate.read(folder / f"{s['step']}.json") for s in outcome["steps"]))
