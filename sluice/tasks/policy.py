"""Policies: which action to take in an environment of gymnasium, learnt by trying."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from sluice.core.errors import ProjectError
from sluice.core.section import Section
from sluice.tasks.base import Task

if TYPE_CHECKING:
    import pyarrow as pa


class PolicyModel(Section):
    """A perceptron from an observation to the actions."""

    hidden: list[int] = Field([64, 64], min_length=1, max_length=8)
    activation: Literal["tanh", "relu"] = "tanh"
    normalise: bool = Field(False, description="scale observations to mean 0 and deviation 1 of those that the reference policy logged")


class PolicyTask(Task):
    """Rows are observations that a reference policy logged; what is learnt is which action to take."""

    name: ClassVar[str] = "policy"
    Model = PolicyModel
    starter: ClassVar[str | None] = "policy"

    @classmethod
    def learnt_by(cls, model: Section) -> str:
        """By reinforcement learning."""
        return "policy"

    def objective(self, table: pa.Table) -> str:
        """Judged by the returns of whole episodes."""
        from sluice.problems.policy import Policy

        return Policy.name

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """Every number of the observation. Raises `ProjectError`: the source is no environment, or names other columns."""
        from sluice.environments.address import SCHEME
        from sluice.environments.logged import EPISODE, REWARD, STEP

        data = self.project.data
        if not data.source.lower().startswith(f"{SCHEME}://"):
            fix = f"data: {{source: {SCHEME}://CartPole-v1}}; logged decisions with rewards are for task: bandit"
            raise ProjectError("is no environment", field="data.source", value=data.source, fix=fix)
        for key in ("slices", "decision"):
            if value := getattr(self.project.evaluate, key):
                fix = "remove it: a policy is judged by whole episodes"
                raise ProjectError("is of rows that are right or wrong", field=f"evaluate.{key}", value=value, fix=fix)
        columns = data.columns
        for key in ("features", "ignore", "categorical", "kinds", "numbers", "timestamps"):
            if value := getattr(columns, key):
                fix = "remove it: the environment says what an observation is"
                raise ProjectError("cannot be chosen of an observation", field=f"data.columns.{key}", value=value, fix=fix)
        return {n: "numeric" for n in table.column_names if n not in (columns.label, EPISODE, STEP, REWARD)}

    def canonical(self, table: pa.Table) -> pa.Table:
        """The observation's numbers, and the action that was taken as the label."""
        import pyarrow as pa

        made: dict[str, Any] = {n: table.column(n) for n in self.kinds(table)}
        return pa.table({**made, "label": table.column(self.project.data.columns.label)})
