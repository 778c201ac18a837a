"""A task whose answer is two quantities at once: how far and how high a throw goes. Named in sluice.yaml as ``task: throws_task:Throws``.

The label of a row is the list of both; the problem draws its own part of the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from sluice.core.section import Section
from sluice.learners.torch.task import TorchTask
from sluice.problems.arrays import Arrays
from sluice.tasks import State

PARTS = ("distance", "height")


class Throw(Arrays):
    """Distance and height, each in its own deviation."""

    name: ClassVar[str] = "throws_task:Throw"

    def details(self, a: Any, labels: Sequence[str], rule: Any, config: Any) -> dict[str, Any]:
        """The mean error of each part."""
        return {"parts": dict(zip(PARTS, np.abs(a.outputs - a.targets).mean(axis=0).tolist(), strict=True))}

    def section(self, found: Mapping[str, Any]) -> str:
        """The same in a line."""
        return "<p>" + ", ".join(f"{name} off by {error:.3g}" for name, error in found["parts"].items()) + "</p>"


class ThrowsModel(Section):
    """`model:` of the project file."""

    hidden: int = Field(32, ge=1)


class Throws(TorchTask):
    """From speed and angle to distance and height."""

    name: ClassVar[str] = "throws"
    Model = ThrowsModel
    labelled: ClassVar[bool] = False

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The columns that are features."""
        return {"speed": "numeric", "angle": "numeric"}

    def objective(self, table: pa.Table) -> str:
        """Its own problem."""
        return Throw.name

    def canonical(self, table: pa.Table) -> pa.Table:
        """The source under the dataset's types, the two quantities as one list."""
        both = [[float(d), float(h)] for d, h in zip(table["distance"].to_pylist(), table["height"].to_pylist(), strict=True)]
        label = pa.array(both, pa.list_(pa.float64()))
        return pa.table({"speed": table["speed"].cast("float64"), "angle": table["angle"].cast("float64"), "label": label})

    def fit(self, dataset: Any) -> State:
        """Nothing is fitted: the graph takes the numbers as they come."""
        inputs = [{"name": name, "datatype": "FP32", "shape": [-1]} for name in ("speed", "angle")]
        return State(dataset.objective, list(PARTS), {"kind": "tensor", "inputs": inputs})

    def build(self, state: State) -> Any:
        """The untrained network."""
        import torch

        class Net(torch.nn.Module):
            def __init__(self, hidden: int):
                super().__init__()
                self.layers = torch.nn.Sequential(torch.nn.Linear(2, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, len(PARTS)))

            def forward(self, speed: torch.Tensor, angle: torch.Tensor) -> Any:
                return self.layers(torch.stack([speed, angle], dim=1))

        return Net(self.project.model.hidden)
