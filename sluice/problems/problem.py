"""What an answer is and how it is judged: a `Problem`, found by name.

Who wants to know whether a model classifies asks its problem, and does not compare words. A problem of your own derives from the
nearest one that is there and changes what differs: its metrics, its unit. Nothing heavy is imported here, so that a server may.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core.errors import ProjectError
from sluice.core.registry import Registry
from sluice.problems.closeness import Closeness

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from sluice.core.datatypes import TensorSpec
    from sluice.data.dataset import Dataset
    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule
    from sluice.problems.metrics import Metric
    from sluice.problems.units import Units

PROBLEMS = Registry(
    "problem",
    {
        "classification": "sluice.problems.classification:Classification",
        "regression": "sluice.problems.regression:Regression",
        "arrays": "sluice.problems.arrays:Arrays",
        "series_forecast": "sluice.problems.forecast:Forecast",
        "anomaly_detection": "sluice.problems.anomaly:AnomalyDetection",
        "ranking": "sluice.problems.ranking:Ranking",
        "synthesis": "sluice.problems.generation.problem:Generation",
        "multilabel": "sluice.problems.multilabel:MultiLabel",
        "text_similarity": "sluice.problems.similarity:Similarity",
        "vectors": "sluice.problems.similarity:Vectors",
        "word_tags": "sluice.problems.tagging:Tagging",
        "episode_returns": "sluice.problems.policy:Policy",
        "off_policy": "sluice.problems.bandit:Bandit",
        "transcription": "sluice.problems.transcription:Transcription",
        "prompted": "sluice.problems.prompted:Prompted",
        "likelihood": "sluice.problems.likelihood:Likelihood",
    },
)


#: The problem of a task that names none.
DEFAULT = "classification"
#: Those of rows that have a label, or a set of them.
OF_LABELS = (DEFAULT, "multilabel")


class Problem(Closeness, ABC):
    """What an answer is and how it is judged. It holds nothing: one object serves everybody.

    Attributes:
        name: on disk, as `PROBLEMS` finds it: a dataset's ``objective``. Of a class that gives none ``module:Class``.
        served: the built-in problem whose answers these are, a package's ``objective``: a server needs no Python of the user's.
        label: the kind of field that the label is.
        classes: whether an answer is one of a set of labels, each with a probability.
        scalar: whether an answer is one number. Neither: it is an array of numbers (`sluice.problems.arrays`).
        graded: what the number is that a threshold is laid through.
        lopsided: whether rows of one label are enough to learn from, and the other may be as rare as it will.
        independent: whether each part of an answer is a probability by itself, which others do not limit.
        longest: of answers that are sequences of its labels, how many one has at most; 0: they are none.
        splits: the ways of ``data.split.by`` that leave what is held out independent of what is trained on.
        output: name of the graph's first output.
        datatype: of that output.
        asked_by: ``module:function`` that asks a package itself and judges what it answered (`sluice.engines.scoring.asked_and_judged`); "" where
            rows go through the package's engine and answers are judged as they are.
        replayed_by: ``module:function`` that says of project, package and held-out rows how an answer to each is judged in a rollout's replay; "" where
            the label alone says it.
        counted: what a row of an evaluation is called, many of them.
        better, more: what makes a model of it better, and what it takes to be better on some rows, each the beginning of a sentence.
        linear: what a linear model of it is called; "" where none is trained beside it.
        further: outputs of the graph behind the first one, which nothing judges.
        tells: what a server answers beside the graph's outputs: name -> datatype and the axes of one row's.
        answer_change, changes: of `Closeness`.
        by_file: ``module:function`` that answers a file whose rows are not the model's (`sluice.prediction.files`); "" where there is none.
    """

    name: ClassVar[str]
    served: ClassVar[str]
    label: ClassVar[str]
    classes: ClassVar[bool]
    scalar: ClassVar[bool] = False
    lopsided: ClassVar[bool] = False
    graded: ClassVar[str] = "probability"
    independent: ClassVar[bool] = False
    longest: ClassVar[int] = 0
    splits: ClassVar[tuple[str, ...]] = ("hash", "time", "group")
    output: ClassVar[str]
    datatype: ClassVar[str] = "FP32"
    asked_by: ClassVar[str] = ""
    replayed_by: ClassVar[str] = ""
    counted: ClassVar[str] = "held-out rows"
    better: ClassVar[str] = "train longer or on more rows"
    more: ClassVar[str] = "train on more rows"
    linear: ClassVar[str]
    by_file: ClassVar[str] = ""
    further: ClassVar[tuple[TensorSpec, ...]] = ()
    tells: ClassVar[Mapping[str, tuple[str, tuple[int, ...]]]] = MappingProxyType({})

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = f"{cls.__module__}:{cls.__qualname__}"

    # --- labels, targets, outputs ---

    @abstractmethod
    def labels(self, column: pa.ChunkedArray) -> list[str]:
        """The labels there are in a column of true answers, sorted; of arrays the names of an answer's parts; empty where it is a value."""

    def unknown(self, column: pa.ChunkedArray, labels: Sequence[str]) -> Any:
        """A true answer that is none of these labels; None where there is none. Default: none of arrays and values."""
        return None

    @abstractmethod
    def check_labels(self, labels: Sequence[str]) -> None:
        """Raises `ValueError`, with a sentence, where such a problem cannot have these labels."""

    def fastest(self, labels: Sequence[str]) -> float:
        """Of answers that are sequences: labels a second that a model can tell apart in a recording, at most. Default: any number."""
        return float("inf")

    @abstractmethod
    def described(self, labels: Sequence[str]) -> str:
        """What the label is, a clause: ``there are 3 labels``."""

    @abstractmethod
    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """True answers as numbers [rows, ...]: indices into `labels` int64, -1 for one that is not among them; or values float64."""

    @abstractmethod
    def width(self, labels: Sequence[str]) -> tuple[int, ...]:
        """The axes of one answer: ``(labels,)``, or none."""

    # --- judging ---

    def metrics(self) -> Mapping[str, Metric]:
        """Its metrics by name; a model is judged by the first one unless the project names another. Default: those of what it is `served` as."""
        from sluice.problems.metrics import TABLE

        return {name: metric for name, metric in TABLE.items() if metric.objective == self.served}

    def answers(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        labels: Sequence[str],
        *,
        rule: Rule | None = None,
        positive: str | None = None,
        units: Units | None = None,
    ) -> Answers:
        """A model's answers, checked, with what is true and which rows belong together.

        Args:
            outputs: [rows, *`width`].
            targets: as `targets` gives them.
            labels: of the model.
            rule: how an output becomes a label.
            positive: the label that metrics of one label are of.
            units: which rows belong together; None: each stands alone.

        Raises:
            DataError: no rows, or shapes that do not match.
            SluiceError: the outputs are not finite.
            ProjectError: `positive` is no label.
        """
        from sluice.problems.answers import answers

        return answers(outputs, targets, labels, rule=rule, positive=positive, units=units)

    def positive(self, targets: np.ndarray, labels: Sequence[str]) -> str | None:
        """The label that metrics of one label are of where the project names none. Default: of two labels the rarer one.

        Args:
            targets: the training rows' true answers, of `targets`.
            labels: of the data.
        """
        from sluice.problems.answers import rarer

        return rarer(targets, labels) if self.classes else None

    @abstractmethod
    def pair(
        self, ours: Answers, labels: Sequence[str], outputs: np.ndarray, their_labels: Sequence[str], rule: Rule | None
    ) -> tuple[Answers, Answers, np.ndarray]:
        """Two models' answers to the rows on which both can be right.

        Args:
            ours: one's answers, with the truth and the units.
            labels: its labels.
            outputs: the other's, to the same rows.
            their_labels: its labels.
            rule: how its outputs become a label.

        Returns:
            Both, and which of all rows (bool [rows]) these are.

        Raises:
            ValueError: the other's labels are of another problem.
        """

    @abstractmethod
    def told_apart(self, ours: Answers, theirs: Answers) -> dict[str, float]:
        """``n_discordant``, the rows on which two models differ, and what more tells which of them is right."""

    @abstractmethod
    def constant(self, targets: np.ndarray, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """The best answer that looks at no features: what any model has to beat.

        Args:
            targets: the training rows' true answers, of `targets`.
            labels: of the model.
            metric: by which models are judged.
            positive: the label that it is of; None where there is none.

        Returns:
            What it is, for a sentence; one answer, of the shape `width`.
        """

    def trivial(self, dataset: Dataset, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """What any model has to beat, for each test row: `constant` throughout, unless a problem knows better.

        Returns:
            What it is, for a sentence; answers [test rows, *`width`].
        """
        import numpy as np

        name, answer = self.constant(self.targets(dataset.read("train", ["label"]).column("label"), labels), labels, metric, positive)
        return name, np.tile(answer, (dataset.rows("test"), *[1] * answer.ndim))

    def simple(self, x: Any, y: np.ndarray, others: Sequence[Callable[[], Any]], labels: Sequence[str]) -> list[np.ndarray] | None:
        """Answers of a simple model of its own kind, which is then called as `linear` says. Default: None, a logistic or a ridge regression is fitted.

        Args:
            x: the training rows, standardised numbers and an indicator a category: [rows, features], an array or a sparse matrix.
            y: their true answers, of `targets`.
            others: give the rows to answer, [rows, features] each.
            labels: of the model.

        Returns:
            Answers [rows, *`width`] to each of `others`.
        """
        return None

    def notable(self, outputs: np.ndarray) -> np.ndarray | None:
        """How much each answer asks to be looked at, float64 [rows], on a scale on which differences add up; None where none does more than another."""
        return None

    @abstractmethod
    def missed(self, answer: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The rows (bool [rows]) that one constant answer [*`width`] gets wrong."""

    def judged(
        self,
        predict: Callable[[Sequence[Any]], np.ndarray],
        ask: Callable[[str], np.ndarray],
        dataset: Dataset,
        split: str,
        labels: Sequence[str],
    ) -> tuple[np.ndarray, np.ndarray]:
        """A packaged model's answers and what is true, as metrics take them. Default: the split's rows and their labels.

        Args:
            predict: raw rows -> the graph's first output, for a problem that asks for itself (a policy plays).
            ask: a split -> the answers to its rows.
            dataset, split: what is held out.
            labels: of the model.

        Returns:
            Outputs and targets, a row each for what `units` tells of.
        """
        return ask(split), self.targets(dataset.read(split, ["label"]).column("label"), labels)

    @property
    def by_row(self) -> Problem:
        """The problem by which answers to single rows are compared where a format is proved. Default: itself."""
        return self

    def proof(self, targets: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """What counts as true where a format is proved: by default what is, `targets`; of actions what the trained model itself answers.

        Args:
            targets: of `targets`. reference: the trained model's own answers, to the same rows.
        """
        return targets

    @abstractmethod
    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """What an evaluation says beside metrics and slices: plain JSON, shown by the report."""

    def units(self, dataset: Dataset, split: str) -> Units | None:
        """Which rows of a split belong together: those of one group of ``data.split``. None where each stands alone."""
        from sluice.problems.units import GROUP, Units

        if dataset.grouped_by is None:
            return None
        return Units.told(dataset.grouped_by, dataset.read(split, [GROUP]).column(GROUP).to_pylist())

    # --- answering ---

    @abstractmethod
    def columns(self, outputs: np.ndarray, labels: Sequence[str], rule: Rule | None) -> dict[str, pa.Array]:
        """A model's outputs as the columns that a person reads."""

    def told(self, outputs: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
        """What a server answers beside the graph's outputs, as `tells` lists it: [rows, ...] each; texts as object arrays. Default: nothing."""
        return {}

    def heard(self, answer: Any, labels: Sequence[str], reference: Mapping[str, Any]) -> str:
        """A true answer that a client tells, as the text that the log of feedback keeps. Default: a text, or lists of texts and finite numbers as JSON.

        Args:
            answer: of a JSON document.
            labels: of the model.
            reference: what the training rows' true answers were like, `label` of the package's profile.

        Raises:
            ValueError: it cannot be true, with a clause that says why.
        """
        from sluice.problems.told import plain

        return plain(answer)

    def read_back(self, texts: Sequence[str]) -> Sequence[Any]:
        """Texts of `heard` as values of the label's field. Default: lists out of JSON, others as they are."""
        from sluice.problems.told import back

        return [back(t) for t in texts]

    def observed(self, outputs: np.ndarray) -> np.ndarray:
        """One number a row that a server counts and drift watches: float64 [rows]. Default: the mean of an answer's parts."""
        import numpy as np

        found: np.ndarray = np.asarray(outputs, dtype=np.float64).reshape(len(outputs), -1).mean(axis=1)
        return found

    def faults(self, found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """What of an evaluation speaks against a model by itself, which is refused for it, and what a person has to hear of it. Default: nothing.

        Args:
            found: of `sluice.problems.evaluator.evaluate`.
        """
        return [], []

    def section(self, found: Mapping[str, Any]) -> str:
        """Its own part of an evaluation's report, as HTML; `found` is what `details` gave, with the metrics. Default: none."""
        return ""


def built_in(classes: bool) -> Problem:
    """The built-in problem whose answers are labels, or values."""
    return next(p for p in map(problem, PROBLEMS.built_in) if p.classes == classes and p.scalar != classes)


def of_labels(labels: Sequence[str]) -> Problem:
    """The built-in problem of a model with these labels; that of values where there are none."""
    return built_in(bool(labels))


@functools.cache
def _made(kind: type[Problem]) -> Problem:
    return kind()


def problem(name: str, *, field: str = "model.objective", beside: Path | None = None) -> Problem:
    """The problem of a name, or of a ``module:Class``.

    Args:
        name: as it stands in a project file, a dataset or a package.
        field: where it stands, for errors.
        beside: the project file's folder, where a class of the user's own may lie.

    Raises:
        ProjectError: there is none, or it is no `Problem`.
    """
    kind = PROBLEMS.get(name, field=field, beside=beside)
    if not (isinstance(kind, type) and issubclass(kind, Problem)):
        raise ProjectError(
            "does not derive from sluice.problems.problem.Problem",
            field=field,
            value=name,
            fix="derive from Classification or Regression in sluice.problems",
        )
    missing = sorted(kind.__abstractmethods__)
    if missing:
        raise ProjectError(f"does not define {', '.join(missing)}", field=field, value=name, fix=f"define them in {kind.__name__}")
    return _made(kind)
