"""`model:` and `train:` of a project whose table an estimator learns. No library that learns is imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from sluice.core.errors import ProjectError
from sluice.core.registry import Registry
from sluice.core.section import Names, Section
from sluice.learners.config import WeightedSection
from sluice.problems.config import ProblemName

#: Every estimator there is by name.
ESTIMATORS = Registry(
    "estimator",
    {
        "auto": "sluice.learners.estimators.auto:Auto",
        "xgboost": "sluice.learners.estimators.xgboost:XGBoost",
        "lightgbm": "sluice.learners.estimators.lightgbm:LightGBM",
        "gradient_boosting": "sluice.learners.estimators.gradient_boosting:GradientBoosting",
        "random_forest": "sluice.learners.estimators.random_forest:RandomForest",
        "logistic_regression": "sluice.learners.estimators.logistic_regression:LogisticRegression",
        "svc": "sluice.learners.estimators.svc:SVC",
        "detector": "sluice.learners.estimators.detector:Detector",
        "isolation_forest": "sluice.learners.estimators.isolation_forest:IsolationForest",
    },
)

#: The one that is proposed for a new project: good on tables of any size (docs/tasks/tabular.md).
MIXED = "auto"


#: Where a constraint belongs that another model is given.
BOUND = "remove it, or name a model that can be bound so: model.estimator: auto, xgboost or lightgbm"


class EstimatorModel(Section):
    """The base of an estimator's own section, `Estimator.Model`: its parameters are the fields, called as the library calls them."""

    elsewhere: ClassVar[Mapping[str, str]] = {"monotone": BOUND}

    estimator: str = Field(description="a registered name, or my_module:MyEstimator")
    objective: ProblemName = Field("auto", description="the problem; auto: by the label; or my_module:MyProblem")


class MonotoneModel(EstimatorModel):
    """The base of the section of an estimator whose answer can be bound to rise or to fall with a number."""

    monotone: Annotated[dict[str, Literal["increasing", "decreasing"]], Names("number")] = Field(
        {},
        description="columns of numbers with which the value, or the positive label's probability, may only rise or only fall, all else equal",
        exclude_if=lambda columns: not columns,
    )
    elsewhere: ClassVar[Mapping[str, str]] = {}

    def suits(self, asked: Any, labels: Sequence[str]) -> None:
        """See `Section.suits`: of more than two classes none has an order to keep."""
        if self.monotone and len(labels) > 2:
            raise ProjectError(
                f"binds a value or the probability of one of two labels, and {asked.described(labels)}",
                field="model.monotone",
                value=dict(self.monotone),
                fix="remove it",
            )


class EstimatorTrain(WeightedSection):
    """What of `train:` an estimator goes by; its own parameters stand under `model:`."""

    threads: int = Field(1, ge=1, description="CPU threads")


def model_section(raw: Mapping[str, Any], beside: Path | None = None, *, detects: bool = False) -> type[EstimatorModel]:
    """The section that checks a ``model:`` with an ``estimator``.

    Args:
        raw: the section as it was written.
        beside: the project file's folder, where an estimator of the user's own may lie.
        detects: whether it is to find what is unusual among rows, and not to learn labels.

    Raises:
        ProjectError: there is no such estimator (the nearest is told), or it is none, or one that learns something else.
    """
    kind = load_estimator(raw["estimator"], beside)
    if kind.detects != detects:
        learns = "labels or quantities" if detects else "what is unusual among rows, which is task: anomaly"
        raise ProjectError(
            f"learns {learns}", field="model.estimator", value=raw["estimator"], fix=f"one of {', '.join(estimators(detects))}"
        )
    return kind.Model  # type: ignore[no-any-return]


def estimators(detects: bool = False) -> list[str]:
    """The names of the estimators that find what is unusual among rows, or of those that learn labels and quantities."""
    return [name for name in ESTIMATORS.names() if load_estimator(name).detects == detects]


def asks_for_more(name: str, project: Mapping[str, Any]) -> bool:
    """Whether a project as it was written has a setting under ``model:``, ``train:`` or ``tune.space`` that an estimator does not know."""
    known = {"model": load_estimator(name).Model.model_fields, "train": EstimatorTrain.model_fields}
    tune = project.get("tune")
    space = tune.get("space") if isinstance(tune, Mapping) else None
    said = [key.split(".")[:2] for key in space or () if isinstance(key, str)]
    for section in known:
        written = project.get(section) or {}
        said += [[section, key] for key in written] if isinstance(written, Mapping) else [[section, ""]]
    return any(section in known and key not in known[section] for section, key in (s for s in said if len(s) == 2))


def load_estimator(name: Any, beside: Path | None = None) -> Any:
    """The class of an estimator by its name or ``module:Class``. Raises `ProjectError`."""
    field = "model.estimator"
    if not isinstance(name, str):
        raise ProjectError("is not a name", field=field, value=name, fix=f"one of {', '.join(ESTIMATORS.names())}")
    kind = ESTIMATORS.get(name, field=field, beside=beside)
    from sluice.learners.estimators.base import Estimator

    if not (isinstance(kind, type) and issubclass(kind, Estimator)):
        fix = "derive it from sluice.learners.estimators.base.Estimator, or from ScikitEstimator in sluice.learners.estimators.scikit"
        raise ProjectError("is not an estimator", field=field, value=name, fix=fix)
    missing = sorted(kind.__abstractmethods__)
    if missing:
        raise ProjectError(f"does not define {', '.join(missing)}", field=field, value=name, fix=f"define them in {kind.__name__}")
    return kind
