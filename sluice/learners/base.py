"""How a task is learnt: the learner, what it is given, and what it leaves.

Nothing heavy is imported here: the project file is checked with `Learner.Train`, long before anything is learnt.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core.datatypes import EngineSpec
from sluice.core.registry import Registry
from sluice.learners.config import TrainSection

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from sluice.data.dataset import Dataset
    from sluice.fields import Processor
    from sluice.learners.state import State
    from sluice.tasks.base import Task

#: Every learner there is by name.
LEARNERS = Registry(
    "learner",
    {
        "torch": "sluice.learners.torch.learner:TorchLearner",
        "policy": "sluice.learners.policy.learner:PolicyLearner",
        "bandit": "sluice.learners.bandit.learner:BanditLearner",
        "estimators": "sluice.learners.estimators.learner:EstimatorsLearner",
        "recommend": "sluice.learners.recommend.learner:RecommendLearner",
        "forecast_auto": "sluice.learners.forecasts.auto:AutoForecasts",
        "forecast_trees": "sluice.learners.forecasts.learner:TreesLearner",
        "prompts": "sluice.learners.prompts.learner:PromptsLearner",
    },
)

#: Of a trained model's directory: how it was learnt, as JSON.
HISTORY = "training.json"

Event = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Job:
    """What `Learner.fit` is to do.

    Attributes:
        dataset: the data; rows of `train` are learnt from, those of `validation` only looked at.
        out: the directory to make, whole or not at all.
        on_event: told of progress: ``{"kind": "step" | "epoch" | "note" | "warning" | "stack", ...}``.
        checkpoints: a directory that outlives the job, for a learner that can go on where it was killed.
    """

    dataset: Dataset
    out: Path
    on_event: Callable[[Event], None] = lambda event: None
    checkpoints: Path | None = None


@dataclasses.dataclass(frozen=True)
class Shipped:
    """A model that goes into its package as it is, and not as an ONNX graph.

    Attributes:
        form: what a package calls it (``precision``).
        engine: what opens it.
        files: of the package, by name.
        provenance: what its package says beside the usual, plain JSON.
        text: a sentence on it.
    """

    form: str
    engine: EngineSpec
    files: Mapping[str, bytes]
    provenance: Mapping[str, Any]
    text: str


class Trained(ABC):
    """A model that was learnt: it answers, gives its ONNX graph, and can be written down.

    Attributes:
        state: what was fitted beside the model: labels, pre-processing, its files.
        record: how it was learnt, the JSON of ``training.json``: ``history`` (an entry an epoch or round: epoch, train_loss,
            validation_loss, validation_metrics; at least one), ``best_epoch`` (whose entry is the model's), ``seconds``, ``ended``,
            ``world_size``, ``environment``.
        text: the same in a sentence: what was kept and why.
        root: the directory it lies in; None of one that was not written down.
    """

    state: State
    record: dict[str, Any]
    text: str
    root: Path | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """The validation metrics of the model's own epoch, with ``loss``; empty without validation rows."""
        entry = self.best
        loss = {} if entry["validation_loss"] is None else {"loss": entry["validation_loss"]}
        return {**loss, **entry["validation_metrics"]}

    @property
    def history(self) -> list[dict[str, Any]]:
        """An entry an epoch or round."""
        return list(self.record["history"])

    @property
    def best(self) -> dict[str, Any]:
        """The history's entry of the model itself."""
        history = self.history
        return next((h for h in history if h["epoch"] == self.record["best_epoch"]), history[-1])

    @property
    def processor(self) -> Processor:
        """The package's pre-processing, loaded once."""
        return self.state.processor

    @abstractmethod
    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The model's own answers: what the exported graph has to agree with.

        Args:
            inputs: the package's input tensors, [rows, ...] each, as `processor.batch` gives them.

        Returns:
            Probabilities [rows, labels] or values [rows], FP32.
        """

    @abstractmethod
    def graph(self, opset: int) -> onnx.ModelProto:
        """The ONNX graph from the package's input tensors to ``probabilities`` or ``value``, in FP32.

        Args:
            opset: of ai.onnx.

        Raises:
            SluiceError: it cannot be written as ONNX.
        """

    def script(self) -> bytes:
        """The model as TorchScript, with the package's inputs and outputs.

        Raises:
            SluiceError: it is none of torch's, the default, or cannot be traced.
        """
        from sluice.core.errors import SluiceError

        raise SluiceError("the model is no network of torch's")

    def shipped(self) -> Shipped | None:
        """What is packaged in place of a graph; None, the default: `graph` is."""
        return None

    def shap(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        """What each input adds to each answer before its last step (log-odds of classes, values as they are), by the library's exact method.

        Args:
            inputs: as for `run`.

        Returns:
            Input -> [rows, outputs]; None, the default, of a model that has no such method.
        """
        return None

    @abstractmethod
    def save(self, root: Path) -> None:
        """Write into an existing directory what `Learner.load` reads: safetensors, JSON, ONNX; never pickle."""


class Learner(ABC):
    """One way to learn, for the tasks that name it.

    A learner of your own derives from this class, checks ``train:`` with its own `Train`, and is named by a task (`Task.learnt_by`)
    as ``module:Class`` or as an entry point of the group ``sluice.learners``.

    Args:
        task: what is learnt, with the project's settings; `task.project.train` is an instance of the learner's `Train`.

    Attributes:
        name: of the registry.
        Train: the section that checks ``train:``; importable without the library that learns.
        processes: whether ``train.processes`` of one machine can share the work.
        nodes: whether several machines can.
        folds: whether it can be cross-validated.
        resume: whether a killed job goes on where it was, to the same model.
        ahead: what a warm process has imported when this learner's work in it begins: ``train``, the step itself; ``training``,
            processes that `fit` starts; on top of that ``export``. Nothing in it may start a thread, or run anything.
        libraries: distributions whose versions make the model: the package names them.
    """

    name: ClassVar[str]
    Train: ClassVar[type[TrainSection]]
    processes: ClassVar[bool] = False
    nodes: ClassVar[bool] = False
    folds: ClassVar[bool] = True
    resume: ClassVar[bool] = False
    ahead: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    libraries: tuple[str, ...] = ()

    def __init__(self, task: Task):
        self.task = task

    def code(self) -> tuple[type, ...]:
        """The classes that make the model: of those of the user's own the package says which they were."""
        return (type(self.task), type(self))

    @abstractmethod
    def fit(self, job: Job) -> Trained:
        """Learn, and leave the model in ``job.out``: what `load` gives back. Equal project, data and seed give an equal model.

        Raises:
            ProjectError, DataError: settings or rows that cannot be learnt from.
            SluiceError: it failed; nothing is left.
        """

    @abstractmethod
    def load(self, root: Path) -> Trained:
        """What `fit` left in a directory, ready to answer.

        Raises:
            ProjectError: the project's settings do not build this model.
            DataError: not a directory that `fit` made.
        """
