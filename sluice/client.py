"""The SDK: what the command line does, from a notebook."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from sluice import files
from sluice import project as projects
from sluice.commands.history import find_version, registry_of
from sluice.commands.serve import locate
from sluice.errors import ProjectError
from sluice.gates import Gate
from sluice.home import Home
from sluice.packaging import package as packages
from sluice.packaging.predictor import Predictor
from sluice.project import Project
from sluice.report import page, style, svg
from sluice.tracking.registry import Version


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        outcome: what ``sluice run --json`` prints.
        gates: every step's decision and evidence, in pipeline order.
    """

    outcome: dict[str, Any]
    gates: tuple[Gate, ...]

    @property
    def promoted(self) -> bool:
        return bool(self.outcome["outcome"] == "promoted")

    @property
    def digest(self) -> str | None:
        return self.outcome.get("digest")

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return Path(self.outcome["report"])

    def gate(self, step: str) -> Gate | None:
        return next((g for g in self.gates if g.step == step), None)

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics on the held-out rows; empty when the run did not get that far."""
        found = self.gate("evaluate")
        return {name: m["value"] for name, m in found.evidence["evaluation"]["metrics"].items()} if found else {}

    @property
    def curves(self) -> list[dict[str, Any]]:
        """The training history, one entry an epoch."""
        found = self.gate("train")
        return list(found.evidence["history"]) if found else []

    def show(self, step: str) -> Html:
        """One step's evidence, drawn in the notebook. Raises `KeyError` for a step that was not reached."""
        found = self.gate(step)
        if found is None:
            raise KeyError(f"{step} was not reached; there is {', '.join(g.step for g in self.gates)}")
        return Html(page.section(found))

    def _repr_html_(self) -> str:
        word = str(self.outcome["outcome"])
        numbers = "".join(f"<li>{escape(k)}: {svg.number(v)}</li>" for k, v in self.metrics.items())
        reasons = "".join(f"<li>{escape(r)}</li>" for r in self.outcome["reasons"]) if not self.promoted else ""
        return Html(f'<h3>{escape(self.outcome["project"])} <span class="badge {word}">{word.replace("_", " ")}</span></h3>'
                    f'<ul>{numbers}{reasons}</ul><p class="note">{escape(self.outcome["report"])}</p>')._repr_html_()  # fmt: skip


class Html:
    """A piece of a report a notebook draws, with its style kept to itself."""

    def __init__(self, body: str):
        self.body = body

    def _repr_html_(self) -> str:
        source = escape(f"<style>{style.CSS}</style><main>{self.body}</main>", quote=True)
        grow = "this.style.height=this.contentWindow.document.documentElement.scrollHeight+'px'"
        return f'<iframe srcdoc="{source}" style="width:100%;border:0" onload="{grow}"></iframe>'


class Client:
    """Runs projects and looks at what came of them, on this machine.

    Args:
        home: the folder of local state; default ``$SLUICE_HOME``, else ``.sluice``.
    """

    def __init__(self, home: str | Path | None = None):
        self.home = Home(home)

    def run(self, project: Project | str | Path, overrides: Sequence[str] = (), *, base_dir: str | Path | None = None, quiet: bool = False) -> Run:
        """The whole pipeline here, with a progress bar.

        Args:
            project: a project file's path, or a `Project`.
            overrides: ``a.b=value``, as ``--set``; for a path only.
            base_dir: where relative paths start; default the file's folder, or the working directory.

        Raises:
            ProjectError, HomeError: before any work. What happens later is in the `Run`.
        """
        from sluice.cli import checkout_command

        if isinstance(project, Project) and overrides:
            raise ProjectError("goes with a project file's path", field="overrides", value=list(overrides), fix="Project.load(path, overrides)")
        if isinstance(project, Project):
            raw, base = project.model_dump(mode="json", exclude_unset=True), Path(base_dir or ".")
        else:
            raw, base = projects.read_yaml(Path(project)), Path(base_dir or Path(project).resolve().parent)
            for item in overrides:
                projects.override(raw, item)
        settings = projects.parse(raw, base_dir=base)
        outcome = checkout_command("run")(settings, text=files.canonical_json(raw).decode(), base_dir=base, home=self.home,
                                          command="Client.run", quiet=quiet)  # fmt: skip
        return self._run(outcome)

    def _run(self, outcome: dict[str, Any]) -> Run:
        folder = self.home.runs / outcome["run"] / "gates"
        gates = [Gate.read(folder / f"{s['step']}.json") for s in outcome["steps"]]
        return Run(outcome, tuple(gates))

    def history(self, name: str | None = None) -> list[Run]:
        """Finished runs, newest first."""
        found = [files.read_json(p) for p in self.home.runs.glob("*/outcome.json")]
        return [self._run(o) for o in sorted(found, key=lambda o: o["run"].rsplit("-", 3)[1:], reverse=True) if name in (None, o["project"])]

    def models(self, name: str) -> list[Version]:
        """A model's registered versions, newest first."""
        return registry_of(self.home).versions(name)

    def version(self, reference: str) -> Version:
        """``NAME@champion``, ``NAME@3`` or a digest. Raises `ProjectError`."""
        return find_version(reference, self.home)

    def predictor(self, reference: str) -> Predictor:
        """A model in this process: ``client.predictor("digits@champion").predict(rows)``. Raises `PackageError`."""
        return Predictor(packages.read(locate(reference, self.home)))

    def export(self, reference: str, folder: str | Path) -> Path:
        """Copy a package out of the store, to serve it elsewhere. The folder must not exist."""
        return Path(shutil.copytree(locate(reference, self.home), folder))
