"""Contextual bandits from logged decisions: which action earns most in a context."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core.errors import DataError, ProjectError
from sluice.core.section import Section
from sluice.data.report import listed
from sluice.learners.bandit.config import BanditModel, model_section
from sluice.learners.estimators.config import ESTIMATORS
from sluice.tasks.roles import roles
from sluice.tasks.tabular import TabularTask

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.tasks.features import Features


#: What the columns of logs are called.
_CALLED = {
    "action": ("action", "actionid", "arm", "armid", "chosenaction", "chosenarm", "treatment", "offer", "offerid", "variant", "variantid",
               "itemid", "item", "adid", "ad", "bannerid", "banner"),
    "reward": ("reward", "payoff", "click", "clicked", "clicks", "conversion", "converted", "revenue", "profit", "purchase", "purchased",
               "outcome", "label"),
    "propensity": ("propensity", "propensityscore", "pscore", "actionprobability", "actionprob", "loggingprobability", "probability", "prob"),
}  # fmt: skip


class BanditTask(TabularTask):
    """Rows are contexts in which an action was taken, with what it earned and how likely it was to be taken."""

    name: ClassVar[str] = "bandit"
    Model = BanditModel  # type: ignore[assignment]
    starter: ClassVar[str | None] = "bandit"
    labelled: ClassVar[bool] = False

    @classmethod
    def section(cls, raw: Mapping[str, Any], beside: Path | None = None) -> type[Section]:
        """An estimator's own, with the columns of the logs."""
        return model_section(raw, beside)

    @classmethod
    def sections(cls) -> tuple[str, Mapping[str, type[Section]]]:
        """By ``estimator`` each one's own."""
        return "estimator", {name: model_section({"estimator": name}) for name in ("auto", "linear", *ESTIMATORS.names())}

    @classmethod
    def learnt_by(cls, model: Section) -> str:
        """By a model of the reward for each action."""
        return "bandit"

    @classmethod
    def called(cls, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Which columns say what was done, what came of it and how likely that was."""
        return {"model": roles(names, _CALLED)}

    def notes(self, table: pa.Table) -> list[str]:
        """Which columns of the logs are what, and what is left for the context."""
        logged = self.project.model
        context = listed(list(self.kinds(table)))
        return [
            f"logs are read as action {logged.action!r}, reward {logged.reward!r}, propensity {logged.propensity!r}; the context is {context}"
        ]

    def objective(self, table: pa.Table) -> str:
        """Judged off-policy."""
        from sluice.problems.bandit import Bandit

        return Bandit.name

    def canonical(self, table: pa.Table) -> pa.Table:
        """The contexts in the dataset's types, and what was logged as the label.

        Raises:
            DataError: a column is missing; a reward is not a finite number; a propensity is missing or not in (0, 1].
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        from sluice.problems.bandit import logged
        from sluice.tasks import columns

        model = self.project.model
        for key in ("slices", "decision"):
            if value := getattr(self.project.evaluate, key):
                raise ProjectError("is of labels that are right or wrong", field=f"evaluate.{key}", value=value, fix="remove it")
        actions = columns.to_string(columns.column(table, model.action, "model.action"), model.action, "action")
        there = pc.is_valid(actions)
        rewards = _finite(table, model.reward, "model.reward", there)
        if isinstance(model.propensity, str):
            chances = _finite(table, model.propensity, "model.propensity", there)
            bad = [(i, p) for i, p in enumerate(chances) if not math.isnan(p) and not 0 < p <= 1]
            if bad:
                raise DataError(
                    f"is no probability in (0, 1] in {len(bad):,} of {len(chances):,} rows, the first of them row {bad[0][0] + 1}",
                    field=f"model.propensity: {model.propensity}",
                    value=bad[0][1],
                    fix="log the probability with which the action that was taken was taken; rows without one cannot be weighed",
                )
        else:
            chances = [model.propensity] * table.num_rows
        known = [i for i, ok in enumerate(there.to_pylist()) if ok]
        found = logged([actions[i].as_py() for i in known], [rewards[i] for i in known], [chances[i] for i in known])
        place = pa.array([None] * len(actions), pa.int64()) if not known else _places(len(actions), known)
        return pa.table({**self._features(table).canonical(), "label": found.take(place)})

    def _features(self, table: pa.Table) -> Features:
        """All columns but those that say what was logged."""
        from sluice.tasks.features import Features

        if self._read is None or self._read.table is not table:
            wanted, model = self.project.data.columns, self.project.model
            logs = [n for n in (model.reward, model.propensity) if isinstance(n, str)]
            taken = [n for n in (model.action, *logs) if n in (wanted.features or ())]
            if taken:
                fix = "take it out: it is not known when an action has to be chosen"
                raise DataError("is logged, and a feature", field="data.columns.features", value=taken[0], fix=fix)
            self._read = Features(table, wanted.model_copy(update={"label": model.action, "ignore": [*wanted.ignore, *logs]}))
        return self._read


def _places(rows: int, known: list[int]) -> pa.Array:
    """For each row its place among the known ones; null where it is none of them."""
    import pyarrow as pa

    of: list[int | None] = [None] * rows
    for place, row in enumerate(known):
        of[row] = place
    return pa.array(of, pa.int64())


def _finite(table: pa.Table, name: str, setting: str, there: Any) -> list[float]:
    """A column of numbers, each of which is finite where there is an action. Raises `DataError`."""
    from sluice.tasks import columns

    found = columns.to_float(columns.column(table, name, setting), name, setting).to_pylist()
    bad = [i for i, (v, ok) in enumerate(zip(found, there.to_pylist(), strict=True)) if ok and (v is None or not math.isfinite(v))]
    if bad:
        raise DataError(
            f"is missing or not finite in {len(bad):,} of {len(found):,} rows, the first of them row {bad[0] + 1}",
            field=f"{setting}: {name}",
            value=found[bad[0]],
            fix="give each decision its value, or leave these rows out",
        )
    return [math.nan if v is None else v for v in found]
