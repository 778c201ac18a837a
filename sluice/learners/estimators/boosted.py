"""XGBoost without one fold of the rows after another, all in step: the rounds that are best for all of them together."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from sluice.learners.estimators.base import Rows
from sluice.learners.estimators.xgboost import XGBoost, library

#: Less than this is no gain.
_GAIN = 1e-4


@dataclasses.dataclass(frozen=True)
class Together:
    """A booster a fold, what each answers to the rows it was grown without [rows, ...], and the rounds kept of each."""

    boosters: tuple[Any, ...]
    held: np.ndarray
    rounds: int


def fit_together(one: XGBoost, rows: Rows, folds: np.ndarray) -> Together:
    """Grow a booster without each fold; the mean loss on these rows ends the rounds, the same for all.

    Args:
        one: the settings.
        rows: to learn from.
        folds: of each row, INT64 [divisions, rows]: the rows may be divided in several ways, and then a row's answer is the mean of several.
    """
    xgb = library()
    kept: list[Any] = []

    class Keep(xgb.callback.TrainingCallback):  # type: ignore[misc,name-defined]
        """Takes hold of the boosters, which `xgb.cv` does not give."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            kept[:] = [f.bst for f in model.cvfolds]
            return False

    parts = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for fold in folds for f in np.unique(fold)]
    log = xgb.cv(
        one.parameters(rows),
        xgb.DMatrix(rows.matrix, rows.targets, weight=rows.weights),
        one.settings.n_estimators,
        folds=parts,
        callbacks=[Keep(), xgb.callback.EarlyStopping(rounds=one.settings.early_stopping_rounds, min_delta=_least_gain(rows, one.classes))],
        as_pandas=False,
        seed=one.seed,
    )
    best = int(np.argmin(log[f"test-{one.loss}-mean"])) + 1
    boosters = tuple(b[:best] for b in kept)
    answers = [one.predict(b, rows.matrix[held]) for b, (_, held) in zip(boosters, parts, strict=True)]
    out = np.zeros((len(rows.targets), *answers[0].shape[1:]), dtype=np.float32)
    for (_, held), found in zip(parts, answers, strict=True):
        out[held] += found / len(folds)
    return Together(boosters, out, best)


def _least_gain(rows: Rows, classes: int) -> float:
    """Of a loss, below which more rounds are not worth their size: log loss, or a root of squares in parts of the deviation."""
    return _GAIN if classes else _GAIN * float(np.std(rows.targets))


def fit_apart(one: XGBoost, rows: Rows, held: Rows) -> tuple[Any, int]:
    """One booster, whose rounds end by the loss on the rows held out, and how many are kept."""
    fitted = one.fit(rows, held, lambda *_: None)
    return fitted.model, fitted.best


def grown(one: XGBoost, rows: Rows, rounds: int) -> Any:
    """One booster of so many rounds."""
    settings = one.settings.model_copy(update={"n_estimators": rounds})
    return XGBoost(settings, one.classes, one.seed, one.threads).fit(rows, None, lambda *_: None).model
