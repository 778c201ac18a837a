"""The SDK: what the command line does, from a notebook."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluice import project as projects
from sluice.arguments.shared import project_file
from sluice.client import comparison, frames
from sluice.client.comparison import Comparison
from sluice.client.endpoint import Endpoint
from sluice.client.following import in_thread
from sluice.client.html import Html
from sluice.client.local import Local
from sluice.client.runs import Rollout, Run
from sluice.core.errors import ProjectError
from sluice.core.home import Home
from sluice.engines.predictor import Predictor
from sluice.kfp.client import Api
from sluice.kfp.connection import connect
from sluice.kfp.submit import Submitted
from sluice.package import package as packages
from sluice.project import Project
from sluice.registry.between import settings_between
from sluice.registry.references import find_version, locate
from sluice.registry.versions import Version

__all__ = ["Client", "Comparison", "Html", "Rollout", "Run", "Submitted"]


class Client:
    """Runs projects and looks at what came of them: on this machine, or on a Kubeflow Pipelines endpoint.

    Args:
        home: the folder of local state; default ``$SLUICE_HOME``, else ``.sluice``.
        endpoint: the URL of KFP's API, ``in-cluster`` or ``kubeconfig``; null: this machine.
        namespace: yours, where the endpoint has many users.
        token, token_file: a bearer token, or the file it is in (read anew for each request).
        context: of the kubeconfig; default its current one.
        ca: a file of certificates to trust.
        image: of the steps on the endpoint, by digest; default ``$SLUICE_PIPELINE_IMAGE``, else the cluster's own.
        allow_tag: let the image be named by tag.
        tracking_uri: of the registry the endpoint's steps write to; default ``$MLFLOW_TRACKING_URI``.
        environment: the namespace Sluice is installed in, whose ConfigMap says how steps reach things; default ``$SLUICE_NAMESPACE``, else ``sluice``.
        offline: ask no cluster for it: the project's own ``cluster:`` section says everything.

    Raises:
        ProjectError: an endpoint, a token or a kubeconfig that cannot be used. What the endpoint
            answers raises `sluice.kfp.errors.EndpointError` from the methods.
    """

    def __init__(
        self,
        home: str | Path | None = None,
        *,
        endpoint: str | None = None,
        namespace: str | None = None,
        token: str | None = None,
        token_file: str | Path | None = None,
        context: str | None = None,
        ca: str | None = None,
        image: str | None = None,
        allow_tag: bool = False,
        tracking_uri: str | None = None,
        environment: str | None = None,
        offline: bool = False,
    ):
        self.home = Home(home)
        self._where: Local | Endpoint = Local(self.home)
        if endpoint is not None:
            api = Api(connect(endpoint, namespace=namespace, token=token, token_file=token_file, context=context, ca=ca))
            self._where = Endpoint(
                api,
                self.home,
                image=image,
                allow_tag=allow_tag,
                tracking_uri=tracking_uri,
                environment=environment,
                context=context,
                offline=offline,
            )

    def run(
        self,
        project: Project | str | Path,
        overrides: projects.Overrides = (),
        *,
        data: Any = None,
        test: Any = None,
        base_dir: str | Path | None = None,
        timeout: float | None = None,
        quiet: bool = False,
    ) -> Run:
        """The whole pipeline, with a progress bar, to its end.

        Args:
            project: a project file's path, the folder of its ``sluice.yaml``, or a `Project`.
            overrides: ``{"a.b": value}``, or ``a.b=value`` as ``--set``; for a path only.
            data: a DataFrame (pandas, polars, Arrow) in place of ``data.source``; it is kept in the home, so the run can be repeated.
            test: another in place of ``data.test``; both are of this machine.
            base_dir: where relative paths start; default the project file's folder, or the working
                directory for a `Project` of no file. On an endpoint nothing is relative.
            timeout: seconds to wait; the run goes on past them, here too. Default: to its end; a run of this
                machine without a deadline ends with its caller.

        Raises:
            ProjectError, DataError, HomeError, EndpointError: before any work. What happens later is in the `Run`.
            DeadlineError: it has not ended in time; it says how to come back.
        """
        opened = _opened(project, overrides, base_dir, self._sources(data, test))
        return self._where.run(*opened, seconds=timeout, quiet=quiet, **self._asked(project, overrides))

    async def run_async(
        self,
        project: Project | str | Path,
        overrides: projects.Overrides = (),
        *,
        data: Any = None,
        test: Any = None,
        base_dir: str | Path | None = None,
        timeout: float | None = None,
        quiet: bool = False,
    ) -> Run:
        """`run` for an event loop: several runs of several homes or of an endpoint go side by side. A cancelled task leaves the run going on."""
        started = await in_thread(lambda: self.submit(project, overrides, data=data, test=test, base_dir=base_dir))
        return await self.wait_async(started.run, timeout=timeout, quiet=quiet)

    def submit(
        self,
        project: Project | str | Path,
        overrides: projects.Overrides = (),
        *,
        data: Any = None,
        test: Any = None,
        base_dir: str | Path | None = None,
        tune: bool = False,
    ) -> Submitted:
        """Start a run and come back: on the endpoint, with `tune` of the tuning pipeline; or here, in a process that outlives this one.

        Raises:
            ProjectError: the project is not fit for it. HomeError: another run holds the home.
        """
        opened = _opened(project, overrides, base_dir, self._sources(data, test))
        return self._where.submit(*opened, tune=tune, **self._asked(project, overrides))

    def wait(self, run: str, *, timeout: float | None = None, quiet: bool = False) -> Run:
        """Follow a run, by its id, to its end; of an endpoint at most two days unless told otherwise.

        Raises:
            DeadlineError: it has not ended after `timeout` seconds. It goes on, and the same call comes back to it.
            HomeError, EndpointError: there is no such run, or it was cut off.
        """
        return self._where.wait(run, seconds=timeout, quiet=quiet)

    async def wait_async(self, run: str, *, timeout: float | None = None, quiet: bool = False) -> Run:
        """`wait` for an event loop. Raises as `wait`; a cancelled task leaves the run going on."""
        return await in_thread(lambda: self._where.wait(run, seconds=timeout, quiet=quiet))

    def terminate(self, run: str) -> None:
        """Ask for the end of a run on the endpoint, or of one that `submit` started here. Raises `HomeError`, `EndpointError`."""
        self._where.terminate(run)

    def get(self, run: str) -> Run:
        """A run by its id, as it is now. Raises `HomeError` or `EndpointError` where there is none."""
        return self._where.get(run)

    def status(self, run: str) -> dict[str, Any]:
        """``{run, state: running | interrupted | finished, steps: {step: decision or state}, outcome}``."""
        return self._where.status(run)

    def history(self, name: str | None = None, limit: int | None = None) -> list[Run]:
        """Runs, newest first; of an endpoint the last 20 unless `limit` says otherwise."""
        return self._where.history(name, limit)

    def report(self, run: str) -> Path:
        """A run's report, one HTML file; of a run on an endpoint it is drawn now."""
        return self._where.report(run)

    def models(self, name: str) -> list[Version]:
        """A model's registered versions, newest first."""
        return self._where.registry().versions(name)

    def version(self, reference: str) -> Version:
        """``NAME@champion``, ``NAME@3`` or a digest. Raises `ProjectError`."""
        return find_version(reference, self._where.registry())

    def predictor(self, reference: str) -> Predictor:
        """A model in this process: ``client.predictor("digits@champion").predict(rows)``. Raises `PackageError`."""
        return Predictor(packages.read(self._locate(reference)))

    def predict(self, reference: str, frame: Any) -> Any:
        """A frame's rows with a model's answers behind them: ``client.predict("digits@champion", df)``.

        Args:
            frame: a DataFrame of pandas or polars, or an Arrow table, with the columns the model was trained on; others pass through.

        Returns:
            The same kind of frame with ``prediction`` and ``probability``, or ``value``, as `sluice predict` writes them.

        Raises:
            DataError: a column is missing, or a row cannot be used. PackageError, ProjectError: there is no such model.
        """
        return frames.predicted(packages.read(self._locate(reference)), frame)

    def compare(self, a: str, b: str) -> Comparison:
        """Two models side by side, each ``NAME@champion``, ``NAME@3`` or a digest. Raises `ProjectError` where there is none."""
        registry = self._where.registry()
        versions = find_version(a, registry), find_version(b, registry)
        return comparison.of(*versions, self.home, *settings_between(registry, *versions))

    def export(self, reference: str, folder: str | Path) -> Path:
        """Copy a package out of the store, to serve it elsewhere. The folder must not exist."""
        return Path(shutil.copytree(self._locate(reference), folder))

    def _asked(self, project: Project | str | Path, overrides: projects.Overrides) -> dict[str, Any]:
        """What an endpoint is told besides: the same file is the same version of a pipeline there, whatever it is started with."""
        if isinstance(project, Project) or not isinstance(self._where, Endpoint):
            return {}
        return {"asked": (projects.read_yaml(project_file(str(project))), projects.items(overrides))}

    def _sources(self, data: Any, test: Any) -> dict[str, Any]:
        """What stands in the project's ``data`` for frames that are given."""
        given = {key: (frame, name) for key, frame, name in (("source", data, "data"), ("test", test, "test")) if frame is not None}
        if given and isinstance(self._where, Endpoint):
            raise ProjectError(
                "is of this machine", field="data", fix="put the rows in an object store, and name them: data.source: s3://..."
            )
        return {key: str(frames.keep(frame, self.home, name)) for key, (frame, name) in given.items()}

    def _locate(self, reference: str) -> Path:
        return locate(reference, self.home, self._where.registry() if isinstance(self._where, Endpoint) else None)


def _opened(
    project: Project | str | Path, overrides: projects.Overrides, base_dir: str | Path | None, sources: Mapping[str, Any] | None = None
) -> tuple[Project, str, Path]:
    """The project, checked; its text with defaults left out; where its relative paths start.

    Args:
        sources: what takes the place of ``data.source`` and ``data.test``: Parquet files, so how a text is read is left out.
    """
    if isinstance(project, Project) and overrides:
        raise ProjectError(
            "goes with a project file's path", field="overrides", value=projects.items(overrides), fix="Project.load(path, overrides)"
        )
    if isinstance(project, Project):
        raw, base = project.model_dump(mode="json", exclude_unset=True), Path(base_dir or project.base_dir or ".")
    else:
        project = project_file(str(project))
        raw, base = projects.read_yaml(project), Path(base_dir or project.resolve().parent)
        for item in projects.items(overrides):
            projects.override(raw, item)
    if sources:
        kept = {**(raw.get("data") or {}), **sources}
        files = all(str(kept.get(k) or sources[next(iter(sources))]).endswith(".parquet") for k in ("source", "test"))
        raw = {**raw, "data": {k: v for k, v in kept.items() if k != "format" and not (files and k in _OF_TEXT)}}
    return projects.parse(raw, base_dir=base), projects.write_text(raw), base


#: Keys of ``data`` that say how a file of text is read.
_OF_TEXT = ("delimiter", "quote", "header", "encoding")
