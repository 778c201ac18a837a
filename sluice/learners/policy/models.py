"""Stable-Baselines3's models: made from `train:`, in environments that give the network's own input, taken apart into tensors and put together again."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import MissingExtra
from sluice.learners.seeds import seed_of

if TYPE_CHECKING:
    from sluice.environments.environment import Environment
    from sluice.learners.policy.config import PolicyTrain
    from sluice.learners.policy.network import Encoding

#: Of a model's tensors: weights, the optimizer's state, and DQN's replay buffer.
_WEIGHTS, _OPTIMIZER, _BUFFER = "policy.", "optimizer.", "buffer."
_BUFFERED = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
ACTIVATIONS = {"tanh": "Tanh", "relu": "ReLU"}


def vectorised(environment: Environment, encoding: Encoding, count: int) -> Any:
    """`count` environments side by side, whose observations are what the network takes and whose rewards are finite."""
    import gymnasium as gym
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv

    class Encoded(gym.Wrapper[Any, Any, Any, Any]):
        """An environment as the network sees it."""

        def __init__(self) -> None:
            super().__init__(environment.make())
            self.observation_space = gym.spaces.Box(-np.inf, np.inf, (encoding.features,), np.float32)
            self.action_space = gym.spaces.Discrete(len(environment.actions))

        def reset(self, **how: Any) -> Any:
            observation, info = self.env.reset(**how)
            return self._seen(observation), info

        def step(self, action: Any) -> Any:
            observation, reward, ended, cut, info = self.env.step(environment.action(int(action)))
            return self._seen(observation), environment.reward(reward), ended, cut, info

        @staticmethod
        def _seen(observation: Any) -> np.ndarray:
            return encoding.observed(environment.flat(observation)[None])[0]

    return DummyVecEnv([lambda: Monitor(Encoded()) for _ in range(count)])


def model_of(train: PolicyTrain, hidden: list[int], activation: str, env: Any) -> Any:
    """An untrained model. Raises `MissingExtra`: Stable-Baselines3 is not installed."""
    try:
        import stable_baselines3 as sb3
    except ImportError as e:
        raise MissingExtra(
            "policies are learnt by Stable-Baselines3",
            field="train.algorithm",
            value=train.algorithm,
            fix="pip install 'sluice-ml[policy]'",
        ) from e
    import torch
    from stable_baselines3.common.logger import Logger

    torch.set_num_threads(1)
    how: dict[str, Any] = {
        "learning_rate": _schedule(train.learning_rate, train.schedule),
        "gamma": train.gamma,
        "policy_kwargs": {"net_arch": list(hidden), "activation_fn": getattr(torch.nn, ACTIVATIONS[activation])},
        "device": "cpu",
        "seed": train.seed % 2**31,
    }
    if train.algorithm == "ppo":
        own = train.ppo.model_copy(update={"batch_size": min(train.ppo.batch_size, train.round)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a last batch may be smaller than the others
            model: Any = sb3.PPO("MlpPolicy", env, **how, **own.model_dump())
    else:
        model = sb3.DQN("MlpPolicy", env, **how, **train.dqn.model_dump(exclude={"temperature"}))
    model.set_logger(Logger(folder=None, output_formats=[]))
    # Its own idea of the whole is the part that it learns at a time.
    model._update_current_progress_remaining = lambda done, _: setattr(
        model, "_current_progress_remaining", max(0.0, 1.0 - done / train.timesteps)
    )
    return model


def _schedule(rate: float, kind: str) -> float | Callable[[float], float]:
    return (lambda left: rate * left) if kind == "linear" else rate


def learn(model: Any, env: Any, steps: int, seed: int, part: int) -> None:
    """Learn a part of the steps, whose chance is a function of seed and part, and whose environments begin anew."""
    import torch

    chance = seed_of(seed, part)
    random.seed(chance)
    np.random.seed(chance % 2**32)
    torch.manual_seed(chance)
    model.set_env(env, force_reset=True)
    model.action_space.seed(chance % 2**31)
    env.seed(chance % 2**31)
    model.ep_info_buffer = None  # of this part alone, as after a restart
    model.learn(steps, reset_num_timesteps=False, log_interval=None)


def loss_of(model: Any) -> float | None:
    """The loss of the last update; None before the first."""
    found = model.logger.name_to_value.get("train/loss")
    return None if found is None else float(found)


def layers(model: Any, algorithm: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The weights from an observation to the actions' values, FP32."""
    import torch

    policy = model.policy
    parts = [*policy.mlp_extractor.policy_net, policy.action_net] if algorithm == "ppo" else list(policy.q_net.q_net)
    linear = [p for p in parts if isinstance(p, torch.nn.Linear)]
    return [(p.weight.detach().numpy().copy(), p.bias.detach().numpy().copy()) for p in linear]


def own_values(model: Any, algorithm: str, x: np.ndarray) -> np.ndarray:
    """What the library itself finds: probabilities (PPO) or values (DQN) of the actions, for the network's input."""
    import torch

    with torch.no_grad():
        seen = torch.as_tensor(x)
        found = model.policy.get_distribution(seen).distribution.probs if algorithm == "ppo" else model.policy.q_net(seen)
    return np.asarray(found.numpy())


def tensors_of(model: Any) -> tuple[dict[str, int], dict[str, np.ndarray]]:
    """All that the next part goes on from: counters, and tensors."""
    counters = {"num_timesteps": model.num_timesteps, "_n_updates": model._n_updates, "_n_calls": getattr(model, "_n_calls", 0)}
    found = {_WEIGHTS + name: t.detach().numpy() for name, t in model.policy.state_dict().items()}
    for i, state in model.policy.optimizer.state_dict()["state"].items():
        found |= {f"{_OPTIMIZER}{i}.{name}": np.asarray(t) for name, t in state.items()}
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        counters |= {"pos": buffer.pos, "full": int(buffer.full)}
        filled = buffer.buffer_size if buffer.full else buffer.pos
        found |= {_BUFFER + name: getattr(buffer, name)[:filled] for name in _BUFFERED}
    return counters, {name: np.ascontiguousarray(t) for name, t in found.items()}


def restore(model: Any, counters: dict[str, int], tensors: dict[str, np.ndarray]) -> None:
    """Put what `tensors_of` gave into a model that was made alike. Raises `KeyError`, `RuntimeError`, `ValueError`: it is of another one."""
    import torch

    def under(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

    model.policy.load_state_dict({name: torch.from_numpy(t.copy()) for name, t in under(_WEIGHTS).items()})
    states: dict[int, dict[str, Any]] = {}
    for name, t in under(_OPTIMIZER).items():
        i, _, what = name.partition(".")
        states.setdefault(int(i), {})[what] = torch.from_numpy(t.copy())
    optimizer = model.policy.optimizer
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    for name in ("num_timesteps", "_n_updates", "_n_calls"):
        setattr(model, name, counters[name])
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        for name, t in under(_BUFFER).items():
            getattr(buffer, name)[: len(t)] = t
        buffer.pos, buffer.full = counters["pos"], bool(counters["full"])
