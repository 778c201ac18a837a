"""The learner of estimators: rows into a matrix, one fit, one graph from the package's inputs to its output."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core import files
from sluice.core.errors import DataError, ProjectError
from sluice.learners.base import HISTORY, Job, Learner, Trained
from sluice.learners.config import TrainSection
from sluice.learners.estimators.base import Estimator, Fitted, Rows
from sluice.learners.estimators.config import EstimatorModel, EstimatorTrain, load_estimator
from sluice.learners.estimators.matrix import TableMatrix
from sluice.learners.estimators.rounds import Rounds, environment, loss_of
from sluice.learners.state import State
from sluice.learners.weights import label_weights
from sluice.problems import evaluator
from sluice.problems.problem import problem

if TYPE_CHECKING:
    import onnx

    from sluice.data.dataset import Dataset
    from sluice.project import Project
    from sluice.tasks.base import Task

#: Of a state's `extra`: how rows become a matrix, which estimator it was made for, which of the labels it saw.
_MATRIX, _ESTIMATOR, _SEEN = "matrix", "estimator", "seen"
_CHUNK = 65_536


class EstimatorsLearner(Learner):
    """Fits the estimator that ``model.estimator`` names, in this process."""

    name: ClassVar[str] = "estimators"
    Train: ClassVar[type[TrainSection]] = EstimatorTrain

    def __init__(self, task: Task):
        super().__init__(task)
        self.libraries = self._kind().libraries

    def code(self) -> tuple[type, ...]:
        """See `Learner.code`; the estimator's class is one of them."""
        return (*super().code(), self._kind())

    def fit(self, job: Job) -> EstimatorTrained:
        """See `Learner.fit`; rows of validation stop boosting early."""
        started = time.perf_counter()
        kind = self._kind()
        state = _state(kind, job.dataset, self._model.estimator)
        held: dict[str, np.ndarray] = {}
        matrix = TableMatrix.load(state.extra[_MATRIX])
        if not kind.detects:
            matrix, held = _learnt(self.task.project, job.dataset, state, matrix)
            state = dataclasses.replace(state, extra={**state.extra, _MATRIX: matrix.dump()})
        estimator = self._estimator(kind, state)
        train, validation = _rows(self.task.project, job.dataset, state, matrix)
        matrix.put(train.matrix, held)
        train = dataclasses.replace(train, monotone=self._monotone(state, matrix, train))
        job.on_event({"kind": "note", "text": f"{self._model.estimator}: {len(train.targets)} rows, {matrix.features} features"})
        rounds = Rounds(job.on_event)
        fitted = estimator.fit(train, validation if len(validation.targets) else None, rounds)
        answers = _Answers(estimator, fitted.model, state, matrix)
        record = {
            **_judged(self.task.project.evaluate.positive, rounds, fitted, answers, train, validation),
            "seconds": time.perf_counter() - started,
            "ended": "patience" if fitted.stopped else "epochs",
            "stopped_early": fitted.stopped,
            "unit": "round",
            **({"said": fitted.text} if fitted.text else {}),
            "world_size": 1,
            "environment": environment(self.task.project.train.threads, self.libraries),
        }
        made = EstimatorTrained(state, record, answers, self._model.estimator)
        job.on_event({"kind": "epoch", **made.best, "epochs": made.best["epoch"]})  # the last there is: nothing is left to stop early
        with files.new_dir(job.out) as tmp:
            made.save(tmp)
        made.root = job.out
        return made

    def load(self, root: Path) -> EstimatorTrained:
        """See `Learner.load`."""
        root = Path(root)
        state = State.load(root)
        named = state.extra.get(_ESTIMATOR)
        if named != self._model.estimator:
            raise ProjectError(
                f"does not build this model, which is of {named!r}", field="model.estimator", value=self._model.estimator, fix="train again"
            )
        estimator = self._estimator(self._kind(), state)
        try:
            record: dict[str, Any] = files.read_json(root / HISTORY)
            model = estimator.read(root)
        except (OSError, ValueError) as e:
            raise DataError(f"cannot be read as a {named}: {e}", field=str(root), fix="train again") from e
        answers = _Answers(estimator, model, state, TableMatrix.load(state.extra[_MATRIX]))
        found = EstimatorTrained(state, record, answers, self._model.estimator)
        found.root = root
        return found

    @property
    def _model(self) -> EstimatorModel:
        model = self.task.project.model
        assert isinstance(model, EstimatorModel)
        return model

    def _monotone(self, state: State, matrix: TableMatrix, train: Rows) -> list[int]:
        """`Rows.monotone`, turned where the positive label is the first one. Raises `ProjectError`, as the checks of the data do."""
        wanted: Mapping[str, str] = getattr(self._model, "monotone", {})
        if not wanted:
            return []
        self._model.suits(state.problem, state.labels)
        positive = self.task.project.evaluate.positive or state.problem.positive(train.targets, state.labels)
        rises = -1 if state.labels and positive == state.labels[0] else 1
        places, found = matrix.places(state.processor), [0] * matrix.features
        for name, way in wanted.items():
            if name not in places:
                raise ProjectError("is no column of numbers", field="model.monotone", value=name, fix=f"columns: {', '.join(places)}")
            found[places[name]] = rises if way == "increasing" else -rises
        return found

    def _kind(self) -> type[Estimator]:
        kind: type[Estimator] = load_estimator(self._model.estimator, self.task.base_dir)
        return kind

    def _estimator(self, kind: type[Estimator], state: State) -> Estimator:
        train = self.task.project.train
        return kind(self._model, len(state.extra[_SEEN]), train.seed, getattr(train, "threads", 1))


@dataclasses.dataclass(frozen=True)
class _Answers:
    """A library's model between the package's tensors and its output."""

    estimator: Estimator
    model: Any
    state: State
    matrix: TableMatrix

    def of(self, matrix: np.ndarray) -> np.ndarray:
        """Probabilities [rows, labels] or values [rows], FP32; a label that no training row has gets 0."""
        found = np.asarray(self.estimator.predict(self.model, matrix))
        if not self.state.labels:
            return found.reshape(len(matrix)).astype(np.float32)
        out = np.zeros((len(matrix), len(self.state.labels)), dtype=np.float32)
        out[:, self.state.extra[_SEEN]] = found
        return out


class EstimatorTrained(Trained):
    """What the library wrote, ``state.json`` with the processor's files, ``training.json``."""

    def __init__(self, state: State, record: dict[str, Any], answers: _Answers, name: str):
        self.state, self.record, self._answers, self._name = state, record, answers, name

    @functools.cached_property
    def text(self) -> str:  # type: ignore[override]
        """Which estimator, and which of its rounds is used."""
        rounds = len(self.record["history"])
        if "said" in self.record:
            return f"{self._name}: {self.record['said']}"
        if rounds == 1:
            return f"{self._name} fitted"
        early = ", stopped early" if self.record["stopped_early"] else ""
        return f"{self._name}: round {self.record['best_epoch']} of {rounds} kept, by validation loss{early}"

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The library's own prediction; see `Trained.run`."""
        return self._answers.of(self._answers.matrix.of(inputs))

    def shap(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        """The library's, the features of an input added up; see `Trained.shap`."""
        a = self._answers
        found = a.estimator.shap(a.model, a.matrix.of(inputs))
        if found is None:
            return None
        owners = np.array(a.matrix.owners())
        return {name: found[:, :, owners == name].sum(axis=2) for name in dict.fromkeys(owners.tolist())}

    def graph(self, opset: int) -> onnx.ModelProto:
        """The matrix and the converted model in one graph; see `Trained.graph`."""
        from sluice.learners.estimators.graph import table_graph

        a = self._answers
        inner = a.estimator.graph(a.model, a.matrix.features, opset)
        return table_graph(self.state, a.matrix, inner, self.state.extra[_SEEN], opset)

    def save(self, root: Path) -> None:
        """Write the library's file, the state and the history."""
        self._answers.estimator.write(self._answers.model, root)
        self.state.save(root)
        files.write_json(root / HISTORY, self.record)


def _state(kind: type[Estimator], dataset: Dataset, name: str) -> State:
    """The pre-processing, the matrix, and the labels there are rows of.

    Raises:
        ProjectError: the estimator does not learn this kind of label.
        DataError: all training rows have one label.
    """
    from sluice.learners.tables.fit import fit_table

    classes = problem(dataset.objective).classes
    if not (kind.classifies if classes else kind.measures):
        learns, label = ("quantities", "classes") if classes else ("classes", "a quantity")
        raise ProjectError(
            f"learns {learns}, and the label is {label}",
            field="model.estimator",
            value=name,
            fix="name another one, or set model.objective",
        )
    state = fit_table(dataset)
    seen: list[int] = []
    if classes:
        there = set(dataset.read("train", ["label"]).column("label").unique().to_pylist())
        seen = [i for i, label in enumerate(state.labels) if label in there or kind.detects]
        if len(seen) < 2:
            raise DataError("have one label only", field="training rows", value=sorted(there), fix="give rows of two labels or more")
    return dataclasses.replace(state, extra={_MATRIX: TableMatrix.fitted(state, kind).dump(), _ESTIMATOR: name, _SEEN: seen})


def _learnt(project: Project, dataset: Dataset, state: State, matrix: TableMatrix) -> tuple[TableMatrix, dict[str, np.ndarray]]:
    """The matrix with what the answers tell of texts and of categories with many values, and what training rows have in its place."""
    from sluice.engines.rows import tensors_from_arrow
    from sluice.learners.estimators.learnt import Answered, learnt
    from sluice.learners.folds import groups_of

    tables = {name: c.values for name, c in matrix.categories.items() if c.many}
    texts = {name: w.values for name, w in matrix.words.items()}
    if not tables and not texts:
        return matrix, {}
    batches = dataset.batches("train", rows=_CHUNK)
    found = [
        ({n: t[n][:, 0] for n in (*tables, *texts)}, b.column("label")) for b in batches for t in [tensors_from_arrow(state.processor, b)]
    ]
    strings = {n: np.concatenate([f[n] for f, _ in found]) for n in (*tables, *texts)}
    targets = np.concatenate([problem(state.objective).targets(labels, state.labels) for _, labels in found])
    if state.labels:
        targets = _places(state)[targets]
    groups = groups_of(dataset, project.train.fold_groups)
    scores, words, held = learnt(tables, texts, strings, Answered.of(targets, len(state.extra[_SEEN]), groups, project.train.seed))
    return matrix.learnt(scores, words), held


def _places(state: State) -> np.ndarray:
    """Of each label its number among those that have training rows, -1 for one without; INT64 [labels]."""
    place = np.full(len(state.labels), -1, dtype=np.int64)
    place[state.extra[_SEEN]] = np.arange(len(state.extra[_SEEN]))
    return place


def _rows(project: Project, dataset: Dataset, state: State, matrix: TableMatrix) -> tuple[Rows, Rows]:
    """The rows of training and of validation as the estimator takes them; without those of a label that no training row has."""
    from sluice.learners.folds import groups_of

    x, y = _read(dataset, state, matrix, "train")
    held, true = _read(dataset, state, matrix, "validation")
    apart: dict[str, Any] = {"groups": groups_of(dataset, project.train.fold_groups), "timed": _timed(dataset)}
    if not state.labels:
        return Rows(x, y, **apart), Rows(held, true)
    weights = label_weights(project.train.class_weights, state.labels, y)
    weigh = None if weights is None else np.array(weights, dtype=np.float64)
    place = _places(state)
    known = (true >= 0) & (place[true] >= 0)
    held, true = held[known], true[known]
    return Rows(x, place[y], None if weigh is None else weigh[y], **apart), Rows(held, place[true], None if weigh is None else weigh[true])


def _timed(dataset: Dataset) -> bool:
    """Whether the split held the newest rows out."""
    return bool(dataset.manifest["source"].get("split", {}).get("by") == "time")


def _read(dataset: Dataset, state: State, matrix: TableMatrix, split: str) -> tuple[np.ndarray, np.ndarray]:
    """A split's matrix and its targets; no rows where there is no such split."""
    from sluice.engines.rows import tensors_from_arrow

    parts, targets = [np.zeros((0, matrix.features), dtype=np.float32)], []
    for batch in dataset.batches(split, rows=_CHUNK) if split in dataset.manifest["splits"] else ():
        parts.append(matrix.of(tensors_from_arrow(state.processor, batch)))
        targets.append(problem(state.objective).targets(batch.column("label"), state.labels))
    kind = np.int64 if state.labels else np.float64
    return np.concatenate(parts), np.concatenate(targets).astype(kind) if targets else np.zeros(0, dtype=kind)


def _judged(positive: str | None, rounds: Rounds, fitted: Fitted, answers: _Answers, train: Rows, validation: Rows) -> dict[str, Any]:
    """The history, with the model's own metrics on the validation rows beside its round, which is told of last."""
    history = rounds.history or [{"epoch": 1, "train_loss": loss_of(answers.of(train.matrix), _labels(answers, train), train.weights)}]
    best = history[max(0, fitted.best - 1)]
    best.setdefault("validation_loss", None)
    metrics: dict[str, float] = {}
    if len(validation.targets):
        found, true = answers.of(validation.matrix), _labels(answers, validation)
        if best["validation_loss"] is None:
            best["validation_loss"] = loss_of(found, true, validation.weights)
        labels = answers.state.labels
        asked = answers.state.problem
        positive = positive or asked.positive(_labels(answers, train), labels)
        metrics = {n: v for n, v in evaluator.values(found, true, labels, positive=positive, asked=asked).items() if v is not None}
    best["validation_metrics"] = metrics
    return {"history": history, "best_epoch": best["epoch"], "rows": {"train": len(train.targets), "validation": len(validation.targets)}}


def _labels(answers: _Answers, rows: Rows) -> np.ndarray:
    """True answers as indices into the model's labels, or values."""
    return np.asarray(answers.state.extra[_SEEN], dtype=np.int64)[rows.targets] if answers.state.labels else rows.targets
