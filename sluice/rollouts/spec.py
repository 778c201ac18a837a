"""`rollout:` in the project file, and the strategy and analysis of a ``ModelRollout``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sluice.core.section import Section


class Margin(Section):
    """How much worse than the stable model is too much, in shares of requests (0.02 is two points).

    The two numbers bound a zone of indifference. A candidate beyond `tolerance` is rolled back
    once that is shown; it is let on once it is shown to be inside `margin`.
    """

    tolerance: float = Field(0.0, ge=0, lt=1, description="roll back when shown to be worse by more than this")
    margin: float = Field(0.02, gt=0, lt=1, description="go on when shown to be worse by less than this")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.tolerance >= self.margin:
            raise ValueError(f"tolerance ({self.tolerance:g}) must be below margin ({self.margin:g}), or no candidate could pass")
        return self


class CostMargin(Margin):
    """How much dearer than the stable model's an answer may be on average, in shares of what stable's costs (0.5: half as much again)."""

    tolerance: float = Field(0.25, gt=0, lt=100, description="roll back when shown to be dearer by more than this")
    margin: float = Field(0.5, gt=0, lt=100, description="go on when shown to be dearer by less than this")


class Shadow(Section):
    """The candidate first gets copies of live requests, whose answers nobody sees."""

    requests: int = Field(200, ge=0, description="copies the candidate must answer before it is sent users; 0 skips the phase")
    percent: int = Field(100, ge=1, le=100, description="how many of the live requests are copied")
    disagreement: float = Field(0.5, gt=0, le=1, description="roll back when shown to answer differently from stable more often than this")


class Business(Section):
    """A/B: the outcome that names the winner, by feedback per arm, counted by groups of users."""

    kind: Literal["rate", "mean"] = "rate"
    better: Literal["higher", "lower"] = "higher"
    unit: Literal["user", "request"] = Field(
        "user", description="what is independent: users, who may come again; request: each outcome is another user's"
    )
    minimum_outcomes: int = Field(200, ge=2, description="outcomes in each arm before a winner is named")


class Replay(Section):
    """Load for a rollout on this machine, where there are no users."""

    rate: float = Field(300, gt=0, le=20_000, description="requests a second, as far as the servers sustain them; open loop")
    connections: int = Field(64, ge=1, le=4096, description="requests in flight at most")
    timeout_seconds: float = Field(10, gt=0, description="an answer later than this is a failure")
    step_deadline_seconds: float | None = Field(
        None,
        gt=0,
        description="in place of the rollout's step deadline; by default four times what a step takes at this rate, between 60 and 600",
    )


class RolloutSpec(Section):
    """How a new model is let into traffic.

    A step ends when each analysed share of the candidate's requests (errors, slower than the
    objective, wrong where the truth is known, each label's part of the answers) is shown to be
    within its `margin` of the stable model's in the same minutes, and `minimum_requests` were
    answered; it ends the rollout when one is shown to be beyond its `tolerance`.

    With the defaults, at alpha 0.05 and 300 candidate requests without an error:

    * a candidate as good as a stable model without errors passes after about 250 requests in
      its arm, so at the 300 of `minimum_requests`; at 1 % errors in both it takes about 600;
    * one with 2 points more errors is let past a step with probability below 5 %, and past both
      below 0.5 %; it is stopped after about 10 errors. One with 5 points more: after 4 or 5;
    * half a point more errors is inside the margin: usually promoted. To catch it, set
      ``errors: {margin: 0.005}``, which asks for about 1,000 requests a step;
    * a healthy candidate is rolled back by chance with probability below alpha, over all steps
      and shares together, however often one looks.

    ``sluice.rollouts.simulate`` says the same of any other settings and traffic.
    """

    strategy: Literal["canary", "ab"] = Field("canary", description="ab: hold at the first step and let `business` name the winner")
    steps: list[int] = Field([10, 50], min_length=1, max_length=20, description="per cent of traffic, rising")
    minimum_requests: int = Field(300, ge=1, description="candidate requests a step must see")
    latency_slo_ms: float = Field(200, gt=0, description="slower than this counts as slow; a limit for a first model only where it is set")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="probability of rolling back a healthy candidate, and of passing a bad one")
    errors: Margin = Margin(tolerance=0.0, margin=0.02)
    error_ceiling: float = Field(
        0.1, gt=0, le=1, description="never promote what is shown to answer with more errors than this, where stable is not"
    )
    slow: Margin | None = Margin(tolerance=0.01, margin=0.05)
    wrong: Margin | None = Field(Margin(tolerance=0.02, margin=0.1), description="answers unlike the known truth, where there is one")
    shift: Margin | None = Field(Margin(tolerance=0.1, margin=0.2), description="move of any label's share of the answers")
    cost: CostMargin | None = Field(
        None,
        description="of prompts, whose servers tell what an answer costs: how much dearer one may be on average; left out, the defaults hold "
        "for a prompt, and null compares no costs",
    )
    business: Business | None = None
    shadow: Shadow = Shadow()
    trouble_seconds: float = Field(
        2,
        ge=0,
        description="trouble of one process passes: evidence against a candidate that lies within so long a stretch alone "
        "does not decide; 45 on a cluster",
    )
    ready_seconds: float = Field(120, gt=0, description="the candidate must be ready within this")
    warmup_seconds: float = Field(1, ge=0, description="and stay ready this long before it is sent users")
    settle_seconds: float = Field(1, ge=0, description="after a change of weights, measurements are no evidence for this long")
    step_deadline_seconds: float = Field(
        3600, gt=0, description="a step whose evidence is open by then ends the rollout; one that lacks traffic is held"
    )
    on_deadline: Literal["rollback", "pause"] = Field(
        "rollback", description="for a step that had its requests and no verdict; for want of traffic it is held in either case"
    )
    verify_seconds: float = Field(2, ge=0, description="watched at (almost) all traffic with the old model at hand")
    hold_back: int = Field(
        5, ge=0, le=50, description="per cent that stay on the stable model while the candidate is watched: the comparison goes on"
    )
    keep_seconds: float = Field(600, ge=0, description="on a cluster the old model stays this long for an instant way back")
    dry_run: bool = Field(False, description="stop before the first live request and say what would come")
    unready_seconds: float = Field(3, ge=0, description="a candidate that takes traffic and is not ready for this long is rolled back")
    restarts: int = Field(0, ge=0, description="restarts of candidate processes that are forgiven")
    replay: Replay = Replay()

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: list[int]) -> list[int]:
        if any(not 1 <= s <= 99 for s in steps) or sorted(set(steps)) != steps:
            raise ValueError(f"must be rising whole per cents between 1 and 99 (got {steps}); 100 follows by itself after the last")
        return steps

    @model_validator(mode="before")
    @classmethod
    def _margins_merge(cls, raw: Any) -> Any:
        """A share named with one of its two numbers keeps the default of the other; a margin at or below the default tolerance shrinks that with it."""
        if not isinstance(raw, Mapping):
            return raw
        merged = dict(raw)
        for name, given in raw.items():
            default = cls.model_fields[name].default if name in cls.model_fields else None
            default = CostMargin() if name == "cost" else default
            if isinstance(default, Margin) and isinstance(given, Mapping):
                margin, tolerance = given.get("margin", default.margin), default.tolerance
                if isinstance(margin, int | float) and margin <= tolerance:
                    tolerance *= margin / default.margin
                merged[name] = {"tolerance": tolerance, "margin": default.margin, **given}
        return merged

    @model_validator(mode="after")
    def _whole(self) -> RolloutSpec:
        if self.strategy == "ab" and (self.business is None or len(self.steps) != 1):
            raise ValueError("strategy ab needs `business` and exactly one step, for example steps: [50]")
        return self

    @property
    def windows(self) -> int:
        """How many windows of evidence the plan has: the shadow, each step, and the last watch where stable keeps a part."""
        return len(self.steps) + (1 if self.shadow.requests else 0) + (1 if self.hold_back and self.verify_seconds else 0)
