"""A packaged graph's own answers on a split of a dataset: what export writes into ``model.json`` and what the evaluation judges."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sluice.core.errors import DataError
from sluice.core.ordered import in_order
from sluice.core.processes import cpu_quota
from sluice.data.dataset import Dataset
from sluice.engines.rows import rows_from_arrow
from sluice.fields import processor_class
from sluice.problems.settings import check_settings
from sluice.problems.threshold import Choice, choose

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.package.package import Package
    from sluice.problems.config import MetricConfig
    from sluice.project import Project

#: Rows read and answered at a time; of images and sounds fewer, since each core holds some of these windows decoded.
#: Part of the result: the rows of a window share batches, and a batch moves the last bits.
_WINDOW, _LARGE = 1024, 64


def held_out_split(dataset: Dataset) -> str:
    """``test``, or ``validation`` where there is no test split. Raises `DataError` where neither has rows."""
    for split in ("test", "validation"):
        if split in dataset.manifest["splits"] and dataset.rows(split):
            return split
    raise DataError("has no held-out rows to prove the export on", field="dataset", value=str(dataset.root), fix="raise data.split.test")


def answers(
    predict: Callable[[Sequence[Any]], np.ndarray], preprocess: str | Mapping[str, Any], dataset: Dataset, split: str
) -> np.ndarray:
    """The answers to a whole split, in its order: probabilities [rows, labels], or values [rows].

    On all cores, each window by one of them, so equal rows give equal answers whatever the machine has. A few windows are in memory at a time.

    Args:
        predict: raw rows to answers (`Predictor.predict`); called on several threads.
        preprocess: as for `rows_from_arrow`.

    Raises:
        InputError: a row cannot be used.
        DataError: the split lacks a column, or has no rows.
    """
    rows = _LARGE if processor_class(preprocess).blobs() else _WINDOW

    def window(batch: pa.RecordBatch) -> np.ndarray:
        return predict(rows_from_arrow(preprocess, batch))

    found = [a for a in in_order(window, dataset.batches(split, rows=rows), cpu_quota()) if len(a)]
    if not found:
        raise DataError(
            "has no rows to judge a model on", field=f"{split} split", fix=f"raise data.split.{split}, or name a data.{split} file"
        )
    return np.concatenate(found)


def judged(
    predict: Callable[[Sequence[Any]], np.ndarray], preprocess: str | Mapping[str, Any], labels: Sequence[str], dataset: Dataset, split: str
) -> tuple[np.ndarray, np.ndarray]:
    """A graph's answers to a split and what is true, as the dataset's problem judges them (`Problem.judged`).

    Args:
        predict, preprocess: as for `answers`.
        labels: of the model.

    Raises:
        InputError, DataError: as `answers`.
    """
    return dataset.problem.judged(predict, lambda of: answers(predict, preprocess, dataset, of), dataset, split, labels)


def asked_and_judged(
    package: Package,
    dataset: Dataset,
    split: str,
    project: Project,
    kept: Path | None = None,
    spelled: Callable[[list[Any]], list[Any]] = lambda rows: rows,
) -> tuple[np.ndarray, np.ndarray]:
    """A package's answers to a split and what is true: by its engine, or as the dataset's problem asks a package itself (`Problem.asked_by`).

    Args:
        package: the package.
        project: says by what answers are judged.
        kept: a folder where answers that cost something are kept by digest.
        spelled: turns a dataset's rows into those that it knows.

    Raises:
        InputError, DataError: as `answers`.
        PackageError: it cannot be opened.
    """
    if where := dataset.problem.asked_by:
        module, _, name = where.partition(":")
        outputs, targets = getattr(importlib.import_module(module), name)(package, dataset, split, project, kept)
        return outputs, targets
    from sluice.engines.predictor import Predictor

    predict = Predictor(package).predict
    return judged(lambda rows: predict(spelled(list(rows))), package.preprocess, package.labels, dataset, split)


def positive_label(config: MetricConfig, dataset: Dataset) -> str | None:
    """The label that metrics of one label and the decision are of: the one told, or of two the rarer one of the training rows."""
    if config.positive is not None or len(dataset.labels) != 2 or not dataset.problem.classes:
        return config.positive
    return dataset.problem.positive(
        dataset.problem.targets(dataset.read("train", ["label"]).column("label"), dataset.labels), dataset.labels
    )


def decide_threshold(
    predict: Callable[[Sequence[Any]], np.ndarray],
    preprocess: str | Mapping[str, Any],
    dataset: Dataset,
    labels: Sequence[str],
    config: MetricConfig,
) -> Choice | None:
    """The threshold for ``evaluate.decision``, by a packaged graph's own answers on the validation rows; None where none is asked for.

    Args:
        predict, preprocess: as for `answers`.
        labels: of the model.

    Raises:
        ProjectError: the model does not decide between two labels.
    """
    check_settings(config, dataset.objective, labels)
    if config.decision is None:
        return None
    positive = positive_label(config, dataset)
    assert positive is not None
    if "validation" not in dataset.manifest["splits"] or not dataset.rows("validation"):
        return choose(np.empty((0, 2)), np.empty(0, dtype=np.int64), labels, positive, config.decision)
    targets = dataset.problem.targets(dataset.read("validation", ["label"]).column("label"), labels)
    return choose(answers(predict, preprocess, dataset, "validation"), targets, labels, positive, config.decision, dataset.problem.graded)
