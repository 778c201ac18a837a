"""Runs on a Kubeflow Pipelines endpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sluice.cli import checkout_command
from sluice.client.live import display_for
from sluice.client.runs import Run
from sluice.core import files
from sluice.core.errors import DeadlineError, ProjectError
from sluice.core.home import Home
from sluice.kfp import form, needs, site
from sluice.kfp import runs as reading
from sluice.kfp.client import Api
from sluice.kfp.connection import installation
from sluice.kfp.needs import Ready
from sluice.kfp.runs import Watch
from sluice.kfp.submit import Submitted, submit, upload, user_namespace
from sluice.project import Project, read_text, write_text
from sluice.registry.versions import Registry
from sluice.report import page

#: How long a run is followed unless told otherwise: seconds of two days.
LONGEST = 172800.0
#: What a project's file says, and the overrides over it.
Asked = tuple[Mapping[str, Any], Sequence[str]]


class Endpoint:
    """The runs of one endpoint.

    Args:
        api: the endpoint.
        home: where reports that are drawn here are written.
        image: of the steps, by digest; default ``$SLUICE_PIPELINE_IMAGE``.
        allow_tag: let the image be named by tag.
        tracking_uri: of the registry the endpoint's steps write to; default ``$MLFLOW_TRACKING_URI``.
        environment: the namespace Sluice is installed in. context: a kubeconfig's, to ask its ConfigMap with. offline: ask no cluster.
        unchecked: start a run whose steps seem to lack something.

    Raises (all methods):
        EndpointError: the endpoint does not answer, does not let us in, or has no such thing.
    """

    def __init__(
        self,
        api: Api,
        home: Home,
        *,
        image: str | None = None,
        allow_tag: bool = False,
        tracking_uri: str | None = None,
        environment: str | None = None,
        context: str | None = None,
        offline: bool = False,
        unchecked: bool = False,
    ):
        self.api, self.home, self.image, self.allow_tag, self.tracking_uri = api, home, image, allow_tag, tracking_uri
        self.environment, self.context, self.offline, self.unchecked = environment, context, offline, unchecked
        connection = api.connection
        at = connection.how.removeprefix("--endpoint ").partition(",")[0]
        self.back = f'Client(endpoint="{at}"' + (f', namespace="{connection.namespace}")' if connection.namespace else ")")

    def prepare(self, project: Project) -> Ready:
        """The project with the cluster's settings under its own. Raises `ProjectError` with all that its steps would lack."""
        told = site.ask(self.environment, context=self.context, offline=self.offline)
        if told.site and told.site.ui and not self.api.connection.ui:
            self.api.connection = dataclasses.replace(self.api.connection, ui=told.site.ui)
        runs = (user_namespace(self.api) or installation()) if told.kube else None
        return needs.prepare(project, told, image=self.image, allow_tag=self.allow_tag, runs=runs, unchecked=self.unchecked)

    def submit(
        self,
        project: Project,
        text: str,
        base_dir: Path | None = None,
        *,
        tune: bool = False,
        ready: Ready | None = None,
        asked: Asked | None = None,
    ) -> Submitted:
        """Compile a project and start a run of it, with `tune` of its tuning pipeline; nothing is relative there. Raises `ProjectError` too.

        Args:
            project, text: as it is to run, overrides applied.
            ready: what `prepare` gave, where that was asked already.
            asked: what its file says and the overrides over it: the file is compiled, and they are the run's own.
        """
        write = checkout_command("compile")
        ready = ready or self.prepare(project)
        base, set_ = form.split(*asked) if asked else (read_text(text, "the project"), "")
        values = form.fill(form.defaults(base, form.TUNING if tune else form.TRAINING), {form.SET: set_})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pipeline.yaml"
            made = write(ready.project, path, text=write_text(base), image=ready.image, allow_tag=self.allow_tag, tune=tune)
            return submit(
                self.api,
                pipeline=made["pipeline"],
                version=made["version"],
                text=path.read_text(),
                description=f"{project.name}: {project.task}",
                parameters=values,
                service_account=ready.project.cluster.service_account,
            )

    def upload(self, ready: Ready, text: str, *, tune: bool = False, name: str | None = None) -> dict[str, Any]:
        """Put a pipeline's version there and start nothing: the dashboard offers it, and PipelineRuns find it.

        Args:
            ready: what `prepare` gave. text: the project. name: of the pipeline, where it is for any project and this one only its example.

        Returns:
            ``{pipeline, version, reused}``.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pipeline.yaml"
            made = checkout_command("compile")(
                ready.project, path, text=text, image=ready.image, allow_tag=self.allow_tag, tune=tune, name=name
            )
            said = f"{ready.project.name}: {ready.project.task}" if name is None else "any project: data to a promoted model"
            there = upload(
                self.api,
                user_namespace(self.api),
                pipeline=made["pipeline"],
                version=made["version"],
                text=path.read_text(),
                description=said,
            )
        return {"pipeline": made["pipeline"], "version": made["version"], "reused": there[2]}

    def follow(self, run: str, title: str, *, seconds: float = LONGEST, quiet: bool = False) -> Run:
        """Show a run's progress until it ends. Of a failed step the log's last lines are shown.

        Raises:
            DeadlineError: it has not ended in time; it goes on.
        """
        with contextlib.closing(display_for(quiet)) as display:
            display.start(title)
            watch = Watch(self.api, run, display.event)
            try:
                watch.follow(seconds=seconds)
            except DeadlineError as e:
                page = self.api.run_url(run)
                raise DeadlineError(
                    e.message,
                    field=run,
                    value=e.value,
                    fix=f'{self.back}.wait("{run}") comes back to it' + (f"; its page: {page}" if page else ""),
                ) from None
        found = self._run(watch)
        if found.outcome["outcome"] == "failed" and not quiet:
            for line in watch.tail():
                print(f"    | {line}", file=sys.stderr)
        return found

    def run(
        self, project: Project, text: str, base_dir: Path, *, seconds: float | None = None, quiet: bool, asked: Asked | None = None
    ) -> Run:
        """Start a run and follow it to its end; its report is drawn here."""
        return self.wait(self.submit(project, text, asked=asked).run, seconds=seconds, quiet=quiet)

    def wait(self, run: str, *, seconds: float | None = None, quiet: bool = False) -> Run:
        """Follow a run to its end; its report is drawn here. Raises `DeadlineError` as `follow`."""
        name = self.api.run(run).get("display_name") or run
        found = self.follow(run, f"{name}  {self.api.run_page(run)}", seconds=LONGEST if seconds is None else seconds, quiet=quiet)
        return Run(found.outcome | {"report": str(self._draw(found))}, found.gates, self.back)

    def get(self, run: str) -> Run:
        """A run as it is now."""
        watch = Watch(self.api, run)
        watch.read()
        if watch.state in reading.TERMINAL:
            watch.settle()
        return self._run(watch)

    def status(self, run: str) -> dict[str, Any]:
        """``{run, state, steps, outcome}``: the steps' states as KFP names them."""
        found = self.api.run(run)
        state = str(found.get("state") or "PENDING")
        outcome = self.get(run).outcome["outcome"] if state in reading.TERMINAL else None
        return {"run": run, "state": "finished" if outcome else "running", "outcome": outcome, "steps": reading.step_states(found)}

    def history(self, name: str | None, limit: int | None) -> list[Run]:
        """Runs, newest first; of one project, or of every one the namespace holds. Runs of other pipelines are left out."""
        namespace = user_namespace(self.api)
        experiment = self.api.experiment(name, namespace) if name else None
        if name and experiment is None:
            return []
        found = self.api.runs(
            namespace=namespace, experiment_id=str(experiment["experiment_id"]) if experiment else None, limit=limit or 20
        )
        return [self.get(str(r["run_id"])) for r in found if r.get("state") not in reading.TERMINAL or reading.step_states(r)]

    def report(self, run: str) -> Path:
        """Draw a run's report from what its steps' logs tell; returns the file."""
        return self._draw(self.get(run))

    def terminate(self, run: str) -> None:
        """Ask for a run's end."""
        self.api.terminate(run)

    def registry(self) -> Registry:
        """Raises `ProjectError` where no registry was named."""
        uri = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            raise ProjectError(
                "the endpoint does not say where its models are registered",
                field="tracking_uri",
                fix="Client(endpoint=..., tracking_uri=...), or MLFLOW_TRACKING_URI",
            )
        return Registry(uri)

    def _run(self, watch: Watch) -> Run:
        outcome = watch.outcome() if watch.state in reading.TERMINAL else watch.so_far()
        return Run(outcome | {"project": _project_name(watch.run)}, tuple(watch.gates), self.back)

    def _draw(self, found: Run) -> Path:
        path = self.home.reports / found.id / "index.html"
        files.write_text(path, page.cluster_page(found.outcome, list(found.gates)))
        return path


def _project_name(run: dict[str, Any]) -> str:
    """A run's project, from the name `submit` gave it; else the run's own name."""
    name = str(run.get("display_name") or run.get("run_id"))
    parts = name.rsplit("-", 3)
    return parts[0] if len(parts) == 4 and len(parts[3]) == 4 else name
