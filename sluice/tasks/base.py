"""The task: the one class that knows what kind of learning a project does.

The data side (`kinds`, `objective`, `canonical`) needs pyarrow only; torch is imported inside
the learning side's methods, so that a project is read and its data checked without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.errors import ProjectError
from sluice.core.section import Section
from sluice.learners.base import LEARNERS, Learner
from sluice.learners.state import State

if TYPE_CHECKING:
    import onnx
    import pyarrow as pa
    import torch

    from sluice.data.dataset import Dataset
    from sluice.data.timestamps import Times
    from sluice.fields import Processor
    from sluice.learners.torch.encode import Encoded
    from sluice.learners.torch.plan import Defaults, Plan
    from sluice.project import Project

__all__ = ["State", "Task", "settings"]


class Task(ABC):
    """One kind of learning, from a source's columns to the exported graph.

    A task of your own derives from this class, sets `name` and `Model` (a `Section` that checks
    ``model:`` of the project file), and is named in ``task:`` as ``module:Class``. The abstract
    methods are what it must bring; the others have defaults that fit a classifier over tensors.

    Args:
        project: the project; `project.model` is an instance of `Model`.
        base_dir: where relative paths in the project file start; null: the working directory.
    """

    name: ClassVar[str]
    Model: ClassVar[type[Section]]

    def __init__(self, project: Project, base_dir: Path | None = None):
        self.project = project
        self.base_dir = base_dir or Path()

    # --- the data side: pyarrow only ---

    @abstractmethod
    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The features of a source's table and their kind: ``text``, ``image``, ``numeric``, ``categorical`` or ``timestamp``.

        Raises:
            DataError: a column is missing or of a type the task cannot read.
        """

    def objective(self, table: pa.Table) -> str:
        """``classification`` or ``regression``."""
        return "classification"

    @abstractmethod
    def canonical(self, table: pa.Table) -> pa.Table:
        """The source's table under the dataset's column names and types, `label` among them.

        Raises:
            DataError: as `kinds`.
        """

    def times(self, table: pa.Table) -> dict[str, Times]:
        """How the features of kind ``timestamp`` are written in a source's table. Default: there is none."""
        return {}

    def reading(self, times: Mapping[str, Times]) -> Task:
        """The same task, for a table whose times are written like another's. Default: itself."""
        return self

    # --- who learns it ---

    @classmethod
    def section(cls, raw: Mapping[str, Any]) -> type[Section]:
        """The class that checks such a ``model:``, whose keys are not checked yet. Default: `Model`."""
        return cls.Model

    @classmethod
    def learnt_by(cls, model: Section) -> str:
        """The learner's name in `LEARNERS`, or ``module:Class``, for a checked ``model:``."""
        return "torch"

    def learner(self) -> Learner:
        """Who learns this task, with the project's settings. Raises `ProjectError`: there is none of that name."""
        kind: type[Learner] = LEARNERS.get(self.learnt_by(self.project.model), beside=self.base_dir)
        return kind(self)

    # --- the learning side ---

    @abstractmethod
    def fit(self, dataset: Dataset) -> State:
        """Learn vocabularies, means and the like from the training rows alone. Equal data gives an equal state."""

    @abstractmethod
    def build(self, state: State) -> torch.nn.Module:
        """The untrained model. `forward(**tensors)` returns logits [rows, labels], or values [rows] for regression."""

    def preload(self, state: State) -> None:
        """Import the modules `build` needs, and no more: called once before the training processes are forked. Default: none."""

    def start(self, model: torch.nn.Module, state: State) -> None:
        """Load pre-trained weights into a built model before training starts. Default: none.

        Raises:
            ProjectError: the weights are not there or do not fit.
        """

    def defaults(self, state: State, rows: int) -> Defaults:
        """What the `train:` settings that the project leaves open become, for so many training rows. Default: for a small network from scratch."""
        from sluice.learners.torch.plan import Defaults

        return Defaults()

    def adapt(self, model: torch.nn.Module, state: State, rows: Encoded) -> bool | None:
        """Fit a built model to the training rows, in place, before training starts. Default: nothing.

        The model's `state_dict` must stay that of `build`.

        Returns:
            Whether it is a model already: then it is measured as epoch 0, and kept where no epoch is better.
        """

    def processor(self, state: State) -> Processor:
        """The pre-processing of a state, loaded once."""
        return state.processor

    def tensors(self, batch: dict[str, np.ndarray], state: State) -> dict[str, torch.Tensor]:
        """A processor's batch as the model's arguments. Default: the same arrays."""
        import torch

        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}

    def targets(self, labels: np.ndarray, state: State) -> torch.Tensor:
        """The dataset's labels as `loss` wants them: INT64 class indices, or FP32 values.

        Args:
            labels: indices into `state.labels` [rows], or values [rows].
        """
        import torch

        return torch.from_numpy(labels.astype(np.int64 if state.objective == "classification" else np.float32))

    def augment(self, tensors: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Change training tensors at random, with `generator` as the only source of chance. Default: not at all."""
        return tensors

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, train: Plan) -> torch.Tensor:
        """Mean loss over the rows, a scalar; the backward pass is the loop's. Default: squared error, or cross-entropy with label smoothing.

        A row weighs as `train.label_weights` says; the mean is over the rows and not over their weights, so that it does not matter
        which process or part of a batch a row falls to.
        """
        from torch.nn import functional as F

        if targets.is_floating_point():
            return F.mse_loss(outputs.float(), targets)
        if train.label_weights is None:
            return F.cross_entropy(outputs.float(), targets, label_smoothing=train.label_smoothing)
        each = F.cross_entropy(outputs.float(), targets, label_smoothing=train.label_smoothing, reduction="none")
        return (each * outputs.new_tensor(train.label_weights, dtype=each.dtype)[targets]).mean()

    def serving_module(self, model: torch.nn.Module, state: State) -> torch.nn.Module:
        """What is exported: `forward(**tensors)` returns probabilities [rows, labels] or values [rows], FP32."""
        return _serving(model, softmax=state.objective == "classification")

    def example(self, state: State) -> dict[str, torch.Tensor]:
        """Inputs for the exporter: two rows, free axes of four."""
        from sluice.fields.tensor import NUMPY

        batch = {}
        for t in self.processor(state).inputs:
            shape = [2, *(4 if n == -1 else n for n in t.shape[1:])]
            batch[t.name] = np.full(shape, "", dtype=object) if t.datatype == "BYTES" else np.ones(shape, dtype=NUMPY[t.datatype])
        return self.tensors(batch, state)

    def graph(self, serving: torch.nn.Module, state: State, inputs: Mapping[str, str], output: str, opset: int) -> onnx.ModelProto | None:
        """The graph of a serving module, for a task that writes it by itself. Default: None, torch exports it.

        Args:
            serving: as `serving_module` gave it.
            inputs: the model's arguments -> what they are to be called in the graph for now.
            output: what its output is called.
            opset: of ai.onnx.
        """
        return None

    def finish_graph(self, graph: onnx.ModelProto, state: State) -> onnx.ModelProto:
        """Change the exported ONNX graph, e.g. to take strings. Default: nothing."""
        return graph

    def resolve(self, path: str) -> Path:
        """A path of the project file, which may be relative to it."""
        return (self.base_dir / Path(path).expanduser()).resolve()


def _serving(model: torch.nn.Module, softmax: bool) -> torch.nn.Module:
    import torch

    class Serving(torch.nn.Module):
        """A trained model with its last step: softmax for classes, one axis for values."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **tensors: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.model(**tensors).float()
            return torch.softmax(out, dim=-1) if softmax else out.reshape(-1)

    return Serving().eval()


def settings(task: Task, kind: type[Section]) -> Any:
    """The project's `model` section as the class the task checks it with.

    Raises:
        ProjectError: it was not parsed with that class.
    """
    model = task.project.model
    if isinstance(model, kind):
        return model
    if isinstance(model, dict):
        return kind.model_validate(model)
    raise ProjectError(f"is not a {kind.__name__}", field="model", value=model, fix="read the project with sluice.project.load or parse")
