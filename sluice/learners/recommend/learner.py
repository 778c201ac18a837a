"""The learner of recommendations: fitted in closed form or by sweeps, in this process, with numpy and scipy alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core import files
from sluice.core.errors import DataError, ProjectError
from sluice.learners.base import HISTORY, Event, Job, Learner, Trained
from sluice.learners.config import TrainSection
from sluice.learners.recommend.matrix import Taken, codes_of, taken
from sluice.learners.recommend.models import SCORERS, Ease, Factors, Popularity, Scorer, Transitions
from sluice.learners.recommend.ranker import Ranker
from sluice.learners.recommend.state import COUNTS, FIRST, fit_histories
from sluice.learners.state import State
from sluice.tasks.base import settings
from sluice.tasks.recommend_config import RecommendModel

if TYPE_CHECKING:
    import onnx

    from sluice.data.dataset import Dataset
    from sluice.tasks.base import Task

MODEL = "model.safetensors"
#: Of `auto`: from so many items on a weight for each pair of them is too much.
MOST_PAIRS = 3000
#: What the project leaves open is chosen among these on the validation rows.
_REGULARISATIONS = {"transitions": (1.0, 3.0, 10.0, 30.0), "ease": (30.0, 200.0, 1000.0)}
_UNOBSERVED, _SHRINKAGE = (0.1, 0.3, 1.0), 0.01
#: Of `factors`: with more users and items than this one weight of what was not taken is tried alone: a sweep takes ten seconds and more.
_MOST_CHOSEN = 200_000
_CHUNK = 512
#: Rows that are looked at to tell how well the training rows are learnt, and to choose.
_LOOKED_AT = {"train": 300, "validation": 2000}


class RecommendTrain(TrainSection):
    """What of `train:` it goes by; the model's own settings stand under `model:`."""


class RecommendLearner(Learner):
    """Popularity, weights of pairs of items or factors, as ``model.method`` says."""

    name: ClassVar[str] = "recommend"
    Train: ClassVar[type[TrainSection]] = RecommendTrain
    folds: ClassVar[bool] = False
    libraries: tuple[str, ...] = ("scipy",)

    def __init__(self, task: Task):
        super().__init__(task)
        self._model: RecommendModel = settings(task, RecommendModel)

    def fit(self, job: Job) -> RecommendTrained:
        """See `Learner.fit`; what the project leaves open is chosen by ndcg_10 on the validation rows."""
        started = time.perf_counter()
        state, found = fit_histories(job.dataset, self._model.history), taken(job.dataset)
        judges = [_Judge(job.dataset, split, state) for split in ("train", "validation")]
        users, items = found.matrix.shape
        job.on_event({"kind": "note", "text": f"{users:,} users, {items:,} items, {found.matrix.nnz:,} interactions"})
        tried = _Tried(judges, job.on_event)
        for made, said in self._candidates(found, state):
            tried.add(made, self._ranker(state, made), said)
        record = {**tried.record(), "seconds": time.perf_counter() - started, "environment": _environment()}
        model = RecommendTrained(state, record, tried.scorer, self._ranker(state, tried.scorer))
        with files.new_dir(job.out) as tmp:
            model.save(tmp)
        model.root = job.out
        return model

    def load(self, root: Path) -> RecommendTrained:
        """See `Learner.load`."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        root, state = Path(root), State.load(Path(root))
        try:
            record: dict[str, Any] = files.read_json(root / HISTORY)
            arrays = load((root / MODEL).read_bytes())
            kind = SCORERS[record["method"]]
        except (OSError, ValueError, KeyError, SafetensorError) as e:
            raise DataError(f"cannot be read as a model of recommendations: {e}", field=str(root), fix="train again") from e
        if self._model.method not in ("auto", kind.name):
            raise ProjectError(
                f"does not build this model, which is of {kind.name!r}", field="model.method", value=self._model.method, fix="train again"
            )
        scorer = kind(arrays)
        made = RecommendTrained(state, record, scorer, self._ranker(state, scorer))
        made.root = root
        return made

    def _ranker(self, state: State, scorer: Scorer) -> Ranker:
        counts, first = (np.array(state.extra[k], dtype=np.float64) for k in (COUNTS, FIRST))
        return Ranker.of(counts, first, self._model.repeat, scorer.new_users)

    def _candidates(self, found: Taken, state: State) -> Iterator[tuple[Scorer, dict[str, Any]]]:
        """Models, the settings of each; the best is kept."""
        m = self._model
        pairs = ("transitions", "ease") if found.matrix.shape[1] <= MOST_PAIRS else ("factors",)
        for method in pairs if m.method == "auto" else (m.method,):
            if method == "popularity":
                yield Popularity({"popular": self._ranker(state, Popularity({})).popular}), {}
            elif method == "factors":
                yield from self._factors(found)
            else:
                yield from self._pairs(found, method)

    def _pairs(self, found: Taken, method: str) -> Iterator[tuple[Scorer, dict[str, Any]]]:
        """One for each regularisation."""
        given = self._model.regularisation
        gram = np.asarray((found.matrix.T @ found.matrix).todense()) if method == "ease" else None
        for value in (given,) if given else _REGULARISATIONS[method]:
            made = Transitions.fit(found.before, found.after, value) if gram is None else Ease.fit(gram, value)
            yield made, {"regularisation": value}

    def _factors(self, found: Taken) -> Iterator[tuple[Scorer, dict[str, Any]]]:
        """One for each weight of what was not taken."""
        m, seed = self._model, self.task.project.train.seed
        ridge = m.regularisation or _SHRINKAGE
        dimensions = min(m.dimensions, *found.matrix.shape)
        open_ = _UNOBSERVED if sum(found.matrix.shape) <= _MOST_CHOSEN else _UNOBSERVED[1:2]
        for value in (m.unobserved,) if m.unobserved else open_:
            made = Factors.fit(found.matrix, value, ridge, dimensions, m.iterations, seed)
            yield made, {"unobserved": value, "regularisation": ridge, "iterations": m.iterations}


class _Judge:
    """Metrics of a scorer on the rows of a split, or an even choice of many."""

    def __init__(self, dataset: Dataset, split: str, state: State):
        from sluice.engines.rows import spread, tensors_from_arrow
        from sluice.problems.ranking import information
        from sluice.problems.truth import Truth

        self._problem, self._labels = dataset.problem, state.labels
        self.rows = min(_LOOKED_AT[split], dataset.rows(split)) if split in dataset.manifest["splits"] else 0
        if self.rows:
            table = spread(dataset, split, self.rows)
            self._codes = state_codes(state, tensors_from_arrow(state.processor, table))
            self._bits = information(dataset, state.labels)
            self._truth = Truth.of(table.column("label"), state.labels, table.column("history"), self._bits).array

    def metrics(self, scorer: Scorer, ranker: Ranker) -> dict[str, float]:
        """By name; none where there are no rows."""
        from sluice.problems.ranking import informed

        if not self.rows:
            return {}
        parts = [ranker.ranked(self._codes[at : at + _CHUNK], scorer.scores) for at in range(0, self.rows, _CHUNK)]
        a = self._problem.answers(informed(np.concatenate(parts), self._bits), self._truth, self._labels)
        return {name: metric.value(a) for name, metric in self._problem.metrics().items()}


class _Tried:
    """What was tried, with what came of it; the first of the best is kept."""

    def __init__(self, judges: list[_Judge], on_event: Callable[[Event], None]):
        self._judges, self._on_event = judges, on_event
        self._history: list[dict[str, Any]] = []
        self._found: list[tuple[Scorer, dict[str, Any]]] = []
        self._best = 0

    def add(self, made: Scorer, ranker: Ranker, said: dict[str, Any]) -> None:
        """A model, what stands behind it, and its settings."""
        train, held = (judge.metrics(made, ranker) for judge in self._judges)
        entry = {
            "epoch": len(self._history) + 1,
            "train_loss": 1 - train["ndcg_10"],
            "validation_loss": 1 - held["ndcg_10"] if held else None,
            "validation_metrics": held,
        }
        self._history.append(entry)
        self._found.append((made, said))
        by = [e["train_loss"] if e["validation_loss"] is None else e["validation_loss"] for e in self._history]
        self._best = int(np.argmin(by))
        self._on_event({"kind": "epoch", **entry, "epochs": entry["epoch"]})
        self._on_event({"kind": "note", "text": f"{made.name} {_words(said)}: validation ndcg_10 {1 - by[-1]:.4f}"})

    @property
    def scorer(self) -> Scorer:
        """The one that is kept."""
        return self._found[self._best][0]

    def record(self) -> dict[str, Any]:
        """Of ``training.json``."""
        return {
            "method": self.scorer.name,
            "settings": self._found[self._best][1],
            "history": self._history,
            "best_epoch": self._best + 1,
            "ended": "epochs",
            "unit": "model",
            "world_size": 1,
            "rows": {"train": self._judges[0].rows, "validation": self._judges[1].rows},
        }


class RecommendTrained(Trained):
    """``model.safetensors``, ``state.json`` with the processor's files, ``training.json``."""

    def __init__(self, state: State, record: dict[str, Any], scorer: Scorer, ranker: Ranker):
        self.state, self.record, self._scorer, self._ranker = state, record, scorer, ranker
        chosen = f": the best of {len(record['history'])} models, by ndcg_10 on the validation rows" if len(record["history"]) > 1 else ""
        self.text = f"{scorer.name} {_words(record['settings'])}".strip() + chosen

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Lists [rows, places, 2]; see `Trained.run`."""
        return self._ranker.ranked(state_codes(self.state, inputs), self._scorer.scores)

    def graph(self, opset: int) -> onnx.ModelProto:
        """From the history's strings to ``ranking`` and ``unknown``; see `Trained.graph`."""
        from sluice.learners.recommend.graph import ranking_graph
        from sluice.package import graph as graphs

        own = {t.name: f"input_{i}__" for i, t in enumerate(self.state.processor.inputs)}
        made = ranking_graph(self.state, self._ranker, self._scorer.nodes, own, opset)
        graphs.name_inputs(made, {new: name for name, new in own.items()})
        return made

    def save(self, root: Path) -> None:
        """Write the arrays, the state and the history."""
        from safetensors.numpy import save

        files.write_bytes(root / MODEL, save({k: np.ascontiguousarray(v) for k, v in self._scorer.arrays.items()}))
        self.state.save(root)
        files.write_json(root / HISTORY, self.record)


def state_codes(state: State, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """A batch's histories as places among the items, INT64 [rows, length]."""
    from sluice.learners.recommend.state import history_input

    return codes_of(inputs[history_input(state)], {label: i for i, label in enumerate(state.labels)})


def _words(said: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in said.items())


def _environment() -> dict[str, Any]:
    from sluice.learners.estimators.rounds import environment

    return environment(1, ("scipy",))
