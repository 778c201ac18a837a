"""Runs on this machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from sluice.cli import checkout_command
from sluice.client import background
from sluice.client.runs import Run
from sluice.core import files
from sluice.core.errors import DeadlineError, HomeError, ProjectError
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.kfp.submit import Submitted
from sluice.project import Project
from sluice.registry.references import registry_of
from sluice.registry.versions import Registry
from sluice.steps.step import read_gates

#: Seconds that a process may take to end after its run has.
_LETS_GO = 60.0


class Local:
    """The home's runs.

    Args:
        home: the folder of local state.
    """

    def __init__(self, home: Home):
        self.home = home
        self.back = f'Client("{home.root}")'

    def run(self, project: Project, text: str, base_dir: Path, *, seconds: float | None = None, quiet: bool) -> Run:
        """The whole pipeline here; with a deadline in a process of its own, which goes on past it."""
        if seconds is not None:
            return self.wait(self.submit(project, text, base_dir).run, seconds=seconds, quiet=quiet)
        outcome = checkout_command("run")(project, text=text, base_dir=base_dir, home=self.home, command="Client.run", quiet=quiet)
        return self._run(outcome)

    def submit(self, project: Project, text: str, base_dir: Path, *, tune: bool = False) -> Submitted:
        """Start the whole pipeline in a process of its own, which outlives this one."""
        if tune:
            raise ProjectError("is for runs on an endpoint", field="tune", fix="`sluice tune PROJECT`")
        run = background.start(self.home, project.name, text, base_dir)
        return Submitted(run, run, project.name, project.digest[:12], False, str(self.home.reports / run / "index.html"))

    def wait(self, run: str, *, seconds: float | None = None, quiet: bool = False) -> Run:
        """Show a run's progress until it ends.

        Raises:
            DeadlineError: it has not ended in time; it goes on. HomeError: there is no such run, or it was cut off.
        """
        folder = self.home.runs / run
        end, shown = time.monotonic() + (seconds if seconds is not None else float("inf")), 0
        while not (folder / "outcome.json").is_file():
            shown = _show(folder / background.PROGRESS, shown, quiet)
            if not self._goes_on(run):
                break
            if time.monotonic() > end:
                raise DeadlineError(
                    f"the run has not ended after {seconds:g} s; it goes on", field=run, fix=f'{self.back}.wait("{run}") comes back to it'
                )
            time.sleep(0.1)
        _show(folder / background.PROGRESS, shown, quiet)
        self._let_go(folder, end)
        return self.get(run)

    def _let_go(self, folder: Path, end: float) -> None:
        """Wait until the process of a run that has ended lets the home go, so that the next one can begin."""
        path = folder / background.PID
        process = path.read_text() if path.is_file() else ""
        end = min(end, time.monotonic() + _LETS_GO)
        while process and str(self.home.holder()) == process and time.monotonic() < end:
            time.sleep(0.05)

    def get(self, run: str) -> Run:
        """A run: its end, or that it goes on. Raises `HomeError` for one that is not there, or was cut off."""
        path = self.home.runs / run / "outcome.json"
        if not path.is_file() and self._goes_on(run):
            return self._running(run)
        if not path.is_file():
            there = [p.parent.name for p in sorted(self.home.runs.glob("*/outcome.json"), key=lambda p: p.stat().st_mtime)[-3:]]
            known = bool(run) and (self.home.runs / run).is_dir()
            said = background.last_line(path.parent) if known else ""
            what = ("has not ended, and its process is gone" + (f": {said}" if said else "")) if known else "there is no such run"
            raise HomeError(what, field="run", value=run, fix=f"the last that ended: {', '.join(there) or 'none'}")
        return self._run(files.read_json(path))

    def status(self, run: str) -> dict[str, Any]:
        """``{run, state, steps, outcome}``. Raises `HomeError` for a run that is not there."""
        if run and (self.home.runs / run).is_dir() and not (self.home.runs / run / "outcome.json").exists():
            gates = self._gates_so_far(run)
            return {
                "run": run,
                "state": "running" if self.home.held() else "interrupted",
                "outcome": None,
                "steps": {g.step: g.decision for g in gates},
            }
        found = self.get(run)
        return {"run": run, "state": "finished", "outcome": found.outcome["outcome"], "steps": {g.step: g.decision for g in found.gates}}

    def history(self, name: str | None, limit: int | None) -> list[Run]:
        """Finished runs, newest first."""
        return [self._run(o) for o in self.home.outcomes(name)[:limit]]

    def report(self, run: str) -> Path:
        """The report's file."""
        return self.get(run).report

    def terminate(self, run: str) -> None:
        """End a run in the background, with all its processes. Raises `HomeError` for any other."""
        background.stop(self.home, run)

    def registry(self) -> Registry:
        """The home's registry of models."""
        return registry_of(self.home)

    def _goes_on(self, run: str) -> bool:
        """Whether a run has begun, not ended, and somebody holds the home."""
        return bool(run) and (self.home.runs / run).is_dir() and self.home.held() and not (self.home.runs / run / "outcome.json").is_file()

    def _gates_so_far(self, run: str) -> list[Gate]:
        return read_gates(self.home.artifacts / "pipelines" / run)

    def _running(self, run: str) -> Run:
        gates = self._gates_so_far(run)
        steps = [{"step": g.step, "decision": g.decision, "seconds": g.seconds, "reasons": list(g.reasons)} for g in gates]
        return Run(
            {
                "outcome": "running",
                "exit_code": None,
                "reasons": [],
                "run": run,
                "project": run.rsplit("-", 3)[0],
                "steps": steps,
                "report": str(self.home.reports / run / "index.html"),
            },
            tuple(gates),
            self.back,
        )

    def _run(self, outcome: dict[str, Any]) -> Run:
        folder = self.home.runs / outcome["run"] / "gates"
        return Run(outcome, tuple(Gate.read(folder / f"{s['step']}.json") for s in outcome["steps"]), self.back)


def _show(progress: Path, after: int, quiet: bool) -> int:
    """Write to stderr what a run in the background said after so many characters; returns how many there are."""
    if quiet or not progress.exists():
        return after
    said = progress.read_text(errors="replace")
    print(said[after:], end="", file=sys.stderr, flush=True)
    return len(said)
