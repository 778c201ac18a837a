"""One fit of an estimator: a dataset's rows into a matrix, the library's call, and how it went."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core import files
from sluice.core.errors import DataError, ProjectError
from sluice.learners.base import Job
from sluice.learners.estimators.base import Estimator, Fitted, Rows
from sluice.learners.estimators.config import EstimatorModel
from sluice.learners.estimators.matrix import TableMatrix
from sluice.learners.estimators.rounds import Rounds, environment, loss_of
from sluice.learners.estimators.trained import ESTIMATOR, MATRIX, SEEN, Answering, EstimatorTrained
from sluice.learners.state import State
from sluice.learners.weights import label_weights
from sluice.problems import evaluator
from sluice.problems.problem import problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.data.dataset import Dataset
    from sluice.project import Project

_CHUNK = 65_536


def fit(project: Project, job: Job, kind: type[Estimator], make: Callable[[State], Estimator]) -> EstimatorTrained:
    """See `Learner.fit`.

    Args:
        project: whose ``model:`` names the estimator.
        job: what is to be done.
        kind: the estimator's class.
        make: the estimator for a fitted state.
    """
    started = time.perf_counter()
    model = project.model
    assert isinstance(model, EstimatorModel)
    state = _state(kind, job.dataset, model.estimator)
    held: dict[str, np.ndarray] = {}
    matrix = TableMatrix.load(state.extra[MATRIX])
    if not kind.detects:
        matrix, held = _learnt(project, job.dataset, state, matrix)
        state = dataclasses.replace(state, extra={**state.extra, MATRIX: matrix.dump()})
    estimator = make(state)
    train, validation = _rows(project, job.dataset, state, matrix)
    matrix.put(train.matrix, held)
    train = dataclasses.replace(train, monotone=_monotone(project, state, matrix, train))
    what = f"{model.estimator}{f' ({kind.about})' if kind.about else ''}"
    job.on_event({"kind": "note", "text": f"{what}: {len(train.targets)} rows, {matrix.features} features"})
    rounds = Rounds(job.on_event)
    fitted = estimator.fit(train, validation if len(validation.targets) else None, rounds)
    answers = Answering(estimator, fitted.model, state, matrix)
    record = {
        **_judged(project.evaluate.positive, rounds, fitted, answers, train, validation),
        "seconds": time.perf_counter() - started,
        "ended": "patience" if fitted.stopped else "epochs",
        "stopped_early": fitted.stopped,
        "unit": "round",
        **({"said": fitted.text} if fitted.text else {}),
        **({"choice": dict(fitted.choice)} if fitted.choice else {}),
        "world_size": 1,
        "environment": environment(project.train.threads, kind.libraries),
    }
    made = EstimatorTrained(state, record, answers, model.estimator)
    job.on_event({"kind": "epoch", **made.best, "epochs": made.best["epoch"]})  # the last there is: nothing is left to stop early
    with files.new_dir(job.out) as tmp:
        made.save(tmp)
    made.root = job.out
    return made


def _monotone(project: Project, state: State, matrix: TableMatrix, train: Rows) -> list[int]:
    """`Rows.monotone`, turned where the positive label is the first one. Raises `ProjectError`, as the checks of the data do."""
    wanted: Mapping[str, str] = getattr(project.model, "monotone", {})
    if not wanted:
        return []
    project.model.suits(state.problem, state.labels)
    positive = project.evaluate.positive or state.problem.positive(train.targets, state.labels)
    rises = -1 if state.labels and positive == state.labels[0] else 1
    places, found = matrix.places(state.processor), [0] * matrix.features
    for name, way in wanted.items():
        if name not in places:
            raise ProjectError("is no column of numbers", field="model.monotone", value=name, fix=f"columns: {', '.join(places)}")
        found[places[name]] = rises if way == "increasing" else -rises
    return found


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
    return dataclasses.replace(state, extra={MATRIX: TableMatrix.fitted(state, kind).dump(), ESTIMATOR: name, SEEN: seen})


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
    scores, words, held = learnt(tables, texts, strings, Answered.of(targets, len(state.extra[SEEN]), groups, project.train.seed))
    return matrix.learnt(scores, words), held


def _places(state: State) -> np.ndarray:
    """Of each label its number among those that have training rows, -1 for one without; INT64 [labels]."""
    place = np.full(len(state.labels), -1, dtype=np.int64)
    place[state.extra[SEEN]] = np.arange(len(state.extra[SEEN]))
    return place


def _rows(project: Project, dataset: Dataset, state: State, matrix: TableMatrix) -> tuple[Rows, Rows]:
    """The rows of training and of validation as the estimator takes them; without those of a label that no training row has."""
    from sluice.learners.folds import groups_of

    x, y = _read(dataset, state, matrix, "train")
    held, true = _read(dataset, state, matrix, "validation")
    groups = groups_of(dataset, project.train.fold_groups, ("train", *(["validation"] if len(true) else [])))
    first, second = Rows(x, y, groups=groups[: len(y)], timed=_timed(dataset)), Rows(held, true, groups=groups[len(y) :])
    second = dataclasses.replace(second, free=_free(project, dataset))
    if not state.labels:
        return first, second
    place, weights = _places(state), label_weights(project.train.class_weights, state.labels, y)
    second = second.only((true >= 0) & (place[true] >= 0))
    weigh = None if weights is None else np.array(weights, dtype=np.float64)
    parts = [dataclasses.replace(r, targets=place[r.targets], weights=None if weigh is None else weigh[r.targets]) for r in (first, second)]
    return parts[0], parts[1]


def _free(project: Project, dataset: Dataset) -> bool:
    """Whether the rows of validation choose no threshold and no curves, and are not what the model is judged by in the end."""
    apart = "test" in dataset.manifest["splits"] and dataset.rows("test") > 0
    return apart and project.evaluate.decision is None and project.export.calibrate == "none"


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


def _judged(positive: str | None, rounds: Rounds, fitted: Fitted, answers: Answering, train: Rows, validation: Rows) -> dict[str, Any]:
    """The history, with the model's own metrics on the validation rows beside its round, which is told of last."""
    history = rounds.history or [{"epoch": 1, "train_loss": loss_of(answers.of(train.matrix), _labels(answers, train), train.weights)}]
    best = history[max(0, fitted.best - 1)]
    best.setdefault("validation_loss", None)
    metrics: dict[str, float] = {}
    if len(validation.targets):
        held, true = fitted.held, _labels(answers, validation)
        found = answers.of(validation.matrix) if held is None else answers.told(held)
        if best["validation_loss"] is None:
            best["validation_loss"] = loss_of(found, true, validation.weights)
        labels = answers.state.labels
        asked = answers.state.problem
        positive = positive or asked.positive(_labels(answers, train), labels)
        metrics = {n: v for n, v in evaluator.values(found, true, labels, positive=positive, asked=asked).items() if v is not None}
    best["validation_metrics"] = metrics
    return {"history": history, "best_epoch": best["epoch"], "rows": {"train": len(train.targets), "validation": len(validation.targets)}}


def _labels(answers: Answering, rows: Rows) -> np.ndarray:
    """True answers as indices into the model's labels, or values."""
    return np.asarray(answers.state.extra[SEEN], dtype=np.int64)[rows.targets] if answers.state.labels else rows.targets
