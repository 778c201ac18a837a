"""MLflow: the first tracker, whose run is the run."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sluice.core import sqlite
from sluice.core.errors import MissingExtra, SluiceError, first_line
from sluice.core.files import PARTIAL
from sluice.core.imports import ONE_AT_A_TIME
from sluice.tracking import schema
from sluice.tracking.outbox import Outbox
from sluice.tracking.tracker import Data, flatten

log = logging.getLogger(__name__)

#: What MLflow 3 opens an experiment as; without it a guess, and that may be its view of chats and prompts.
_KIND, _TRAINING = "mlflow.experimentKind", "custom_model_development"
#: Characters of a dataset's digest that MLflow keeps.
_DIGEST = 36
#: Columns of a dataset whose kinds are told.
_COLUMNS = 2000
#: Metrics that wait at most; beyond them the oldest go.
_METRICS = 10_000
#: MLflow's words for "not this, whenever you ask".
_REFUSALS = (
    "INVALID_PARAMETER_VALUE",
    "BAD_REQUEST",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "CUSTOMER_UNAUTHORIZED",
    "ENDPOINT_NOT_FOUND",
    "NOT_IMPLEMENTED",
)

#: Milliseconds since 1970, name, value, step.
Metric = tuple[int, str, float, int]


class MLflowTracker:
    """MLflow through its client. What does not go out waits, in bounds, and goes out when the server answers again.

    Args:
        uri: the server or database. experiment: its name. artifacts: where a new experiment keeps files. run_id: a run to add to; None begins one.
        name: of a new run. say: told, once, that the server does not answer.

    Attributes:
        run_id: None until the server has made the run.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        *,
        artifacts: str | None = None,
        run_id: str | None = None,
        name: str | None = None,
        say: Callable[[str], None] = log.warning,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.run_id = run_id
        self._waiting: list[Metric] = []
        self._client = client(uri)
        self._outbox = Outbox("MLflow", say=say, refused=_refused, clock=clock)
        if run_id is None:
            self._outbox.put("start the run", lambda: self._start(experiment, artifacts, name))

    def _start(self, experiment: str, artifacts: str | None, name: str | None) -> None:
        self.run_id = self._client.create_run(self._experiment(experiment, artifacts), run_name=name).info.run_id

    def _experiment(self, name: str, artifacts: str | None) -> str:
        """The number of the experiment, made where there is none."""
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=artifacts, tags={_KIND: _TRAINING}))
            except MlflowException:  # another process of the study was first
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if _KIND not in found.tags:
            self._client.set_experiment_tag(found.experiment_id, _KIND, _TRAINING)
        return str(found.experiment_id)

    def _put(self, what: str, call: Callable[[str], None]) -> None:
        """Make a call that takes the run's id."""

        def with_run() -> None:
            if self.run_id is None:
                raise _NoRun("the run could not be started")
            call(self.run_id)

        self._outbox.put(what, with_run)

    def params(self, values: dict[str, Any]) -> None:
        """Log parameters; nested ones get dotted names, and a value is cut at 6,000 characters."""
        from mlflow.entities import Param

        found = [Param(k, str(v)[:6000]) for k, v in flatten(values).items()]
        self._put("log parameters", lambda run: self._client.log_batch(run, params=found))

    def tags(self, values: dict[str, str]) -> None:
        """Set tags; a value is cut at 5,000 characters."""
        from mlflow.entities import RunTag

        found = [RunTag(k, str(v)[:5000]) for k, v in values.items()]
        self._put("set tags", lambda run: self._client.log_batch(run, tags=found))

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        """Log metrics of one step; None is left out. While the server is away the newest wait, a bounded number."""
        now = int(time.time() * 1000)
        self._waiting = [*self._waiting, *((now, k, float(v), step) for k, v in values.items() if v is not None)][-_METRICS:]
        if self._outbox.holds("log metrics"):
            self._outbox.flush()
        elif self._waiting:
            self._put("log metrics", self._send)

    def _send(self, run: str) -> None:
        from mlflow.entities import Metric as Entity

        while self._waiting:
            batch = self._waiting[:1000]
            self._client.log_batch(run, metrics=[Entity(k, v, t, s) for t, k, v, s in batch])
            self._waiting = self._waiting[len(batch) :]

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file, or a whole folder, below `folder`."""
        send = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        self._put(f"log artifact {path.name}", lambda run: send(run, str(path), folder))

    def dataset(self, data: Data) -> None:
        """Write down what the run learned from; of the digest as many digits as MLflow keeps, and the whole of it in the profile."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        from sluice.tracking.card import schema

        scheme, there, _ = data.source.partition("://")
        kind = scheme if there else "local"
        found = Dataset(
            name=data.name,
            digest=data.digest[:_DIGEST],
            source_type=kind,
            source=json.dumps({"url" if kind in ("http", "https") else "uri": data.source}),
            schema=json.dumps({"mlflow_colspec": schema(data.columns)}) if len(data.columns) <= _COLUMNS else None,
            profile=json.dumps(
                {
                    "digest": f"sha256:{data.digest}",
                    "num_rows": sum(data.rows.values()),
                    **{f"num_rows_{k}": v for k, v in data.rows.items()},
                }
            ),
        )
        entry = DatasetInput(found, [InputTag("mlflow.data.context", "training")])
        self._put("log the dataset", lambda run: self._client.log_inputs(run, [entry]))

    def child(self, name: str, points: Sequence[tuple[int, Mapping[str, float]]], tags: Mapping[str, str]) -> None:
        """Write a finished run below this one: its curves as (step, values), its tags."""
        from mlflow.entities import Metric as Entity
        from mlflow.entities import RunTag

        now = int(time.time() * 1000)
        found = [Entity(k, float(v), now, step) for step, values in points for k, v in values.items()]
        made: list[str] = []

        def write(run: str) -> None:
            if not made:
                number = self._client.get_run(run).info.experiment_id
                made.append(self._client.create_run(number, run_name=name, tags={"mlflow.parentRunId": run}).info.run_id)
            self._client.log_batch(made[0], tags=[RunTag(k, v[:5000]) for k, v in tags.items()])
            for at in range(0, len(found), 1000):
                self._client.log_batch(made[0], metrics=found[at : at + 1000])
            self._client.set_terminated(made[0], "FINISHED")

        self._put(f"log the run {name}", write)

    def finish(self, status: str = "FINISHED") -> None:
        """End the run and send what still waits."""
        self._put("finish the run", lambda run: self._client.set_terminated(run, status))
        self._outbox.flush(last=True)


class _NoRun(Exception):
    """Nothing can be told of a run that MLflow refused to make."""


def _refused(error: Exception) -> bool:
    """Whether MLflow answered, and will answer the same again."""
    return isinstance(error, _NoRun | FileNotFoundError) or getattr(error, "error_code", None) in _REFUSALS


def client(uri: str) -> Any:
    """An `MlflowClient` with short timeouts, quiet about its own set-up.

    Raises:
        MissingExtra: mlflow is not installed.
        SluiceError: the address is of no kind MLflow knows, or its driver is missing.
    """
    MlflowClient = _mlflow_client()
    uri = sqlite.meant(uri)
    path = sqlite.path_of(uri)
    if path is not None and not path.exists():
        _create_database(path)
    try:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except Exception as e:  # an unknown scheme, a missing database driver
        raise SluiceError(
            f"cannot be used: {type(e).__name__}: {first_line(e, 200)}",
            field="tracking.uri",
            value=uri,
            fix="sqlite:///file.db, http(s)://server, or a database whose driver is installed",
        ) from e


def _mlflow_client() -> Any:
    """MLflow's client class, imported with short time-outs and told to be quiet."""
    for key, value in {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }.items():
        os.environ.setdefault(key, value)
    try:
        with ONE_AT_A_TIME:
            from mlflow import MlflowClient
    except ModuleNotFoundError as e:
        raise MissingExtra("needs mlflow", field="tracking.backend", value="mlflow", fix="pip install 'sluice-ml[tracking]'") from e
    for name in ("mlflow", "alembic"):  # after the import, which sets its own levels
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient


def preload() -> None:
    """Import what a tracker at a database imports, and open nothing: for a process that is to be forked.

    Raises:
        MissingExtra: mlflow is not installed.
    """
    with _absent("polars"):
        _mlflow_client()
    for name in ("store.tracking.sqlalchemy_store", "store.model_registry.sqlalchemy_store", "store.artifact.local_artifact_repo"):
        importlib.import_module(f"mlflow.{name}")
    for name in ("alembic.command", "sqlalchemy.dialects.sqlite"):
        importlib.import_module(name)


@contextlib.contextmanager
def _absent(name: str) -> Iterator[None]:
    """As if a module were not installed. MLflow imports polars wherever it is, which starts threads: none may run in a process that is to be forked."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(name, None)


def _create_database(path: Path) -> None:
    """Make MLflow's tables beside the final place: a process killed half-way leaves no half a database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL}{path.name}.{secrets.token_hex(4)}-{os.getpid()}")  # a new name: MLflow keeps stores by address
    schema.fill(partial)
    make_tables(partial)
    with contextlib.suppress(FileExistsError):  # another process was first: its database serves as well
        os.link(partial, path)
    partial.unlink(missing_ok=True)


def make_tables(path: Path) -> None:
    """Have MLflow make what its database lacks: all its tables, or the experiment it begins with alone."""
    make, address = _mlflow_client(), sqlite.uri_of(path)
    make(tracking_uri=address, registry_uri=address).search_registered_models(max_results=1)
    make(tracking_uri=address).search_experiments(max_results=1)
