"""Forecasts by gradient-boosted trees over lags: one model of all steps for each quantile, direct (no step is forecast from another's forecast)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core import files
from sluice.core.errors import DataError, ProjectError
from sluice.learners.base import HISTORY, Job, Learner
from sluice.learners.config import TrainSection
from sluice.learners.forecasts.config import TreesTrain
from sluice.learners.forecasts.state import fit_windows
from sluice.learners.state import State
from sluice.problems.forecast import QUANTILES
from sluice.tasks.base import settings
from sluice.tasks.config import ForecastModel

if TYPE_CHECKING:
    from sluice.learners.forecasts.trained import TreesTrained
    from sluice.learners.forecasts.trees import QuantileTrees

#: A tree has a leaf of a hundredth of the steps at least, within these.
_FEWEST, _SHARE, _ENOUGH = 5, 0.002, 100


class TreesLearner(Learner):
    """LightGBM of three quantiles over `sluice.learners.forecasts.features`, their band stretched as `sluice.stats.conformal` says."""

    name: ClassVar[str] = "forecast_trees"
    Train: ClassVar[type[TrainSection]] = TreesTrain
    folds: ClassVar[bool] = False
    libraries: tuple[str, ...] = ("lightgbm", "onnxmltools")
    ahead: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def fit(self, job: Job) -> TreesTrained:
        """See `Learner.fit`; rows of validation end the rounds, and say how wide the band has to be."""
        from sluice.learners.estimators.rounds import environment
        from sluice.learners.forecasts.trained import Steps, TreesTrained

        started = time.perf_counter()
        state = fit_windows(job.dataset)
        steps = Steps(state)
        train, held = (steps.rows(job.dataset, split) for split in ("train", "validation"))
        job.on_event({"kind": "note", "text": f"{len(train.targets):,} steps, {len(steps.names)} features, {len(QUANTILES)} quantiles"})
        each, boosters, rounds = self._quantiles(len(train.targets)), [], []
        for q, made in zip(QUANTILES, each, strict=True):
            fitted = made.fit(train, held if len(held.targets) else None, lambda *_: None)
            boosters.append(fitted.model)
            rounds.append(fitted.best)
            job.on_event({"kind": "note", "text": f"quantile {q}: {fitted.best} rounds"})
        model = TreesTrained(state, {}, each, boosters)
        model.calibrate(job.dataset)
        model.record = {
            "history": [model.judged(job.dataset)],
            "best_epoch": 1,
            "rounds": rounds,
            "seconds": time.perf_counter() - started,
            "ended": "epochs",
            "unit": "model",
            "world_size": 1,
            "environment": environment(self.task.project.train.threads, self.libraries),
        }
        job.on_event({"kind": "epoch", **model.best, "epochs": 1})
        with files.new_dir(job.out) as tmp:
            model.save(tmp)
        model.root = job.out
        return model

    def load(self, root: Path) -> TreesTrained:
        """See `Learner.load`."""
        from sluice.learners.forecasts.trained import STRETCH, TreesTrained, folder

        root = Path(root)
        state, each = State.load(root), self._quantiles(0)
        if not (root / STRETCH).exists():
            raise ProjectError(
                "does not build this model, which is of another kind",
                field="model.method",
                value=settings(self.task, ForecastModel).method,
                fix="train again",
            )
        try:
            record: dict[str, Any] = files.read_json(root / HISTORY)
            stretch = np.array(files.read_json(root / STRETCH), dtype=np.float64)
            boosters = [made.read(folder(root, q)) for q, made in zip(QUANTILES, each, strict=True)]
        except (OSError, ValueError) as e:
            raise DataError(f"cannot be read as trees of forecasts: {e}", field=str(root), fix="train again") from e
        found = TreesTrained(state, record, each, boosters, stretch)
        found.root = root
        return found

    def _quantiles(self, steps: int) -> list[QuantileTrees]:
        """The trees of each quantile, still to be grown on so many steps."""
        from sluice.learners.estimators.lightgbm import LightGBMModel
        from sluice.learners.forecasts.trees import QuantileTrees

        model, train = settings(self.task, ForecastModel), self.task.project.train
        made = LightGBMModel(
            estimator="lightgbm",
            n_estimators=model.trees,
            early_stopping_rounds=30,
            num_leaves=model.leaves,
            min_child_samples=max(_FEWEST, min(_ENOUGH, int(_SHARE * steps))),
        )
        return [QuantileTrees(made, train.seed, getattr(train, "threads", 1), q) for q in QUANTILES]
