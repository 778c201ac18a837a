"""Further trackers beside the first: TensorBoard event files and Weights & Biases."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sluice.core.errors import MissingExtra
from sluice.core.home import Home
from sluice.project import Project
from sluice.tracking.outbox import Outbox
from sluice.tracking.tracker import Data, Tracker, flatten

log = logging.getLogger(__name__)


class TensorBoardTracker:
    """Event files under ``$SLUICE_HOME/tensorboard/<run>``, written by TensorBoard's own writer (no torch needed)."""

    def __init__(self, folder: Path):
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as e:
            raise MissingExtra(
                "needs tensorboard", field="tracking.also", value="tensorboard", fix="pip install 'sluice-ml[tensorboard]'"
            ) from e
        self.run_id: str | None = folder.name
        self._event, self._summary = Event, Summary
        self._folder = folder
        self._writer = EventFileWriter(str(folder))

    def params(self, values: dict[str, Any]) -> None:
        text = "\n".join(f"    {k}: {v}" for k, v in flatten(values).items())
        self.tags({"parameters": text})

    def tags(self, values: dict[str, str]) -> None:
        from tensorboard.compat.proto.summary_pb2 import SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        meta = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        for tag, text in values.items():
            tensor = TensorProto(dtype=DT_STRING, string_val=[str(text).encode()], tensor_shape=shape)
            self._writer.add_event(self._event(summary=self._summary(value=[self._summary.Value(tag=tag, metadata=meta, tensor=tensor)])))

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        summary = self._summary(value=[self._summary.Value(tag=k, simple_value=float(v)) for k, v in values.items() if v is not None])
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """TensorBoard keeps no files: nothing is written."""

    def dataset(self, data: Data) -> None:
        self.tags({"dataset": f"{data.source} sha256:{data.digest}"})

    def child(self, name: str, points: Sequence[tuple[int, Mapping[str, float]]], tags: Mapping[str, str]) -> None:
        """A folder of its own beside the run's: TensorBoard shows it as ``<run>/<name>``."""
        below = TensorBoardTracker(self._folder / name)
        below.tags(dict(tags))
        for step, values in points:
            below.metrics(values, step)
        below.finish()

    def finish(self, status: str = "FINISHED") -> None:
        self._writer.close()


class WandbTracker:
    """Weights & Biases; offline (files under the home) unless ``WANDB_MODE`` or ``WANDB_API_KEY`` says otherwise."""

    def __init__(self, folder: Path, project: str, name: str):
        try:
            import wandb
        except ImportError as e:
            raise MissingExtra("needs wandb", field="tracking.also", value="wandb", fix="pip install 'sluice-ml[wandb]'") from e
        folder.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
        self._run = wandb.init(
            project=project, name=name, id=name, resume="allow", dir=str(folder), mode=mode, settings=wandb.Settings(silent=True)
        )  # type: ignore[arg-type]
        self.run_id: str | None = self._run.id

    def params(self, values: dict[str, Any]) -> None:
        self._run.config.update(flatten(values), allow_val_change=True)

    def tags(self, values: dict[str, str]) -> None:
        self._run.config.update({f"tag.{k}": v for k, v in values.items()}, allow_val_change=True)

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        self._run.log({**{k: v for k, v in values.items() if v is not None}, "step": step})

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self._run.save(str(path), base_path=str(path.parent), policy="now")

    def dataset(self, data: Data) -> None:
        self._run.config.update({"dataset": data.source, "dataset.digest": data.digest}, allow_val_change=True)

    def child(self, name: str, points: Sequence[tuple[int, Mapping[str, float]]], tags: Mapping[str, str]) -> None:
        """W&B keeps one run a process: the child's curves lie in it under the child's name."""
        self._run.config.update({f"{name}.{k}": v for k, v in tags.items()}, allow_val_change=True)
        for step, values in points:
            self._run.log({f"{name}/step": step, **{f"{name}/{k}": v for k, v in values.items()}})

    def finish(self, status: str = "FINISHED") -> None:
        self._run.finish(exit_code=0 if status == "FINISHED" else 1)


class Several:
    """The same run in several trackers; the first one's id is the run's. One tracker's trouble stops neither the others nor the work."""

    def __init__(self, trackers: list[Tracker], *, say: Callable[[str], None] = log.warning, clock: Callable[[], float] = time.monotonic):
        self._trackers = trackers
        self._outboxes = [Outbox(type(t).__name__.removesuffix("Tracker"), say=say, clock=clock) for t in trackers]

    @property
    def run_id(self) -> str | None:
        return self._trackers[0].run_id

    def _each(self, method: str, *args: Any) -> None:
        for tracker, outbox in zip(self._trackers, self._outboxes, strict=True):
            outbox.put(method, partial(getattr(tracker, method), *args))
            if method == "finish":
                outbox.flush(last=True)

    def params(self, values: dict[str, Any]) -> None:
        self._each("params", values)

    def tags(self, values: dict[str, str]) -> None:
        self._each("tags", values)

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        self._each("metrics", values, step)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self._each("artifact", path, folder)

    def dataset(self, data: Data) -> None:
        self._each("dataset", data)

    def child(self, name: str, points: Sequence[tuple[int, Mapping[str, float]]], tags: Mapping[str, str]) -> None:
        self._each("child", name, points, tags)

    def finish(self, status: str = "FINISHED") -> None:
        self._each("finish", status)


def open_also(kind: str, project: Project, home: Home, name: str) -> Tracker:
    """The adapter for one entry of ``tracking.also``. Raises `MissingExtra`."""
    if kind == "tensorboard":
        return TensorBoardTracker(home.root / "tensorboard" / name)
    return WandbTracker(home.root / "wandb", project.name, name)
