"""`train:` of a policy. Neither torch nor Stable-Baselines3 is imported here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from sluice.core.section import Section
from sluice.learners.config import TrainSection


class PPOConfig(Section):
    """Proximal policy optimisation (Schulman et al. 2017), as Stable-Baselines3 has it."""

    n_steps: int = Field(32, ge=2, description="steps of each environment between two updates")
    batch_size: int = Field(256, ge=2)
    n_epochs: int = Field(10, ge=1, description="passes over the steps of an update")
    gae_lambda: float = Field(0.8, ge=0, le=1)
    clip_range: float = Field(0.2, gt=0, le=1)
    ent_coef: float = Field(0.0, ge=0, description="how much a policy that stays open to other actions is worth")


class DQNConfig(Section):
    """Deep Q-learning (Mnih et al. 2015), as Stable-Baselines3 has it."""

    batch_size: int = Field(64, ge=2)
    buffer_size: int = Field(50_000, ge=100)
    learning_starts: int = Field(1000, ge=0, description="steps before the first update")
    train_freq: int = Field(32, ge=1, description="steps of each environment between two rounds of updates")
    gradient_steps: int = Field(128, ge=1, description="updates of a round")
    target_update_interval: int = Field(100, ge=1)
    exploration_fraction: float = Field(0.2, gt=0, le=1)
    exploration_final_eps: float = Field(0.04, ge=0, le=1)
    temperature: float = Field(
        1.0,
        gt=0,
        description="probabilities of actions are the softmax of their values divided by it; which is likeliest does not depend on it",
    )


class PolicyTrain(TrainSection):
    """How a policy learns. Settings of PPO and DQN stand under their names."""

    algorithm: Literal["ppo", "dqn"] = "ppo"
    timesteps: int = Field(100_000, ge=1, description="steps of all environments together")
    n_envs: int = Field(8, ge=1, le=256, description="environments that go on side by side")
    learning_rate: float = Field(1e-3, gt=0, le=1)
    schedule: Literal["linear", "constant"] = Field("linear", description="linear: the learning rate falls to 0")
    gamma: float = Field(0.98, gt=0, le=1, description="discount of a step")
    parts: int = Field(10, ge=1, le=1000, description="parts of the steps; after each the policy is judged, and written as a checkpoint")
    stop_at: float | None = Field(None, description="stop after a part whose mean return on the validation episodes is at least this")
    validation_episodes: int = Field(20, ge=1, le=1000)
    threads: Literal[1] = Field(1, description="one: so the same steps are taken on every machine")
    ppo: PPOConfig = PPOConfig()
    dqn: DQNConfig = DQNConfig()

    @model_validator(mode="after")
    def _parts_have_steps(self) -> PolicyTrain:
        if self.folds is not None:
            raise ValueError("folds are of rows, and a policy learns in its environment: remove train.folds")
        if self.parts > self.timesteps:
            raise ValueError(f"parts {self.parts} are more than timesteps {self.timesteps}")
        return self

    @property
    def round(self) -> int:
        """Steps of all environments between two updates."""
        return self.n_envs * (self.ppo.n_steps if self.algorithm == "ppo" else self.dqn.train_freq)

    def few(self) -> str:
        """Why so few steps will hardly learn anything; empty where they may."""
        updates = max(0, self.timesteps - (self.dqn.learning_starts if self.algorithm == "dqn" else 0)) // self.round
        if updates >= 20:
            return ""
        return f"train.timesteps {self.timesteps:,} are {updates} updates of {self.round} steps: too few to learn from; from 20 on there is something to see"
