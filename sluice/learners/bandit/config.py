"""`model:` and `train:` of a bandit. No library that learns is imported here."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sluice.core.section import Names, Section
from sluice.learners.config import TrainSection
from sluice.learners.estimators.config import load_estimator

#: The one that needs no library and no tuning: a ridge regression for each action; and the choice of it or boosted trees.
LINEAR, AUTO = "linear", "auto"
#: What `AUTO` chooses among, by the squared error on the validation rows; of equal ones the first.
TRIED = (LINEAR, "xgboost")


class Logged(Section):
    """Which columns of the logs say what was done, what came of it, and how likely that was to be done."""

    action: Annotated[str, Names("column")] = "action"
    reward: Annotated[str, Names("column")] = "reward"
    propensity: str | Annotated[float, Field(gt=0, le=1)] = Field(
        "propensity",
        description="column of the logging policy's probability of the action it took; or one number, where it was always the same",
    )
    temperature: float | None = Field(
        None,
        gt=0,
        description="probabilities are the softmax of expected rewards divided by it; null: a tenth of the rewards' deviation",
    )


class BanditModel(Logged):
    """Ridge regressions, one for each action; or boosted trees, where these are nearer to the validation rows."""

    estimator: Literal["auto", "linear"] = Field(
        "auto", description="auto: linear or xgboost, by the validation rows; or a registered estimator of quantities: lightgbm, ..."
    )
    l2: float = Field(1.0, ge=0, le=1e6, description="penalty of the slopes of standardised features")


class BanditTrain(TrainSection):
    """What of `train:` a bandit goes by."""

    threads: int = Field(1, ge=1, description="CPU threads")


@functools.cache
def _section(kind: type[Section]) -> type[Section]:
    """An estimator's own section, with what says which columns are logged."""
    return type(f"Bandit{kind.__name__}", (Logged, kind), {"__doc__": kind.__doc__, "__module__": __name__})


def model_section(raw: Mapping[str, Any], beside: Path | None = None) -> type[Section]:
    """The section that checks a bandit's ``model:``. Raises `ProjectError`: there is no such estimator."""
    named = raw.get("estimator", AUTO)
    return BanditModel if named in (LINEAR, AUTO) else _section(load_estimator(named, beside).Model)
