"""A task of one's own: two numbers and a label, learnt by a small network of torch. Named in sluice.yaml as ``task: xor_task:Xor``."""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from sluice.core.section import Section
from sluice.learners.torch.task import TorchTask
from sluice.tasks import State


class XorModel(Section):
    """`model:` of the project file."""

    hidden: int = Field(16, ge=1)


class Xor(TorchTask):
    """Which of two kinds a point of the plane is."""

    name: ClassVar[str] = "xor"
    Model = XorModel

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The columns that are features."""
        return {"a": "numeric", "b": "numeric"}

    def canonical(self, table: pa.Table) -> pa.Table:
        """The source under the dataset's types."""
        return pa.table({"a": table["a"].cast("float64"), "b": table["b"].cast("float64"), "label": table["label"].cast("string")})

    def fit(self, dataset: Any) -> State:
        """Nothing is fitted: the graph takes the numbers as they come, two inputs FP32 [rows]."""
        inputs = [{"name": name, "datatype": "FP32", "shape": [-1]} for name in ("a", "b")]
        return State("classification", dataset.labels, {"kind": "tensor", "inputs": inputs})

    def build(self, state: State) -> Any:
        """The untrained network: torch is imported where something is learnt, not where data is checked."""
        import torch

        class Net(torch.nn.Module):
            def __init__(self, hidden: int, labels: int):
                super().__init__()
                self.layers = torch.nn.Sequential(torch.nn.Linear(2, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, labels))

            def forward(self, a: torch.Tensor, b: torch.Tensor) -> Any:
                return self.layers(torch.stack([a, b], dim=1))

        return Net(self.project.model.hidden, len(state.labels))
