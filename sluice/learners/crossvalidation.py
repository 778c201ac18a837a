"""Cross-validation: how well the project's settings learn, from k models each judged on rows it has not seen.

The model that is kept is another one, trained on all training rows.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import ProjectError
from sluice.data.dataset import Dataset, write_dataset
from sluice.learners.answers import split_answers
from sluice.learners.base import Event, Job, Trained
from sluice.learners.folds import assign, groups_of
from sluice.problems import metrics
from sluice.problems.answers import Answers, positive_index
from sluice.problems.decision import codes
from sluice.problems.threshold import choose
from sluice.stats.student import t_quantile

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.project import Project

#: `Learner.fit`, or what takes its place on a cluster.
Fit = Callable[[Job], Trained]


@dataclasses.dataclass(frozen=True)
class Fold:
    """One model of k.

    Attributes:
        number: from 1.
        rows: held out.
        metrics: on them.
        history: of its training, an entry an epoch.
        seconds: in the loop.
    """

    number: int
    rows: int
    metrics: dict[str, float]
    history: list[dict[str, Any]]
    seconds: float


def cross_validate(
    project: Project,
    dataset: Dataset,
    work: Path,
    fit: Fit,
    *,
    on_event: Callable[[Event], None] | None = None,
    on_fold: Callable[[Fold], None] | None = None,
) -> dict[str, Any]:
    """Train ``train.folds`` models, each on the training rows outside one fold, and judge each on its fold.

    Early stopping and schedules look at the dataset's own validation rows in every fold, and ``evaluate.decision`` chooses each
    model's threshold on them.

    Args:
        project: with ``train.folds``.
        dataset: its data.
        work: an existing directory for the folds' data and models; they are deleted as it goes.
        fit: how a model is learnt: the learner's.
        on_event: told of the trainings' progress, with ``fold``.
        on_fold: told of each finished fold.

    Returns:
        ``folds`` (an entry a fold: fold, rows, metrics, epochs, seconds), ``metric`` and, per metric in ``summary``:
        mean, std, low, high (see `interval`), with ``confidence`` and ``grouped_by``.

    Raises:
        ProjectError: ``train.fold_groups`` is no column of the dataset.
        DataError: fewer groups than folds; and what `fit` raises.
    """
    k = project.train.folds
    if k is None:
        raise ProjectError("is not set", field="train.folds", fix="set a number of folds, at least 2")
    labels, groups = _labels(dataset), groups_of(dataset, project.train.fold_groups)
    fold_of = assign(labels if labels.ndim == 1 else np.zeros(len(labels), dtype=np.int64), groups, k, project.train.seed)
    positive = None
    if dataset.problem.classes:
        positive = positive_index(project.evaluate.positive or dataset.problem.positive(labels, dataset.labels), dataset.labels)
    names = metrics.names(dataset.objective, positive=positive is not None)
    done: list[Fold] = []
    for i in range(k):
        with tempfile.TemporaryDirectory(dir=work, prefix=f"fold-{i + 1}-") as tmp:
            part = _fold_data(dataset, fold_of, i, Path(tmp) / "data")
            trained = fit(Job(part, Path(tmp) / "model", _with_fold(on_event, i + 1, k)))
            found = _judged(project, trained, part, labels[fold_of == i], positive, names)
            done.append(Fold(i + 1, int((fold_of == i).sum()), found, trained.history, trained.record["seconds"]))
        if on_fold:
            on_fold(done[-1])
    confidence, every = project.evaluate.confidence, dataset.problem.metrics()
    return {
        "metric": metrics.metric_of(project.evaluate.metric, dataset.objective),
        "confidence": confidence,
        "grouped_by": project.train.fold_groups or dataset.grouped_by,
        "folds": [
            {"fold": f.number, "rows": f.rows, "metrics": f.metrics, "epochs": f.history[-1]["epoch"], "seconds": f.seconds} for f in done
        ],
        "summary": {n: interval([f.metrics[n] for f in done], confidence, every[n].least, every[n].most) for n in names},
    }


def _judged(
    project: Project, trained: Trained, part: Dataset, targets: np.ndarray, positive: int | None, names: Sequence[str]
) -> dict[str, float]:
    """A fold's metrics by name, of `part`'s test rows, whose true answers are `targets`; the threshold is chosen on its validation rows."""
    outputs = split_answers(trained, part, "test")
    predicted = None
    if project.evaluate.decision is not None and positive is not None:
        validated = bool(part.manifest["splits"].get("validation", {}).get("rows"))
        held = split_answers(trained, part, "validation") if validated else outputs[:0]
        truth = _labels(part, "validation") if validated else targets[:0]
        rule = choose(held, truth, part.labels, part.labels[positive], project.evaluate.decision).rule
        predicted = codes(outputs, part.labels, rule)
    asked = part.problem
    arrays = not (asked.classes or asked.scalar)
    a = asked.answers(outputs, targets, trained.state.labels) if arrays else Answers.of(outputs, targets, predicted, positive)
    return {n: asked.metrics()[n].value(a) for n in names}


def interval(values: list[float], confidence: float, least: float = -math.inf, most: float = math.inf) -> dict[str, float | None]:
    """Mean, deviation and a t interval of the folds' values.

    The folds' training rows overlap, so the variance of the mean is taken as ``(1/k + 1/(k-1)) s²``
    (Nadeau, Bengio 2003, with test rows over training rows = 1/(k-1)): plain ``s²/k`` is far too small.
    Null bounds where a value is not finite. The bounds stay between `least` and `most`, the metric's own.
    """
    k = len(values)
    mean = sum(values) / k
    if not all(map(math.isfinite, values)):
        return {"mean": mean if math.isfinite(mean) else None, "std": None, "low": None, "high": None}
    std = math.sqrt(sum((v - mean) ** 2 for v in values) / (k - 1))
    reach = t_quantile(confidence, k - 1) * std * math.sqrt(1 / k + 1 / (k - 1))
    return {"mean": mean, "std": std, "low": max(least, mean - reach), "high": min(most, mean + reach)}


def _labels(dataset: Dataset, split: str = "train") -> np.ndarray:
    """Class codes, or values, of a split's rows."""
    column = dataset.read(split, ["label"]).column("label")
    return dataset.problem.targets(column, dataset.labels)


def _fold_data(dataset: Dataset, fold_of: np.ndarray, fold: int, root: Path) -> Dataset:
    """The dataset with one fold's rows held out as ``test`` and the others to train on; written in parts."""

    def rows(held_out: bool) -> Iterator[pa.Table]:
        import pyarrow as pa

        at = 0
        for batch in dataset.batches("train", rows=65_536):
            mask = (fold_of[at : at + batch.num_rows] == fold) == held_out
            at += batch.num_rows
            yield pa.Table.from_batches([batch]).filter(pa.array(mask))

    splits: dict[str, Any] = {"train": rows(False), "test": rows(True)}
    if dataset.manifest["splits"].get("validation", {}).get("rows"):
        splits["validation"] = dataset.read("validation")
    return write_dataset(
        root,
        splits,
        task=dataset.task,
        objective=dataset.objective,
        labels=dataset.labels,
        columns=dataset.columns,
        source={"fold": fold, "of": dataset.digest},
        shard_rows=dataset.manifest["shard_rows"],
        times=dataset.times,
        grouped_by=dataset.grouped_by,
    )


def _with_fold(on_event: Callable[[Event], None] | None, fold: int, folds: int) -> Callable[[Event], None]:
    return lambda event: on_event({**event, "fold": fold, "folds": folds}) if on_event else None
