"""What the torch learner has to be told of a task: its network, and all that goes with it. torch is imported inside the methods."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import ProjectError
from sluice.learners.state import State
from sluice.tasks.base import Task

if TYPE_CHECKING:
    import onnx
    import torch

    from sluice.data.dataset import Dataset
    from sluice.fields import Processor
    from sluice.learners.base import Shipped
    from sluice.learners.torch.encode import Encoded
    from sluice.learners.torch.plan import Defaults, Plan


class Network(ABC):
    """How the torch learner learns one task, from the dataset's rows to the exported graph.

    `fit` and `build` are what it must bring; the others have defaults that fit a classifier over tensors. A task names its
    network: ``network = "my_module:MyNetwork"``, or the class.

    Args:
        task: what is learnt; `task.project.model` is an instance of `task.Model`.
    """

    task: Task

    def __init__(self, task: Task):
        self.task = task

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

    def settle(self, model: torch.nn.Module, state: State, rows: Encoded) -> None:
        """Fit to the training rows, in place, what only a trained model can: called once, with the weights that were chosen. Default: nothing.

        The model's `state_dict` must stay that of `build`.
        """

    def calibrate(self, model: torch.nn.Module, state: State, learnt: Encoded, held: Encoded) -> None:
        """Fit to the validation rows, in place, what rows that were learnt from cannot tell: called once, after `settle`, where there are some. Default: nothing.

        The model's `state_dict` must stay that of `build`.
        """

    def processor(self, state: State) -> Processor:
        """The pre-processing of a state, loaded once."""
        return state.processor

    def tensors(self, batch: dict[str, np.ndarray], state: State) -> dict[str, torch.Tensor]:
        """A processor's batch as the model's arguments. Default: the same arrays."""
        import torch

        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}

    def targets(self, labels: np.ndarray, state: State) -> torch.Tensor:
        """The dataset's labels as `loss` wants them: INT64 class indices, FP32 values and arrays, or of independent labels BOOL whether each is there.

        Args:
            labels: indices into `state.labels` [rows], values [rows], or arrays [rows, ...].
        """
        import torch

        found = torch.from_numpy(labels.astype(np.int64 if state.problem.classes else np.float32))
        return found > 0.5 if state.problem.independent else found

    def augment(self, tensors: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Change training tensors at random, with `generator` as the only source of chance. Default: not at all."""
        return tensors

    def learning(self, tensors: dict[str, torch.Tensor], targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """The arguments of the model where a loss is computed, when more than the row is needed for it: a generator's true answers. Default: the row's."""
        return tensors

    def health(self, model: torch.nn.Module) -> dict[str, float]:
        """What an epoch's entry of the history says of the model beside its measures. Default: nothing."""
        return {}

    def ails(self, entry: Mapping[str, Any]) -> str:
        """What the last epoch's entry, with `health` in it, shows to be wrong, for a person: a sentence. Default: nothing."""
        return ""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, train: Plan) -> torch.Tensor:
        """Mean loss over the rows, a scalar; the backward pass is the loop's. Default: squared error, cross-entropy with label smoothing, or of independent labels the mean of theirs.

        A row weighs as `train.label_weights` says; the mean is over the rows and not over their weights, so that it does not matter
        which process or part of a batch a row falls to.
        """
        import torch
        from torch.nn import functional as F

        if targets.dtype == torch.bool:
            return F.binary_cross_entropy_with_logits(outputs.float(), targets.float())
        if targets.is_floating_point():
            return F.mse_loss(outputs.float(), targets)
        if train.label_weights is None:
            return F.cross_entropy(outputs.float(), targets, label_smoothing=train.label_smoothing)
        each = F.cross_entropy(outputs.float(), targets, label_smoothing=train.label_smoothing, reduction="none")
        return (each * outputs.new_tensor(train.label_weights, dtype=each.dtype)[targets]).mean()

    def serving_module(self, model: torch.nn.Module, state: State) -> torch.nn.Module:
        """What is exported: `forward(**tensors)` returns probabilities [rows, labels] or values [rows], FP32."""
        last = "softmax" if state.problem.classes else "sigmoid" if state.problem.independent else "one" if state.problem.scalar else "none"
        return _serving(model, last)

    def judged_module(self, model: torch.nn.Module, state: State) -> torch.nn.Module:
        """What epochs are judged by: `forward(**tensors)` returns what the problem's `answers` takes. Default: `serving_module`."""
        return self.serving_module(model, state)

    def example(self, state: State) -> dict[str, torch.Tensor]:
        """Inputs for the exporter: two rows, free axes of four."""
        from sluice.fields.tensor import NUMPY

        batch = {}
        for t in self.processor(state).inputs:
            shape = [2, *(4 if n == -1 else n for n in t.shape[1:])]
            batch[t.name] = np.full(shape, "", dtype=object) if t.datatype == "BYTES" else np.ones(shape, dtype=NUMPY[t.datatype])
        return self.tensors(batch, state)

    def shipped(self, model: torch.nn.Module, state: State, record: dict[str, Any]) -> Shipped | None:
        """What of a trained model is packaged in place of a graph (`Trained.shipped`). Default: nothing, its graph is.

        Args:
            model, state: as trained.
            record: the JSON of ``training.json``.
        """
        return None

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


def _serving(model: torch.nn.Module, last: str) -> torch.nn.Module:
    import torch

    class Serving(torch.nn.Module):
        """A trained model with its last step: softmax for classes, a sigmoid for independent labels, one axis for values; arrays as they are."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **tensors: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.model(**tensors).float()
            if last == "softmax":
                return torch.softmax(out, dim=-1)
            return torch.sigmoid(out) if last == "sigmoid" else out.reshape(-1) if last == "one" else out

    return Serving().eval()


def network_of(task: Task) -> Network:
    """The network of a task: itself where it is both, else the one it names.

    Raises:
        ProjectError: it names none, or none that can be imported.
    """
    if isinstance(task, Network):
        return task
    named: Any = getattr(type(task), "network", None)
    try:
        module, _, name = named.partition(":") if isinstance(named, str) else ("", "", "")
        kind = getattr(importlib.import_module(module), name) if module else named
    except (ImportError, AttributeError) as e:
        raise ProjectError(f"its network cannot be imported: {e}", field="task", value=named, fix='network = "my_module:MyNetwork"') from e
    if not (isinstance(kind, type) and issubclass(kind, Network)):
        raise ProjectError(
            "names no network, which the torch learner needs",
            field="task",
            value=type(task).__name__,
            fix="derive it from sluice.learners.torch.task.TorchTask, or give it `network`, a sluice.learners.torch.network.Network",
        )
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    if missing:
        raise ProjectError(
            f"does not define {', '.join(missing)}", field="network", value=kind.__name__, fix=f"define them in {kind.__name__}"
        )
    return kind(task)
