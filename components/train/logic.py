"""Train, tell the tracker as it goes, and keep the history as evidence."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Any

from components import STARTED
from components.train import nodes
from sluice import events, files
from sluice.data.dataset import Dataset
from sluice.gates import Gate
from sluice.home import Home
from sluice.project import Project
from sluice.step import open_project, run_step
from sluice.tracking.tracker import Tracker, check_trackers, open_tracker
from sluice.training.fit import fit


class BackgroundTracker:
    """Sends to the tracker from a thread of its own: neither its start nor a slow server holds training up."""

    def __init__(self, settings: Project, home: Home, name: str):
        self._calls: queue.Queue[tuple[str, tuple[Any, ...]] | None] = queue.Queue()
        self.run_id: str | None = None
        self._open = lambda: open_tracker(settings, home, name=name)
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            tracker: Tracker = self._open()
        except Exception as e:
            events.emit("note", text=f"tracking is off for this run: {e}")
            return
        self.run_id = tracker.run_id
        while (call := self._calls.get()) is not None:
            getattr(tracker, call[0])(*call[1])

    def put(self, method: str, *args: Any) -> None:
        self._calls.put((method, args))

    def close(self, seconds: float = 60) -> None:
        """Wait for what was put, at most `seconds`."""
        self._calls.put(None)
        self._thread.join(seconds)


def run(project: str, base_dir: str, home: str, *, dataset_path: str, model_path: str, gate_path: str) -> tuple[dict[str, float], str]:
    """Returns the final metrics and the tracking run's id."""

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        check_trackers(settings)
        dataset = Dataset.open(Path(dataset_path))
        tracker = BackgroundTracker(settings, Home(home or None), Path(model_path).parent.parent.name)
        tracker.put("params", settings.model_dump(mode="json"))
        tracker.put("tags", {"sluice.project": settings.name, "sluice.config": settings.digest, "sluice.data": dataset.digest})

        def on_event(event: dict[str, Any]) -> None:
            events.emit("progress", step="train", data=event)
            if event.get("kind") == "epoch":
                tracker.put("metrics", curve_point(event), int(event["epoch"]))

        try:
            train = nodes.fit if nodes.on_cluster(settings.train.nodes) else fit
            train(settings, dataset, Path(model_path), base_dir=base, on_event=on_event)
        except BaseException:
            tracker.put("finish", "FAILED")
            tracker.close()
            raise
        history = files.read_json(Path(model_path) / "training.json")
        tracker.put("tags", {f"environment.{k}": str(v) for k, v in history.get("environment", {}).items()})
        tracker.put("artifact", Path(model_path) / "training.json", "training")
        tracker.close()
        kept = f"epoch {history['best_epoch']} of {len(history['history'])} kept" + ", stopped early" * bool(history.get("stopped_early"))
        return Gate("train", "pass", (f"{kept}; {history.get('world_size', 1)} processes",), {**history, "run_id": tracker.run_id or ""})

    gate = run_step(work, gate_path, step="train", started=STARTED)
    best = next((h for h in gate.evidence["history"] if h["epoch"] == gate.evidence["best_epoch"]), gate.evidence["history"][-1])
    return curve_point(best), str(gate.evidence["run_id"])


def curve_point(epoch: dict[str, Any]) -> dict[str, float]:
    """An epoch's numbers under flat names."""
    flat = {k: v for k, v in epoch.items() if isinstance(v, int | float) and not isinstance(v, bool) and k not in ("epoch", "step")}
    return {**flat, **{f"validation_{k}": v for k, v in (epoch.get("validation_metrics") or {}).items() if isinstance(v, int | float)}}
