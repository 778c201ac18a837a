"""The learner of bandits: for each action the reward it earns in a context; the best expected one is taken."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core import files
from sluice.core.errors import DataError, ProjectError
from sluice.learners.bandit.config import AUTO, LINEAR, TRIED, BanditTrain
from sluice.learners.base import HISTORY, Job, Learner, Trained
from sluice.learners.config import TrainSection
from sluice.learners.estimators.base import Estimator, Rows
from sluice.learners.estimators.config import load_estimator
from sluice.learners.estimators.matrix import TableMatrix
from sluice.learners.estimators.rounds import Rounds, environment
from sluice.learners.state import State

if TYPE_CHECKING:
    import onnx

    from sluice.data.dataset import Dataset
    from sluice.problems.offpolicy import Logs
    from sluice.tasks.base import Task

#: Contexts as a matrix, and what was logged in them.
_Logged = tuple[np.ndarray, "Logs"]
#: Of a state's `extra`.
_MATRIX, _ESTIMATOR, _TEMPERATURE = "matrix", "estimator", "temperature"
#: Logged rows of an action from which on its reward can be modelled at all.
_FEWEST = 10


class BanditLearner(Learner):
    """Fits an estimator of the reward for each action to the rows in which it was taken."""

    name: ClassVar[str] = "bandit"
    Train: ClassVar[type[TrainSection]] = BanditTrain
    folds: ClassVar[bool] = False

    def __init__(self, task: Task):
        super().__init__(task)
        self.libraries = tuple(dict.fromkeys(library for name in self._tried for library in self._kind(name).libraries))

    def code(self) -> tuple[type, ...]:
        """See `Learner.code`; the estimators' classes are among them."""
        return (*super().code(), *map(self._kind, self._tried))

    def fit(self, job: Job) -> BanditTrained:
        """See `Learner.fit`."""
        from sluice.learners.tables.fit import fit_table

        started = time.perf_counter()
        project = self.task.project
        if project.train.folds:
            raise ProjectError("a bandit is not cross-validated", field="train.folds", value=project.train.folds, fix="remove it")
        fitted = fit_table(job.dataset)
        made = [self._fitted(name, job, fitted) for name in self._tried]
        state, answers, train, validation = min(made, key=lambda m: _error(m[1], m[3]) or 0.0)
        temperature = answers.temperature
        record = _record(answers, train, validation) | {
            "seconds": time.perf_counter() - started,
            "ended": "epochs",
            "stopped_early": False,
            "unit": "round",
            "world_size": 1,
            "temperature": temperature,
            "environment": environment(project.train.threads, self.libraries),
        }
        found = BanditTrained(state, record, answers)
        job.on_event({"kind": "epoch", **found.best, "epochs": 1})
        with files.new_dir(job.out) as tmp:
            found.save(tmp)
        found.root = job.out
        return found

    def _fitted(self, name: str, job: Job, fitted: State) -> tuple[State, _Answers, _Logged, _Logged]:
        """An estimator fitted to each action's rows: the state, what it answers, the rows of training and of validation."""
        kind, model = self._kind(name), self.task.project.model
        matrix = TableMatrix.fitted(fitted, kind)
        train, validation = (_rows(job.dataset, fitted, matrix, split) for split in ("train", "validation"))
        _enough(train[1], fitted.labels)
        temperature = model.temperature or 0.1 * float(train[1].rewards.std()) or 1.0
        state = dataclasses.replace(fitted, extra={_MATRIX: matrix.dump(), _ESTIMATOR: name, _TEMPERATURE: temperature})
        estimators, found = [self._estimator(name) for _ in state.labels], []
        for a, estimator in enumerate(estimators):
            own, held = _of(train, a), _of(validation, a)
            found.append(estimator.fit(own, held if len(held.targets) else None, Rounds(lambda event: None)).model)
        answers = _Answers(estimators, found, matrix, temperature)
        error = _error(answers, validation)
        told = "" if error is None else f", mean squared error {error:.4g} on the validation rows"
        job.on_event({"kind": "note", "text": f"{name}: the rewards of {len(found)} actions{told}"})
        return state, answers, train, validation

    def load(self, root: Path) -> BanditTrained:
        """See `Learner.load`."""
        root = Path(root)
        state = State.load(root)
        named = state.extra.get(_ESTIMATOR)
        if named not in self._tried:
            told = self.task.project.model.estimator
            raise ProjectError(f"does not build this model, which is of {named!r}", field="model.estimator", value=told, fix="train again")
        estimators = [self._estimator(named) for _ in state.labels]
        try:
            record: dict[str, Any] = files.read_json(root / HISTORY)
            models = [e.read(root / _folder(a)) for a, e in enumerate(estimators)]
        except (OSError, ValueError) as e:
            raise DataError(f"cannot be read as a bandit of {named}: {e}", field=str(root), fix="train again") from e
        answers = _Answers(estimators, models, TableMatrix.load(state.extra[_MATRIX]), state.extra[_TEMPERATURE])
        found = BanditTrained(state, record, answers)
        found.root = root
        return found

    @property
    def _tried(self) -> tuple[str, ...]:
        named = self.task.project.model.estimator
        return TRIED if named == AUTO else (named,)

    def _kind(self, name: str) -> type[Estimator]:
        if name == LINEAR:
            from sluice.learners.bandit.linear import Ridge

            return Ridge
        kind: type[Estimator] = load_estimator(name, self.task.base_dir)
        if not kind.measures:
            fix = f"{AUTO}, {LINEAR}, xgboost, lightgbm, gradient_boosting or random_forest"
            raise ProjectError("learns classes, and a reward is a quantity", field="model.estimator", value=name, fix=fix)
        return kind

    def _estimator(self, name: str) -> Estimator:
        """With its own settings: libraries take every field for a parameter of theirs."""
        project, kind = self.task.project, self._kind(name)
        own = project.model
        if name != LINEAR:
            told = {n: getattr(own, n) for n in kind.Model.model_fields if hasattr(own, n)} if own.estimator != AUTO else {}
            own = kind.Model.model_validate({**told, "estimator": name})
        return kind(own, 0, project.train.seed, project.train.threads)


@dataclasses.dataclass(frozen=True)
class _Answers:
    """A model a label, between the package's tensors and its output."""

    estimators: list[Estimator]
    models: list[Any]
    matrix: TableMatrix
    temperature: float

    def rewards(self, matrix: np.ndarray) -> np.ndarray:
        """What each action is expected to earn, FP32 [rows, actions]."""
        found = [np.asarray(e.predict(m, matrix)).reshape(len(matrix)) for e, m in zip(self.estimators, self.models, strict=True)]
        return np.stack(found, axis=1).astype(np.float32)

    def of(self, matrix: np.ndarray) -> np.ndarray:
        """Probabilities [rows, actions], FP32."""
        v = self.rewards(matrix) / np.float32(self.temperature)
        e = np.exp(v - v.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True), dtype=np.float32)


class BanditTrained(Trained):
    """A folder for each action's model, ``state.json``, ``training.json``."""

    def __init__(self, state: State, record: dict[str, Any], answers: _Answers):
        self.state, self.record, self._answers = state, record, answers
        self.text = f"{state.extra[_ESTIMATOR]} fitted to the rewards of each of {len(state.labels)} actions"

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Probabilities of the actions; see `Trained.run`."""
        return self._answers.of(self._answers.matrix.of(inputs))

    def graph(self, opset: int) -> onnx.ModelProto:
        """See `Trained.graph`."""
        from onnx import TensorProto, helper

        from sluice.learners.tables.nodes import Nodes
        from sluice.package import graph as graphs

        a, g = self._answers, Nodes()
        tensors = self.state.processor.inputs
        own = {t.name: f"input_{i}__" for i, t in enumerate(tensors)}
        x = a.matrix.renamed(own).nodes(g)
        parts = []
        for estimator, model in zip(a.estimators, a.models, strict=True):
            inner = estimator.graph(model, a.matrix.features, opset)
            parts.append(g.add("Reshape", g.add("Cast", g.embed(inner, x), to=TensorProto.FLOAT), g.ints(-1, 1)))
        output = self.state.output
        g.add("Softmax", g.add("Div", g.add("Concat", *parts, axis=1), g.number(a.temperature)), name=output.name, axis=1)
        kinds = {"FP32": TensorProto.FLOAT, "BYTES": TensorProto.STRING}
        ends = [helper.make_tensor_value_info(own[t.name], kinds[t.datatype], ["batch", 1]) for t in tensors]
        made = g.model(ends, [helper.make_tensor_value_info(output.name, TensorProto.FLOAT, ["batch", *output.shape[1:]])], opset)
        graphs.name_inputs(made, {new: name for name, new in own.items()})
        return made

    def save(self, root: Path) -> None:
        """Write each action's model, the state and the history."""
        for i, (estimator, model) in enumerate(zip(self._answers.estimators, self._answers.models, strict=True)):
            (root / _folder(i)).mkdir()
            estimator.write(model, root / _folder(i))
        self.state.save(root)
        files.write_json(root / HISTORY, self.record)


def _folder(action: int) -> str:
    return f"action-{action:04d}"


def _rows(dataset: Dataset, state: State, matrix: TableMatrix, split: str) -> _Logged:
    """A split's contexts and what was logged; no rows where there is no such split."""
    from sluice.engines.rows import tensors_from_arrow
    from sluice.problems.bandit import logs_of

    if split not in dataset.manifest["splits"] or not dataset.rows(split):
        return np.zeros((0, matrix.features), dtype=np.float32), logs_of(dataset.read("train", ["label"]).column("label")[:0], state.labels)
    table = dataset.read(split)
    return matrix.of(tensors_from_arrow(state.processor, table)), logs_of(table.column("label"), state.labels)


def _of(rows: _Logged, action: int) -> Rows:
    """Those in which an action was taken."""
    matrix, logs = rows
    of = logs.actions == action
    return Rows(matrix[of], logs.rewards[of])


def _enough(logs: Logs, labels: list[str]) -> None:
    """Raises `DataError`: an action was hardly ever taken."""
    counts = np.bincount(logs.actions, minlength=len(labels))
    few = {label: int(n) for label, n in zip(labels, counts, strict=True) if n < _FEWEST}
    if few:
        raise DataError(
            f"has too few training rows of {'an action' if len(few) == 1 else f'{len(few)} actions'}: {_FEWEST} are the least",
            field="model.action",
            value=dict(list(few.items())[:10]),
            fix="log more decisions, or leave the rows of these actions out",
        )
    if len(labels) < 2:
        raise DataError("holds one action: nothing to choose", field="model.action", value=labels, fix="log two actions or more")


def _error(answers: _Answers, rows: _Logged) -> float | None:
    """The mean squared error of the rewards of the actions that were taken; None where there are no rows."""
    matrix, logs = rows
    if not len(matrix):
        return None
    return float(np.square(answers.rewards(matrix)[np.arange(len(matrix)), logs.actions] - logs.rewards).mean())


def _record(answers: _Answers, train: _Logged, validation: _Logged) -> dict[str, Any]:
    """The one entry of the history: squared errors of the rewards of the actions that were taken."""
    from sluice.problems.offpolicy import row_values

    metrics = {}
    if len(validation[0]):
        expected = answers.rewards(validation[0]).astype(np.float64)
        values = row_values(validation[1], expected.argmax(axis=1), expected)
        metrics = {"dr": float(values[:, 0].mean()), "logged": float(validation[1].rewards.mean())}
    entry = {
        "epoch": 1,
        "train_loss": _error(answers, train),
        "validation_loss": _error(answers, validation),
        "validation_metrics": metrics,
    }
    return {"history": [entry], "best_epoch": 1, "rows": {"train": len(train[0]), "validation": len(validation[0])}}
