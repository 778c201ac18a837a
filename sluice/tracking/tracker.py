"""Writing a run down: parameters, curves, artifacts. A tracker that is down never stops the work."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sluice.errors import MissingExtra, SluiceError, first_line
from sluice.files import PARTIAL
from sluice.home import Home
from sluice.project import Project
from sluice.tracking import sqlite

log = logging.getLogger(__name__)

_EXTRA = {"mlflow": "tracking"}

#: Milliseconds since 1970, name, value, step.
Metric = tuple[int, str, float, int]


class Tracker(Protocol):
    """One tracked run. Nothing here raises: what cannot be sent is kept and sent later, or warned about."""

    run_id: str | None

    def params(self, values: dict[str, Any]) -> None: ...
    def tags(self, values: dict[str, str]) -> None: ...
    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None: ...
    def artifact(self, path: Path, folder: str | None = None) -> None: ...
    def child(self, name: str, points: Sequence[tuple[int, Mapping[str, float]]], tags: Mapping[str, str]) -> None: ...
    def finish(self, status: str = "FINISHED") -> None: ...


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": 1}``; lists stay values."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            flat |= flatten(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = item
    return flat


class MLflowTracker:
    """MLflow through its client. Metrics that fail to go out are buffered, at most 10,000, and tried again."""

    def __init__(self, uri: str, experiment: str, *, artifacts: str | None = None, run_id: str | None = None, name: str | None = None):
        self.run_id = run_id
        self._waiting: list[Metric] = []
        self._warned = False
        self._client = client(uri)
        with self._safe("start the run"):
            if run_id is None:
                found = self._client.get_experiment_by_name(experiment)
                number = found.experiment_id if found else self._client.create_experiment(experiment, artifact_location=artifacts)
                self.run_id = self._client.create_run(number, run_name=name).info.run_id

    @contextlib.contextmanager
    def _safe(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as e:
            level = logging.DEBUG if self._warned else logging.WARNING
            log.log(level, "tracking: could not %s (%s: %s); the work goes on", what, type(e).__name__, str(e).split("\n")[0][:200])
            self._warned = True

    def params(self, values: dict[str, Any]) -> None:
        from mlflow.entities import Param

        with self._safe("log parameters"):
            self._client.log_batch(self.run_id, params=[Param(k, str(v)[:6000]) for k, v in flatten(values).items()])

    def tags(self, values: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        with self._safe("set tags"):
            self._client.log_batch(self.run_id, tags=[RunTag(k, str(v)[:5000]) for k, v in values.items()])

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        now = int(time.time() * 1000)
        self._waiting = [*self._waiting, *((now, k, float(v), step) for k, v in values.items() if v is not None)][-10_000:]
        self._flush()

    def _flush(self) -> None:
        from mlflow.entities import Metric as Entity

        with self._safe("log metrics"):
            for at in range(0, len(self._waiting), 1000):
                batch = [Entity(k, v, t, s) for t, k, v, s in self._waiting[at : at + 1000]]
                self._client.log_batch(self.run_id, metrics=batch)
            self._waiting = []

    def artifact(self, path: Path, folder: str | None = None) -> None:
        with self._safe(f"log artifact {path.name}"):
            if path.is_dir():
                self._client.log_artifacts(self.run_id, str(path), folder)
            else:
                self._client.log_artifact(self.run_id, str(path), folder)

    def child(self, name: str, points: Sequence[tuple[int, Mapping[str, float]]], tags: Mapping[str, str]) -> None:
        """Write a finished run below this one: its curves as (step, values), its tags."""
        from mlflow.entities import Metric as Entity
        from mlflow.entities import RunTag

        now = int(time.time() * 1000)
        found = [Entity(k, float(v), now, step) for step, values in points for k, v in values.items()]
        with self._safe(f"log the run {name}"):
            number = self._client.get_run(self.run_id).info.experiment_id
            made = self._client.create_run(number, run_name=name, tags={"mlflow.parentRunId": self.run_id or ""}).info.run_id
            self._client.log_batch(made, tags=[RunTag(k, v[:5000]) for k, v in tags.items()])
            for at in range(0, len(found), 1000):
                self._client.log_batch(made, metrics=found[at : at + 1000])
            self._client.set_terminated(made, "FINISHED")

    def finish(self, status: str = "FINISHED") -> None:
        self._flush()
        with self._safe("finish the run"):
            self._client.set_terminated(self.run_id, status)


def client(uri: str) -> Any:
    """An `MlflowClient` with short timeouts, quiet about its own set-up.

    Raises:
        MissingExtra: mlflow is not installed.
        SluiceError: the address is of no kind MLflow knows, or its driver is missing.
    """
    for key, value in {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "GIT_PYTHON_REFRESH": "quiet",
                       "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}.items():  # fmt: skip
        os.environ.setdefault(key, value)
    try:
        from mlflow import MlflowClient
    except ImportError as e:
        raise MissingExtra("needs mlflow", field="tracking.backend", value="mlflow", fix="pip install 'sluice-ml[tracking]'") from e
    for name in ("mlflow", "alembic"):  # after the import, which sets its own levels
        logging.getLogger(name).setLevel(logging.WARNING)
    path = sqlite.path_of(uri)
    if path is not None and not path.exists():
        _create_database(path, MlflowClient)
    try:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except Exception as e:  # an unknown scheme, a missing database driver
        raise SluiceError(f"cannot be used: {type(e).__name__}: {first_line(e, 200)}", field="tracking.uri", value=uri,
                          fix="sqlite:///file.db, http(s)://server, or a database whose driver is installed") from e  # fmt: skip


def _create_database(path: Path, make: Any) -> None:
    """Make MLflow's tables beside the final place: a process killed half-way leaves no half a database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL}{path.name}.{secrets.token_hex(4)}-{os.getpid()}")  # a new name: MLflow keeps stores by address
    address = sqlite.uri_of(partial)
    make(tracking_uri=address, registry_uri=address).search_registered_models(max_results=1)
    make(tracking_uri=address).search_experiments(max_results=1)
    with contextlib.suppress(FileExistsError):  # another process was first: its database serves as well
        os.link(partial, path)
    partial.unlink(missing_ok=True)


def tracking_uri(project: Project, home: Home) -> str:
    """The project's own server, the environment's, or the home's SQLite file, in this order."""
    return project.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or home.tracking_uri


def check_trackers(project: Project) -> None:
    """Raises `MissingExtra` for a tracker whose package is not installed: before training, not after it."""
    for name in ("mlflow", *project.tracking.also):
        if importlib.util.find_spec(name) is None:
            raise MissingExtra("is not installed", field="tracking", value=name, fix=f"pip install 'sluice-ml[{_EXTRA.get(name, name)}]'")


def open_tracker(project: Project, home: Home, *, run_id: str | None = None, name: str | None = None) -> Tracker:
    """The project's tracker; a new run, or the one `run_id` names."""
    uri = tracking_uri(project, home)
    artifacts = (home.artifacts / "mlflow").as_uri() if uri.startswith("sqlite") else None
    first: Tracker = MLflowTracker(uri, project.tracking.experiment or project.name, artifacts=artifacts, run_id=run_id, name=name)
    if not project.tracking.also:
        return first
    from sluice.tracking.also import Several, open_also

    return Several([first, *(open_also(kind, project, home, name or first.run_id or project.name) for kind in project.tracking.also)])
