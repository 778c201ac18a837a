"""Train, tell the tracker as it goes, and keep the history as evidence."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components import STARTED
from components.train import trainjob_fit
from sluice.core import events, files
from sluice.core.errors import ProjectError
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.data.dataset import Dataset
from sluice.learners.base import HISTORY, Job, Learner
from sluice.learners.crossvalidation import Fit, Fold, cross_validate
from sluice.project import Project
from sluice.steps.execute import open_project, run_step
from sluice.tasks import load_task
from sluice.tracking.tracker import Data, Tracker, check_trackers, open_tracker

#: Seconds between two tries to open a tracker.
_AGAIN = 15.0


class BackgroundTracker:
    """Sends to the tracker from a thread of its own: neither its start nor a slow server holds training up."""

    def __init__(self, settings: Project, home: Home, name: str):
        self._calls: queue.Queue[tuple[str, tuple[Any, ...]] | None] = queue.Queue()
        self._open: Callable[[], Tracker] = lambda: open_tracker(settings, home, name=name, say=_say)
        self._tracker: Tracker | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """Of the run in the tracker; None while it has not been reached."""
        return self._tracker.run_id if self._tracker else None

    def _work(self) -> None:
        said = last = False
        while self._tracker is None and not last:
            last = self._closing.is_set()
            try:
                self._tracker = self._open()
            except Exception as e:
                if not said:
                    _say(f"tracking cannot begin, and is tried again while the run goes on: {e}")
                said = True
                self._closing.wait(_AGAIN)
        if self._tracker is None:
            _say("tracking never began: nothing of this run was written down there")
            return
        while (call := self._calls.get()) is not None:
            getattr(self._tracker, call[0])(*call[1])

    def put(self, method: str, *args: Any) -> None:
        """Put a call of the tracker's in line; it returns at once."""
        self._calls.put((method, args))

    def close(self, seconds: float = 60) -> None:
        """Wait for what was put, at most `seconds`."""
        self._calls.put(None)
        self._closing.set()
        self._thread.join(seconds)


def _say(text: str) -> None:
    events.emit("note", text=text)


def run(project: str, base_dir: str, home: str, *, dataset_path: str, model_path: str, gate_path: str) -> tuple[dict[str, float], str]:
    """Returns the final metrics and the tracking run's id."""

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        check_trackers(settings)
        dataset = Dataset.open(Path(dataset_path))
        folder = Path(model_path).parent.parent.name.removeprefix("sluice-training-")  # the folder of a run here, the task on Kubeflow
        tracker = BackgroundTracker(settings, Home(home or None), f"{settings.name}-{folder}")
        tracker.put("params", settings.model_dump(mode="json"))
        tracker.put("tags", {"sluice.project": settings.name, "sluice.config": settings.digest, "sluice.data": dataset.digest})

        rows = {split: dataset.rows(split) for split in ("train", "validation", "test")}
        tracker.put("dataset", Data(settings.name, dataset.digest, settings.data.source, dataset.columns, rows))

        def on_event(event: dict[str, Any]) -> None:
            events.emit("progress", step="train", data=event)
            if event.get("kind") == "epoch":
                tracker.put("metrics", curve_point(event), int(event["epoch"]))

        try:
            learner = load_task(settings, base).learner()
            fit = _fit_of(learner)
            if settings.train.folds and not learner.folds:
                raise ProjectError(
                    f"the learner {learner.name} cannot be cross-validated",
                    field="train.folds",
                    value=settings.train.folds,
                    fix="remove it",
                )
            found = _folds(settings, dataset, Path(model_path), fit, tracker) if settings.train.folds else None
            trained = fit(Job(dataset, Path(model_path), on_event))
        except BaseException:
            tracker.put("finish", "FAILED")
            tracker.close()
            raise
        history = trained.record
        tracker.put("tags", {f"environment.{k}": str(v) for k, v in history.get("environment", {}).items()})
        tracker.put("artifact", Path(model_path) / HISTORY, "training")
        if found:
            tracker.put("metrics", {f"folds_{n}": s["mean"] for n, s in found["summary"].items()}, 0)
        tracker.put("finish", "FINISHED")  # `evaluate` adds to it, where the package gets that far
        tracker.close()
        reasons = [trained.text]
        if found:
            own = found["summary"][found["metric"]]
            reasons.append(
                f"{found['metric']} over {len(found['folds'])} folds: {own['mean']:.4g} ({own['low']:.4g} to {own['high']:.4g})"
                if own["low"] is not None
                else f"{found['metric']} over {len(found['folds'])} folds is not defined"
            )
        more = {"cross_validation": found} if found else {}
        return Gate("train", "pass", tuple(reasons), {**history, "run_id": tracker.run_id or "", **more})

    gate = run_step(work, gate_path, step="train", started=STARTED)
    folds = {
        f"folds_{n}": s["mean"] for n, s in gate.evidence.get("cross_validation", {}).get("summary", {}).items() if s["mean"] is not None
    }
    best = next((h for h in gate.evidence["history"] if h["epoch"] == gate.evidence["best_epoch"]), gate.evidence["history"][-1])
    return {**curve_point(best), **folds}, str(gate.evidence["run_id"])


def _fit_of(learner: Learner) -> Fit:
    """How the learner learns here: over the nodes of a cluster where the project asks for several, else on this machine."""
    task = learner.task
    if learner.nodes and trainjob_fit.on_cluster(getattr(task.project.train, "nodes", 1)):
        return lambda job: trainjob_fit.fit(task, job)
    return learner.fit


def _folds(settings: Project, dataset: Dataset, model: Path, fit: Fit, tracker: BackgroundTracker) -> dict[str, Any]:
    """Cross-validate; every fold is told of, and a run below the step's own."""

    def on_event(event: dict[str, Any]) -> None:
        if event["kind"] == "step":
            events.emit("progress", step="train", data=event)

    def on_fold(fold: Fold) -> None:
        shown = ", ".join(f"{n} {v:.4g}" for n, v in list(fold.metrics.items())[:2])
        events.emit("note", text=f"fold {fold.number} of {settings.train.folds}: {shown} on {fold.rows} rows")
        curve = [(int(h["epoch"]), curve_point(h)) for h in fold.history]
        last = curve[-1][0] if curve else 0
        tracker.put(
            "child",
            f"fold-{fold.number}",
            [*curve, (last, {f"fold_{n}": v for n, v in fold.metrics.items()})],
            {"sluice.fold": str(fold.number)},
        )

    model.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=model.parent, prefix=files.PARTIAL) as work:
        return cross_validate(settings, dataset, Path(work), fit, on_event=on_event, on_fold=on_fold)


#: Of an epoch: what the axis shows, and what is the same in all.
_CONSTANT = ("epoch", "step", "epochs", "steps")


def curve_point(epoch: dict[str, Any]) -> dict[str, float]:
    """An epoch's numbers under flat names."""
    flat = {k: v for k, v in epoch.items() if isinstance(v, int | float) and not isinstance(v, bool) and k not in _CONSTANT}
    return {**flat, **{f"validation_{k}": v for k, v in (epoch.get("validation_metrics") or {}).items() if isinstance(v, int | float)}}
