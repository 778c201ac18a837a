"""A task of a user's own, outside the package: points in the plane, by the `tensor` processor."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from sluice.core.section import Section
from sluice.learners.torch.task import TorchTask
from sluice.tasks import State


class PointsModel(Section):
    """`fault` says what goes wrong in the process named by $SLUICE_TEST_RANK."""

    hidden: int = Field(16, ge=1)
    seconds_a_step: float = 0.0
    fault: str = ""
    once: str = ""
    blocks: int = 0


class PointsTask(TorchTask):
    name: ClassVar[str] = "points"
    Model = PointsModel

    def kinds(self, table: pa.Table) -> dict[str, str]:
        return {"x": "numeric"}

    def canonical(self, table: pa.Table) -> pa.Table:
        return table.select(["x", "label"])

    def fit(self, dataset) -> State:
        spec = {"kind": "tensor", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]}
        return State("classification", dataset.labels, spec)

    def build(self, state: State):
        from torch import nn

        class Net(nn.Module):
            def __init__(self, hidden: int, labels: int, blocks: int):
                super().__init__()
                self.blocks = nn.ModuleList(nn.Linear(2, 2) for _ in range(blocks))
                self.layers = nn.Sequential(
                    nn.Linear(2, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, labels)
                )
                self.unused = nn.Linear(3, 3)

            def forward(self, x):
                for block in self.blocks:
                    x = x + 0.1 * block(x)
                return self.layers(x)

        return Net(self.project.model.hidden, len(state.labels), self.project.model.blocks)

    def augment(self, tensors, generator):
        import torch

        model = self.project.model
        if model.seconds_a_step:
            time.sleep(model.seconds_a_step)
        noise = 0.05 * torch.randn(tensors["x"].shape, generator=generator)
        if model.fault and os.environ.get("RANK") == "1":
            self._fail(model.fault, noise)
        return {"x": tensors["x"] + noise}

    def _fail(self, fault: str, noise) -> None:
        once = Path(self.project.model.once) if self.project.model.once else None
        if once is not None:
            if once.exists():
                return
            once.touch()
        if fault == "raise":
            raise KeyError("my own mistake")
        if fault == "nan":
            noise += float("nan")
        if fault == "hang":
            time.sleep(1000)
