"""The torch learner as the rest of the project meets it. torch is imported when a model is asked for an answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core import files
from sluice.core.errors import DataError
from sluice.learners.base import HISTORY, Job, Learner, Trained
from sluice.learners.config import TrainSection
from sluice.learners.state import State
from sluice.learners.torch.config import TrainConfig

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import torch

    from sluice.tasks.base import Task

MODEL = "model.safetensors"
#: What ended a training, as the verdict says it.
_ENDED = {"epochs": "", "patience": ", stopped early", "time": ", ended by train.budget.minutes"}


class TorchLearner(Learner):
    """The loop of `sluice.learners.torch`: one process or many, on one machine or several, resumed bit for bit."""

    name: ClassVar[str] = "torch"
    Train: ClassVar[type[TrainSection]] = TrainConfig
    processes, nodes, folds, resume = True, True, True, True

    def fit(self, job: Job) -> TorchTrained:
        from sluice.learners.torch.fit import fit

        fit(job.project, job.dataset, job.out, base_dir=self.task.base_dir, on_event=job.on_event, checkpoints=job.checkpoints)
        return self.load(job.out)

    def load(self, root: Path) -> TorchTrained:
        """As `Learner.load`; the weights are read when they are first asked for."""
        return TorchTrained.open(self.task, Path(root))


class TorchTrained(Trained):
    """``model.safetensors``, ``state.json`` with the processor's files, ``training.json``.

    Args:
        task: with the project's settings.
        state: what was fitted beside the network.
        record: the JSON of ``training.json``.
        network: gives the trained network; called once, when it is first needed.
    """

    def __init__(self, task: Task, state: State, record: dict[str, Any], network: Callable[[], torch.nn.Module]):
        self.task, self.state, self.record, self._network = task, state, record, network

    @classmethod
    def open(cls, task: Task, root: Path) -> TorchTrained:
        """What `fit` wrote. Raises `DataError`: not such a directory."""
        state = State.load(root)
        try:
            record: dict[str, Any] = files.read_json(root / HISTORY)
        except (OSError, ValueError) as e:
            raise DataError(f"does not say how a model was trained: {e}", field=str(root / HISTORY), fix="train again") from e
        return cls(task, state, record, lambda: read_network(task, state, root / MODEL))

    @property
    def text(self) -> str:  # type: ignore[override]
        """Which epoch was kept, by what, and how the training ended."""
        r = self.record
        kept = f"epoch {r['best_epoch']} of {r['history'][-1]['epoch']} kept, by {r['plan']['watch']}{_ENDED[r['ended']]}"
        return f"{kept}; {r.get('world_size', 1)} processes"

    @functools.cached_property
    def module(self) -> torch.nn.Module:
        """The trained network, in evaluation mode on the CPU. Raises as `read_network`."""
        return self._network().eval()

    @functools.cached_property
    def _serving(self) -> torch.nn.Module:
        return self.task.serving_module(self.module, self.state).eval()

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The network's own answers, in FP32; see `Trained.run`."""
        import torch

        serving = self._serving
        with torch.no_grad():
            answer: np.ndarray = serving(**self.task.tensors(dict(inputs), self.state)).float().cpu().numpy()
        return answer

    def graph(self, opset: int) -> onnx.ModelProto:
        """The network as ONNX; see `Trained.graph`."""
        from sluice.learners.torch.graph import network_graph

        return network_graph(self.task, self.state, self._serving, opset)

    def save(self, root: Path) -> None:
        """Write the weights, the state and the history."""
        from sluice.learners.torch.tensorfile import write_tensors

        write_tensors(root / MODEL, self.module.state_dict())
        self.state.save(root)
        files.write_json(root / HISTORY, self.record)


def read_network(task: Task, state: State, weights: Path) -> torch.nn.Module:
    """The network of a task with the weights of a file.

    Raises:
        ProjectError: the project's model settings do not build it.
        DataError: the weights cannot be read, or are of another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    network = task.build(state)
    try:
        network.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as e:
        raise DataError(f"are not the weights of this project's model: {e}", field=str(weights), fix="train again") from e
    return network
