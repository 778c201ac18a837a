"""What an estimator is: its parameters, how it is fitted, how it answers, how it is written down, and its ONNX graph."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from sluice.learners.estimators.config import EstimatorModel

if TYPE_CHECKING:
    import numpy as np
    import onnx


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows to learn from, or to look at.

    Attributes:
        matrix: FP32 [rows, features], what `TableMatrix` makes of them.
        targets: indices of classes, INT64 [rows]; or values, FP64 [rows].
        weights: how much each weighs, FP64 [rows]; None: all the same.
        monotone: of each feature 1 where the answer (of two classes the second one's probability) may only rise with it, -1 where it may only
            fall, 0 where it may do either; empty: all may.
        groups: rows of one number belong together, INT64 [rows] from 0: who holds some out holds out all of them. None: each stands alone.
        timed: whether the rows to come are newer than these: none of these stands for them.
        free: of rows of validation: whether nothing else judges by them, so that a model may learn them once it is chosen (`Fitted.held`).
    """

    matrix: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None
    monotone: Sequence[int] = ()
    groups: np.ndarray | None = None
    timed: bool = False
    free: bool = False

    def only(self, which: np.ndarray) -> Rows:
        """Some of them, by a mask or by their numbers."""
        weights, groups = (None if v is None else v[which] for v in (self.weights, self.groups))
        return dataclasses.replace(self, matrix=self.matrix[which], targets=self.targets[which], weights=weights, groups=groups)

    def and_(self, other: Rows) -> Rows:
        """These and others behind them; whose groups they share."""
        import numpy as np

        def joined(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
            return None if a is None or b is None else np.concatenate([a, b])

        return dataclasses.replace(
            self,
            matrix=np.concatenate([self.matrix, other.matrix]),
            targets=np.concatenate([self.targets, other.targets]),
            weights=joined(self.weights, other.weights),
            groups=joined(self.groups, other.groups),
        )


class Tell(Protocol):
    """Is told of a round of boosting that is done."""

    def __call__(self, number: int, of: int, train_loss: float | None = None, validation_loss: float | None = None) -> None:
        """Round `number`, from 1, of at most `of`; losses are log loss, or the mean squared error."""


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A library's model, which round of it is used (0: there are none), and what a person should know of it.

    Attributes:
        held: answers to the rows of validation by models that had not learnt them, where the model has; None: it has not.
        choice: of a model that was chosen among several, plain JSON: `loss` (its name), `rows` (how many were judged by), `judged_on`, and
            `models`, the tried ones: `name`, `says`, `loss`, `share` in the answer.
    """

    model: Any
    best: int = 0
    stopped: bool = False
    text: str = ""
    held: np.ndarray | None = None
    choice: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Estimator(ABC):
    """One kind of model of a table, fitted by a library in one call.

    An estimator of your own derives from this class, or from `sluice.learners.estimators.scikit.ScikitEstimator` where scikit-learn
    has it, and is named in ``model.estimator`` as ``module:Class`` or as an entry point of the group ``sluice.estimators``. The module
    imports its library inside the methods, so that a project file is read without it.

    Args:
        settings: the project's ``model:``, an instance of `Model`.
        classes: how many classes the training rows hold; 0 for a quantity.
        seed: the only source of chance.
        threads: CPU threads; the model must not depend on them.

    Attributes:
        Model: the section with its parameters.
        libraries: distributions whose versions make the model: the package names them.
        classifies, measures: whether it learns classes, and quantities.
        detects: whether it learns what is usual among rows; its classes are then those of `sluice.problems.anomaly`, and rows of one are enough.
        reads_missing: whether it takes NaN for missing by itself; else a missing number is the mean of the training rows, with a flag beside it.
        scaled: whether it wants numbers with mean 0 and deviation 1.
        about: what it is, in a few words.
        one_hot: whether a category has a column for each of its commonest values; else its rank stands for it.
        ranks: whether it can use one number for a category of very many values: their rank by frequency.
    """

    Model: ClassVar[type[EstimatorModel]]
    libraries: ClassVar[tuple[str, ...]] = ()
    classifies: ClassVar[bool] = True
    measures: ClassVar[bool] = True
    detects: ClassVar[bool] = False
    reads_missing: ClassVar[bool] = False
    scaled: ClassVar[bool] = False
    ranks: ClassVar[bool] = False
    about: ClassVar[str] = ""
    one_hot: ClassVar[bool] = True

    def __init__(self, settings: Any, classes: int, seed: int, threads: int = 1):
        self.settings, self.classes, self.seed, self.threads = settings, classes, seed, threads

    @abstractmethod
    def fit(self, train: Rows, validation: Rows | None, tell: Tell) -> Fitted:
        """Learn from the training rows; those of validation are only looked at, to stop early (but see `Rows.free`).

        Equal rows, settings and seed give an equal model.

        Args:
            train: the training rows.
            validation: None where the dataset has none.
            tell: told of each round, where there are rounds.
        """

    @abstractmethod
    def predict(self, model: Any, matrix: np.ndarray) -> np.ndarray:
        """The library's own answers: probabilities [rows, classes], or values [rows], of any float type."""

    def shap(self, model: Any, matrix: np.ndarray) -> np.ndarray | None:
        """What each feature adds to each answer's log-odds, or value, [rows, outputs, features], where the library tells. Default: None."""
        return None

    @abstractmethod
    def graph(self, model: Any, features: int, opset: int) -> onnx.ModelProto:
        """The model as ONNX: one FP32 input [rows, features]; its last output probabilities [rows, classes], or values [rows, 1].

        Args:
            model: what `fit` made.
            features: columns of the matrix.
            opset: of ai.onnx; an older one will do.
        """

    @abstractmethod
    def write(self, model: Any, root: Path) -> None:
        """Write the model into a directory as text, JSON or tensors; equal models give equal bytes. Never pickle: reading that runs code."""

    @abstractmethod
    def read(self, root: Path) -> Any:
        """What `write` wrote. Raises `OSError` or `ValueError`: it is not there, or not such a model."""
