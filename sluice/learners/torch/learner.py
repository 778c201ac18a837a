"""The torch learner as the rest of the project meets it. torch is imported when a model is asked for an answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core import files
from sluice.core.errors import DataError
from sluice.learners.base import HISTORY, Job, Learner, Shipped, Trained
from sluice.learners.config import TrainSection
from sluice.learners.state import State
from sluice.learners.torch.config import TrainConfig

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import torch

    from sluice.learners.torch.network import Network

MODEL = "model.safetensors"
#: What ended a training, as the verdict says it.
_ENDED = {"epochs": "", "patience": ", stopped early", "time": ", ended by train.budget.minutes"}


class TorchLearner(Learner):
    """The loop of `sluice.learners.torch`: one process or many, on one machine or several, resumed bit for bit."""

    name: ClassVar[str] = "torch"
    Train: ClassVar[type[TrainSection]] = TrainConfig
    processes, nodes, folds, resume = True, True, True, True
    ahead: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "train": ("sluice.learners.torch.fit",),
        "training": ("torch", "sluice.learners.torch.worker"),
        "export": ("sluice.formats.export", "sluice.learners.torch.graph:preload"),
    }

    @property
    def network(self) -> Network:
        """What the task is learnt with. Raises `ProjectError`: it names none."""
        from sluice.learners.torch.network import network_of

        return network_of(self.task)

    def code(self) -> tuple[type, ...]:
        """The task's class, the learner's and the network's."""
        return (*super().code(), type(self.network))

    def fit(self, job: Job) -> TorchTrained:
        """Train on this machine, in ``train.processes`` processes; see `sluice.learners.torch.fit.fit`."""
        from sluice.learners.torch.fit import fit

        return fit(self.task, job)

    def load(self, root: Path) -> TorchTrained:
        """As `Learner.load`; the weights are read when they are first asked for."""
        return TorchTrained.open(self.network, Path(root))


class TorchTrained(Trained):
    """``model.safetensors``, ``state.json`` with the processor's files, ``training.json``.

    Args:
        network: what the task is learnt with.
        state: what was fitted beside the network.
        record: the JSON of ``training.json``.
        module: gives the trained module; called once, when it is first needed.
    """

    def __init__(self, network: Network, state: State, record: dict[str, Any], module: Callable[[], torch.nn.Module]):
        self.network, self.state, self.record, self._module = network, state, record, module

    @classmethod
    def open(cls, network: Network, root: Path) -> TorchTrained:
        """What `fit` wrote. Raises `DataError`: not such a directory."""
        state = State.load(root)
        try:
            record: dict[str, Any] = files.read_json(root / HISTORY)
        except (OSError, ValueError) as e:
            raise DataError(f"does not say how a model was trained: {e}", field=str(root / HISTORY), fix="train again") from e
        found = cls(network, state, record, lambda: read_module(network, state, root / MODEL))
        found.root = root
        return found

    @property
    def text(self) -> str:  # type: ignore[override]
        """Which epoch was kept, by what, and how the training ended."""
        r = self.record
        kept = f"epoch {r['best_epoch']} of {r['history'][-1]['epoch']} kept, by {r['plan']['watch']}{_ENDED[r['ended']]}"
        many = r.get("world_size", 1)
        return f"{kept}; {many} process{'' if many == 1 else 'es'}"

    @functools.cached_property
    def module(self) -> torch.nn.Module:
        """The trained network, in evaluation mode on the CPU. Raises as `read_module`."""
        return self._module().eval()

    @functools.cached_property
    def _serving(self) -> torch.nn.Module:
        return self.network.serving_module(self.module, self.state).eval()

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The network's own answers, in FP32; see `Trained.run`."""
        import torch

        serving = self._serving
        with torch.no_grad():
            answer: np.ndarray = serving(**self.network.tensors(dict(inputs), self.state)).float().cpu().numpy()
        return answer

    def graph(self, opset: int) -> onnx.ModelProto:
        """The network as ONNX; see `Trained.graph`."""
        from sluice.learners.torch.graph import network_graph

        return network_graph(self.network, self.state, self._serving, opset)

    def script(self) -> bytes:
        """The network traced; see `Trained.script`."""
        from sluice.learners.torch.script import network_script

        return network_script(self.network, self.state, self._serving)

    def shipped(self) -> Shipped | None:
        """What the network ships in place of a graph; see `Trained.shipped`."""
        return self.network.shipped(self.module, self.state, self.record)

    def save(self, root: Path) -> None:
        """Write the weights, the state and the history."""
        from sluice.learners.torch.tensorfile import write_tensors

        write_tensors(root / MODEL, self.module.state_dict())
        self.state.save(root)
        files.write_json(root / HISTORY, self.record)


def read_module(network: Network, state: State, weights: Path) -> torch.nn.Module:
    """A network's module with the weights of a file.

    Raises:
        ProjectError: the project's model settings do not build it.
        DataError: the weights cannot be read, or are of another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    module = network.build(state)
    try:
        module.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as e:
        raise DataError(f"are not the weights of this project's model: {e}", field=str(weights), fix="train again") from e
    return module
