"""A home on this machine, as the pages show it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from sluice.audit.log import open_log
from sluice.core.errors import ProjectError, SluiceError
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.promotion import config
from sluice.promotion.promote import Promoted, Request, promote
from sluice.promotion.rollback import Asked, Back, roll_back
from sluice.registry.environments import DEV, ENVIRONMENTS
from sluice.registry.references import registry_of
from sluice.registry.versions import Registry
from sluice.rollouts import again, control
from sluice.rollouts.store import Store
from sluice.steps import step as steps
from sluice.ui import models, monitors
from sluice.ui.index import Index, named, read, read_json
from sluice.ui.shape import Compared, Missing, ModelLine, Page, RunView, StepLine, rollout_of
from sluice.ui.trail import Trail, Trails

#: Characters of a project's text that are shown.
_TEXT = 20_000
#: Seconds within which a command that cannot begin says so.
_SOON = 4.0


class HomePlace:
    """Everything a local run wrote."""

    cluster = False
    outcomes: Sequence[str] = ("promoted", "refused", "rolled_back", "failed", "running", "interrupted")

    def __init__(self, home: Home):
        self.home, self.where = home, str(home.root)
        self.index = Index(home)
        self._registry: tuple[str, Registry] | None = None
        self._trails = Trails()

    def registry(self) -> Registry | None:
        """The home's own, or the one its last run wrote to; None before the first run."""
        uri = os.environ.get("MLFLOW_TRACKING_URI") or self.home.tracking_uri
        if self._registry is None or self._registry[0] != uri:
            try:
                self._registry = (uri, registry_of(self.home))
            except ProjectError:
                return None
        return self._registry[1]

    # -- runs

    def runs(self, number: int, project: str, outcome: str) -> Page:
        """As `Place` says."""
        return self.index.page(number, project, outcome)

    def projects(self) -> Sequence[str]:
        """As `Place` says."""
        return self.index.projects()

    def run(self, name: str) -> RunView:
        """As `Place` says."""
        line = self.index.line(name)
        folder = self.home.runs / name
        outcome: dict[str, Any] = {}
        with contextlib.suppress(Missing):
            outcome = read_json(folder / "outcome.json", self.home.runs)
        settings = ""
        for file in ("project.yaml", "project.json"):
            with contextlib.suppress(Missing):
                settings = settings or read(folder / file, self.home.runs).decode("utf-8", "replace")[:_TEXT]
        return RunView(
            line,
            self._steps(name, outcome),
            texts(outcome.get("reasons")),
            texts(outcome.get("cautions")),
            fault(outcome.get("error")),
            (self.home.reports / name / "index.html").is_file(),
            settings,
            then=texts(outcome.get("next")),
        )

    def _steps(self, name: str, outcome: Mapping[str, Any]) -> list[StepLine]:
        gates = {}
        for path in sorted((self.home.runs / name / "gates").glob("*.json"))[:100]:
            with contextlib.suppress(Missing, KeyError, TypeError, ValueError):
                gate = Gate.of(read_json(path, self.home.runs))
                gates[str(gate.step)] = gate
        failed = str((outcome.get("error") or {}).get("step") or "") if isinstance(outcome.get("error"), dict) else ""
        every = {n: gates.get(n) or Gate(n, "pass") for n in dict.fromkeys((*steps.NAMES, *gates))}
        return [
            StepLine(g.step, steps.title(g), str(g.decision), g.seconds, texts(list(g.reasons)))
            if g.step in gates
            else StepLine(g.step, steps.title(g), "failed" if g.step == failed else "not reached")
            for g in steps.in_order(every)
        ]

    def report(self, name: str) -> bytes:
        """As `Place` says."""
        return read(self.home.reports / named(name) / "index.html", self.home.reports)

    # -- models

    def models(self) -> Sequence[ModelLine]:
        """As `Place` says."""
        registry = self.registry()
        return [] if registry is None else [ModelLine(m, found) for m, found in registry.every().items()]

    def model(self, name: str) -> ModelLine:
        """As `Place` says."""
        registry = self.registry()
        if registry is None or name not in registry.models():
            raise Missing("no such model here", field="model", value=name[:200], fix="the list of models has those there are")
        return ModelLine(name, registry.versions(name))

    def compare(self, a: str, b: str) -> Compared:
        """As `Place` says."""
        return models.compared(self._needed(), a, b)

    # -- rollouts

    def rollouts(self) -> Sequence[Mapping[str, Any]]:
        """As `Place` says: a line of each, those that run first."""
        out = []
        for name in Store(self.home.root, "-").others()[:500]:
            with contextlib.suppress(SluiceError, KeyError, TypeError):
                out.append(self.rollout(name))
        return sorted(out, key=lambda r: (not r["running"], -float(r["updated"] or 0)))

    def rollout(self, name: str) -> Mapping[str, Any]:
        """As `Place` says."""
        try:
            found = control.status(self.home.root, named(name))
            plan = Store(self.home.root, name).load().get("plan")
        except (KeyError, TypeError, AttributeError, ValueError) as e:
            raise Missing(
                "what is kept of it is of another kind", field="rollout", value=name, fix="`sluice run` begins the next one"
            ) from e
        alpha = plan.get("alpha") if isinstance(plan, dict) else None
        return rollout_of({**found, "alpha": alpha if isinstance(alpha, float) and 0 < alpha < 1 else None})

    def changed(self, name: str) -> Any:
        """As `Place` says: by the times of its files."""
        root = Store(self.home.root, named(name)).root
        out = []
        for file in ("state.json", "events.jsonl", "result.json"):
            with contextlib.suppress(OSError):
                out.append((root / file).stat().st_mtime_ns)
        return (*out, Store(self.home.root, name).driven())

    def monitors(self) -> Sequence[monitors.Monitor]:
        """As `Place` says."""
        return monitors.of_home(self.home)

    # -- the audit log

    def audit(self, number: int, model: str) -> Trail:
        """As `Place` says."""
        return self._trails.read(open_log(self.home), number, model)

    # -- what changes something

    def environments(self) -> Sequence[str]:
        """As `Place` says."""
        return list(dict.fromkeys([DEV, *(config.read(self.home).environments or ENVIRONMENTS)]))

    def command(self, name: str, command: str, reason: str) -> None:
        """As `Place` says."""
        if command == "retry":
            self.rollout(name)
            again.kept(self.home.root, name)
            self._retry(name)
        else:
            control.request(self.home.root, named(name), command, reason)

    def _retry(self, name: str) -> None:
        """A process of its own, which goes on when this one ends."""
        said = Store(self.home.root, name).root / "retry.log"
        asked = [sys.executable, "-m", "sluice", "rollout", "retry", "--home", str(self.home.root), "--quiet", "--json", "--", name]
        with said.open("wb") as out:
            process = subprocess.Popen(asked, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        try:
            code = process.wait(_SOON)
        except subprocess.TimeoutExpired:
            threading.Thread(target=process.wait, daemon=True).start()
            return
        if code not in (0, 4):
            last = said.read_bytes()[-2000:].decode("utf-8", "replace").strip()
            raise SluiceError(f"it did not begin: {last}", field="sluice rollout retry", value=name)

    def promote(self, reference: str, target: str, reason: str, override: bool, dry_run: bool) -> Promoted:
        """As `Place` says."""
        asked = Request(reference, target, reason=reason, override=override, dry_run=dry_run)
        return promote(asked, self.home, self._needed(), config.read(self.home), open_log(self.home))

    def rollback(self, model: str, environment: str, reason: str, dry_run: bool) -> Back:
        """As `Place` says."""
        rules = config.read(self.home).get(environment, "environment")
        asked = Asked(model, environment, rules, reason, dry_run=dry_run)
        return roll_back(asked, self.home, None if rules.namespace else self._needed(), open_log(self.home))

    def _needed(self) -> Registry:
        found = self.registry()
        if found is None:
            raise Missing("nothing was run in this home yet", field="model", fix="`sluice run PROJECT` first")
        return found


def fault(found: Any) -> dict[str, str]:
    """What ought to be an error of `SluiceError.to_dict`: its message, field, value and fix; empty where there is none."""
    if not isinstance(found, dict):
        return {}
    return {k: "" if found.get(k) is None else str(found[k])[:2000] for k in ("message", "field", "value", "fix")}


def texts(found: Any) -> list[str]:
    """What ought to be a list of sentences."""
    return [str(r)[:2000] for r in found[:100]] if isinstance(found, list) else []
