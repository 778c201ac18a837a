"""Writing a run down: parameters, curves, artifacts. A tracker that is down never stops the work."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from sluice.core.errors import MissingExtra, ProjectError
from sluice.core.home import Home
from sluice.project import Project
from sluice.tracking.config import TRACKERS

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Data:
    """The rows a run learned from.

    Attributes:
        name: the project's. digest: theirs, hex. source: where they came from, as the project says it.
        columns: feature -> kind. rows: split -> how many.
    """

    name: str
    digest: str
    source: str
    columns: dict[str, str]
    rows: dict[str, int]


class Tracker(Protocol):
    """One tracked run. Nothing here raises: what cannot be sent is kept and sent later, or warned about."""

    @property
    def run_id(self) -> str | None: ...

    def params(self, values: dict[str, Any]) -> None: ...
    def tags(self, values: dict[str, str]) -> None: ...
    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None: ...
    def artifact(self, path: Path, folder: str | None = None) -> None: ...
    def dataset(self, data: Data) -> None: ...
    def child(self, name: str, points: Sequence[tuple[int, Mapping[str, float]]], tags: Mapping[str, str]) -> None: ...
    def finish(self, status: str = "FINISHED") -> None: ...


@dataclasses.dataclass(frozen=True)
class Needs:
    """The package that a tracker is made of.

    Attributes:
        module: what is imported. extra: of ours that installs it; "" for a package of someone else's.
    """

    module: str
    extra: str = ""


class Beside(Tracker, Protocol):
    """A tracker that a project can name in ``tracking.also``; one of your own is such a class in a file beside the project's.

    Attributes:
        needs: the package it is made of, looked for before anything is trained; None for none.
    """

    needs: ClassVar[Needs | None]

    @classmethod
    def open(cls, project: Project, home: Home, name: str) -> Tracker:
        """The tracker of a run.

        Args:
            project: whose run it is. home: below whose folder files may lie. name: of the run; the same again goes on with it.
        """
        ...


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": 1}``; lists stay values."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            flat |= flatten(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = item
    return flat


def tracking_uri(project: Project, home: Home) -> str:
    """The project's own server, the environment's, or the home's SQLite file, in this order."""
    return project.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or home.tracking_uri


def check_trackers(project: Project) -> None:
    """Whether all that a project's tracking names is there: before training, not after it.

    Raises:
        ProjectError: there is no such tracker.
        MissingExtra: its package is not installed.
    """
    found = {name: kind.needs for name, kind in _beside(project).items()}
    for name, needs in {"mlflow": Needs("mlflow", "tracking"), **found}.items():
        if needs is not None and importlib.util.find_spec(needs.module) is None:
            package = f"sluice-ml[{needs.extra}]" if needs.extra else needs.module
            raise MissingExtra("is not installed", field="tracking", value=name, fix=f"pip install '{package}'")


def _beside(project: Project) -> dict[str, type[Beside]]:
    """The classes that ``tracking.also`` names, in its order."""
    found: dict[str, type[Beside]] = {}
    for name in project.tracking.also:
        kind = TRACKERS.get(name, field="tracking.also", beside=project.base_dir)
        if not (isinstance(kind, type) and callable(getattr(kind, "open", None)) and hasattr(kind, "needs")):
            fix = "give it `needs` and a classmethod open(project, home, name), as sluice.tracking.tracker.Beside says"
            raise ProjectError("is no tracker", field="tracking.also", value=name, fix=fix)
        found[name] = kind
    return found


def open_tracker(
    project: Project, home: Home, *, run_id: str | None = None, name: str | None = None, say: Callable[[str], None] = log.warning
) -> Tracker:
    """The project's tracker; a new run, or the one `run_id` names. `say` is told, once each, of a tracker that does not answer."""
    from sluice.tracking.mlflow import MLflowTracker

    uri = tracking_uri(project, home)
    artifacts = (home.artifacts / "mlflow").as_uri() if uri.startswith("sqlite") else None
    first: Tracker = MLflowTracker(uri, project.tracking.experiment or project.name, artifacts=artifacts, run_id=run_id, name=name, say=say)
    kinds = _beside(project).values()
    if not kinds:
        return first
    from sluice.tracking.several import Several

    return Several([first, *(kind.open(project, home, name or first.run_id or project.name) for kind in kinds)], say=say)
