"""The learner of estimators as the rest of the project meets it; nothing heavy is imported before it is asked for a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sluice.core.errors import ProjectError
from sluice.learners.base import Job, Learner
from sluice.learners.config import TrainSection
from sluice.learners.estimators.config import EstimatorModel, EstimatorTrain, load_estimator
from sluice.learners.state import State

if TYPE_CHECKING:
    from sluice.learners.estimators.base import Estimator
    from sluice.learners.estimators.trained import EstimatorTrained
    from sluice.tasks.base import Task


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
        from sluice.learners.estimators.fitting import fit

        kind = self._kind()
        return fit(self.task.project, job, kind, lambda state: self._estimator(kind, state))

    def load(self, root: Path) -> EstimatorTrained:
        """See `Learner.load`."""
        from sluice.learners.estimators.trained import ESTIMATOR, EstimatorTrained

        state = State.load(Path(root))
        named = state.extra.get(ESTIMATOR)
        if named != self._model.estimator:
            raise ProjectError(
                f"does not build this model, which is of {named!r}", field="model.estimator", value=self._model.estimator, fix="train again"
            )
        return EstimatorTrained.opened(Path(root), state, self._estimator(self._kind(), state), self._model.estimator)

    @property
    def _model(self) -> EstimatorModel:
        model = self.task.project.model
        assert isinstance(model, EstimatorModel)
        return model

    def _kind(self) -> type[Estimator]:
        kind: type[Estimator] = load_estimator(self._model.estimator, self.task.base_dir)
        return kind

    def _estimator(self, kind: type[Estimator], state: State) -> Estimator:
        from sluice.learners.estimators.trained import SEEN

        train = self.task.project.train
        return kind(self._model, len(state.extra[SEEN]), train.seed, getattr(train, "threads", 1))
