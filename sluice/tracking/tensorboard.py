"""TensorBoard beside the first tracker."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sluice.core.home import Home
from sluice.project import Project
from sluice.tracking.tracker import Data, Needs, flatten


class TensorBoardTracker:
    """Event files under ``$SLUICE_HOME/tensorboard/<run>``, written by TensorBoard's own writer (no torch needed)."""

    needs = Needs("tensorboard", "tensorboard")

    @classmethod
    def open(cls, project: Project, home: Home, name: str) -> TensorBoardTracker:
        """See `Beside.open`."""
        return cls(home.root / "tensorboard" / name)

    def __init__(self, folder: Path):
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.run_id: str | None = folder.name
        self._event, self._summary = Event, Summary
        self._folder = folder
        self._writer = EventFileWriter(str(folder))

    def params(self, values: dict[str, Any]) -> None:
        """Write them as one text, a line each."""
        text = "\n".join(f"    {k}: {v}" for k, v in flatten(values).items())
        self.tags({"parameters": text})

    def tags(self, values: dict[str, str]) -> None:
        """Write a text for each."""
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
        """Write the scalars of one step; None is left out."""
        summary = self._summary(value=[self._summary.Value(tag=k, simple_value=float(v)) for k, v in values.items() if v is not None])
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """TensorBoard keeps no files: nothing is written."""

    def dataset(self, data: Data) -> None:
        """Write a text with source and digest."""
        self.tags({"dataset": f"{data.source} sha256:{data.digest}"})

    def child(self, name: str, points: Sequence[tuple[int, Mapping[str, float]]], tags: Mapping[str, str]) -> None:
        """A folder of its own beside the run's: TensorBoard shows it as ``<run>/<name>``."""
        below = TensorBoardTracker(self._folder / name)
        below.tags(dict(tags))
        for step, values in points:
            below.metrics(values, step)
        below.finish()

    def finish(self, status: str = "FINISHED") -> None:
        """Close the event file."""
        self._writer.close()
