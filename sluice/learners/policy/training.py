"""A policy learnt in parts: learn, judge on episodes of its own, keep the best, write a checkpoint."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import SluiceError
from sluice.environments.play import VALIDATION, at_random, play, seeds
from sluice.learners.errors import NonFiniteError
from sluice.learners.policy import models
from sluice.learners.policy.checkpoint import Checkpoints
from sluice.learners.policy.network import Encoding, PolicyNetwork

if TYPE_CHECKING:
    from sluice.environments.environment import Environment
    from sluice.learners.base import Event
    from sluice.learners.policy.config import PolicyTrain

#: Of the library's own answers ours may be off by this: it orders sums otherwise.
_NEAR = 1e-4
_BEST = "best."


@dataclasses.dataclass(frozen=True)
class Course:
    """What is learnt, where, and how it is told of.

    Attributes:
        hidden, activation: of the perceptron.
        place: of each label of the dataset, which of the environment's actions it is.
    """

    environment: Environment
    encoding: Encoding
    train: PolicyTrain
    hidden: list[int]
    activation: str
    place: list[int]
    on_event: Callable[[Event], None]
    checkpoints: Checkpoints


@dataclasses.dataclass
class Progress:
    """What was found so far. `best`: the part whose policy is kept, `network`."""

    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    best: int = 0
    network: PolicyNetwork | None = None

    @property
    def mean(self) -> float:
        """The best part's mean return on the validation episodes."""
        return max((h["validation_metrics"]["mean_return"] for h in self.history), default=-math.inf)


def train(course: Course) -> Progress:
    """Learn, from the last checkpoint where there is one.

    The best policy is the one with the largest mean return on the validation episodes, of equal ones the last. Equal settings and seed
    give equal weights, interrupted or not, if the environment's ``reset(seed)`` decides its episodes.

    Raises:
        NonFiniteError: the weights became NaN or infinite.
        DataError: the environment gave a reward or an observation that is not finite.
    """
    settings, environment = course.train, course.environment
    env = models.vectorised(environment, course.encoding, settings.n_envs)
    model = models.model_of(settings, course.hidden, course.activation, env)
    progress = _resumed(course, model)
    starts = seeds(environment.address.seed, VALIDATION, settings.validation_episodes)
    for part in range(len(progress.history) + 1, settings.parts + 1):
        wanted = settings.timesteps * part // settings.parts - model.num_timesteps
        if wanted > 0:
            env = env if part == 1 else models.vectorised(environment, course.encoding, settings.n_envs)
            models.learn(model, env, wanted, settings.seed, part)
            env.close()
        network = _network(course, model)
        entry = _judged(course, model, network, starts, part)
        if entry["validation_metrics"]["mean_return"] >= progress.mean:
            progress.best, progress.network = part, network
        progress.history.append(entry)
        course.on_event({"kind": "epoch", **entry, "epochs": settings.parts})
        _save(course, model, progress)
        if settings.stop_at is not None and progress.mean >= settings.stop_at:
            break
    return progress


def _judged(course: Course, model: Any, network: PolicyNetwork, starts: list[int], part: int) -> dict[str, Any]:
    """A part's entry of the history."""
    found = play(course.environment, network.choose, starts)
    returns = [float(e["r"]) for e in model.ep_info_buffer or ()]
    metrics = {"mean_return": float(found.returns.mean()), "mean_length": float(found.lengths.mean())}
    return {
        "epoch": part,
        "step": int(model.num_timesteps),
        "steps": course.train.timesteps,
        "train_loss": models.loss_of(model),
        "train_return": float(np.mean(returns)) if returns else None,
        "validation_loss": None,
        "validation_metrics": metrics,
    }


def _network(course: Course, model: Any) -> PolicyNetwork:
    """The policy as it will be shipped, which answers as the library's own.

    Raises:
        NonFiniteError: weights that are not finite.
        SluiceError: it does not answer so.
    """
    algorithm = course.train.algorithm
    weights = models.layers(model, algorithm)
    if not all(np.isfinite(t).all() for pair in weights for t in pair):
        raise NonFiniteError(
            f"the policy's weights are not finite after {model.num_timesteps:,} steps",
            field="train.learning_rate",
            value=course.train.learning_rate,
            fix="lower it, or set model.normalise: true where observations are large",
        )
    made = PolicyNetwork(
        course.encoding, weights, course.activation, course.train.dqn.temperature if algorithm == "dqn" else 1.0, course.place
    )
    x = np.random.default_rng(0).standard_normal((64, course.encoding.features)).astype(np.float32)
    ours = made.values(x)
    if algorithm == "ppo":
        ours = np.exp(ours - ours.max(axis=1, keepdims=True))
        ours /= ours.sum(axis=1, keepdims=True)
    theirs = models.own_values(model, algorithm, x)
    if not np.allclose(ours, theirs, rtol=_NEAR, atol=_NEAR):
        raise SluiceError(f"does not answer as {algorithm} of Stable-Baselines3 does, by {np.abs(ours - theirs).max():.2g}", field="policy")
    return made


def _save(course: Course, model: Any, progress: Progress) -> None:
    assert progress.network is not None
    counters, tensors = models.tensors_of(model)
    plain, best = progress.network.dump()
    course.checkpoints.save(
        progress.history[-1]["epoch"],
        {"counters": counters, "history": progress.history, "best": progress.best, "network": plain},
        tensors | {_BEST + name: t for name, t in best.items()},
    )


def _resumed(course: Course, model: Any) -> Progress:
    """What the last checkpoint holds, put into the model; nothing where there is none."""
    found = course.checkpoints.latest()
    if found is None:
        return Progress()
    said, tensors = found
    models.restore(model, said["counters"], {n: t for n, t in tensors.items() if not n.startswith(_BEST)})
    network = PolicyNetwork.load(said["network"], {n.removeprefix(_BEST): t for n, t in tensors.items() if n.startswith(_BEST)})
    course.on_event({"kind": "note", "text": f"goes on after part {len(said['history'])} of {course.train.parts}"})
    return Progress(said["history"], said["best"], network)


def at_random_return(environment: Environment, episodes: int) -> float:
    """The mean return of the policy that acts at random, on the validation episodes."""
    seed = environment.address.seed
    return float(play(environment, at_random(environment, seed), seeds(seed, VALIDATION, episodes)).returns.mean())
