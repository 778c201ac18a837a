"""One environment: its observations as named numbers, its actions as names, and episodes that a seed decides."""

from __future__ import annotations

import difflib
import functools
import importlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import DataError, MissingExtra, SluiceError, first_line
from sluice.environments.address import LONGEST, Address

if TYPE_CHECKING:
    import gymnasium

#: Numbers of an observation, and actions, at the most.
MOST_NUMBERS, MOST_ACTIONS = 1024, 1000
_TAKEN = "observations of numbers (Box), of states (Discrete, MultiDiscrete, MultiBinary) or a Tuple of these, and Discrete actions"


class Environment:
    """An environment of gymnasium, checked to be one that a policy of a finite set of actions can learn.

    Args:
        address: which, and how it is made.
        field: the setting that names it, for errors.

    Attributes:
        names: of an observation's numbers: those of ``metadata["observation_names"]`` of the environment, else ``obs_0``, ``obs_1``, ...
        states: of each number, how many states it tells apart (0, 1, ... n - 1); 0 where it is a quantity.
        actions: names of the actions: ``metadata["action_names"]``, else ``0``, ``1``, ...

    Raises:
        MissingExtra: gymnasium, or what the environment needs, is not installed.
        DataError: there is no such environment, it cannot be made so, or its spaces are of another kind.
    """

    def __init__(self, address: Address, field: str = "data.source"):
        self.address, self.field = address, field
        first = self.make()
        try:
            self._offset, self.states = self._observed(first.observation_space)
            self.names = self._named(first, "observation_names", [f"obs_{i}" for i in range(len(self.states))])
            self._first = self._acted(first.action_space)
            self.actions = self._named(first, "action_names", [str(a) for a in range(int(first.action_space.n))])  # type: ignore[attr-defined]
        finally:
            first.close()

    def make(self) -> gymnasium.Env[Any, Any]:
        """A new one. Its episodes end by its own limit, by `Address.max_steps`, or after `LONGEST` steps. Raises as the class."""
        gym = _gymnasium(self.field)
        a = self.address
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module, _, name = a.id.rpartition(":")
                if module:
                    importlib.import_module(module)
                limit = a.max_steps or (None if gym.spec(name).max_episode_steps else LONGEST)
                return gym.make(name, max_episode_steps=limit, disable_env_checker=True, **a.options)
        except gym.error.DependencyNotInstalled as e:
            said = first_line(e)
            raise MissingExtra(f"needs what is not installed: {said}", field=self.field, value=a.id, fix=_extra(said)) from e
        except (gym.error.UnregisteredEnv, ImportError) as e:
            raise DataError(f"there is no such environment: {first_line(e)}", field=self.field, value=a.id, fix=_nearest(gym, a.id)) from e
        except SluiceError:
            raise
        except Exception as e:  # of the environment's own code
            raise DataError(
                f"cannot be made: {type(e).__name__}: {first_line(e)}",
                field=self.field,
                value=a.id,
                fix=f"correct what stands behind the ?, or remove it: {a.options}" if a.options else "mend the environment",
            ) from e

    def flat(self, observation: Any) -> np.ndarray:
        """An observation as numbers, FP32 [numbers]; a state counts from 0. Raises `DataError`: one is not finite."""
        parts = observation if isinstance(observation, tuple) else (observation,)
        found = np.concatenate([np.asarray(p, dtype=np.float32).reshape(-1) for p in parts]) - self._offset
        if not np.isfinite(found).all():
            raise DataError("an observation is not finite", field=self.field, value=self.address.id, fix="mend the environment")
        return np.asarray(found, dtype=np.float32)

    def action(self, index: int) -> int:
        """An action by its place in `actions`, as the environment takes it."""
        return self._first + index

    def reward(self, reward: Any) -> float:
        """A step's reward. Raises `DataError`: it is not a finite number."""
        try:
            found = float(reward)
        except (TypeError, ValueError):
            found = float("nan")
        if not np.isfinite(found):
            raise DataError(
                "a reward is not a finite number",
                field=f"{self.field}, {self.address.id}: reward",
                value=reward,
                fix="mend the environment: step() has to return a finite reward, for example 0.0 where there is none",
            )
        return found

    # --- spaces ---

    def _observed(self, space: Any) -> tuple[np.ndarray, list[int]]:
        """What to take away from each number, and how many states each has."""
        kind = type(space).__name__
        parts = list(space.spaces) if kind == "Tuple" else [space]
        found = [_numbers(p) for p in parts]
        if any(f is None for f in found):
            raise self._refused("observations", space)
        offset = np.concatenate([np.asarray(f[0], dtype=np.float32) for f in found if f is not None])
        states = [n for f in found if f is not None for n in f[1]]
        if not 1 <= len(states) <= MOST_NUMBERS or max(states) > MOST_NUMBERS:
            raise DataError(
                f"has observations of {len(states):,} numbers, of {max(states, default=0):,} states at most",
                field=self.field,
                value=self.address.id,
                fix=f"wrap it in one of 1 to {MOST_NUMBERS:,} numbers and states; pictures are not learnt here",
            )
        return offset, states

    def _acted(self, space: Any) -> int:
        if type(space).__name__ != "Discrete":
            raise self._refused("actions", space)
        if not 2 <= space.n <= MOST_ACTIONS:
            raise DataError(
                f"has {space.n} actions", field=self.field, value=self.address.id, fix=f"2 to {MOST_ACTIONS:,} actions can be learnt"
            )
        return int(space.start)

    def _refused(self, what: str, space: Any) -> DataError:
        kind = type(space).__name__
        said = f"continuous {what} ({kind})" if kind == "Box" else f"{what} of a {kind}"
        fix = f"learnt are {_TAKEN}; wrap the environment, or name another one"
        return DataError(f"has {said}", field=self.field, value=self.address.id, fix=fix)

    def _named(self, env: gymnasium.Env[Any, Any], key: str, default: list[str]) -> list[str]:
        told = (env.unwrapped.metadata or {}).get(key)
        if told is None:
            return default
        if len(told) != len(default) or len(set(told)) != len(told) or not all(isinstance(n, str) and n.strip() == n != "" for n in told):
            fix = f"give {len(default)} different texts, or leave it out"
            raise DataError("does not name each one", field=f"{self.field}, {self.address.id}: metadata[{key!r}]", value=told, fix=fix)
        return list(told)


def _numbers(space: Any) -> tuple[Any, list[int]] | None:
    """What to take away from a space's numbers, and how many states each has (0: a quantity); None: it is of no such kind."""
    kind = type(space).__name__
    if kind == "Box":
        size = int(np.prod(space.shape))
        return np.zeros(size), [0] * size
    if kind == "Discrete":
        return [space.start], [int(space.n)]
    if kind == "MultiDiscrete":
        return np.ravel(getattr(space, "start", np.zeros_like(space.nvec))), [int(n) for n in np.ravel(space.nvec)]
    if kind == "MultiBinary":
        size = int(np.prod(space.shape))
        return np.zeros(size), [2] * size
    return None


@functools.cache
def _gymnasium(field: str) -> Any:
    try:
        import gymnasium
    except ImportError as e:
        raise MissingExtra("environments need gymnasium", field=field, fix="pip install 'sluice-ml[policy]'") from e
    return gymnasium


def _extra(said: str) -> str:
    """The extra of gymnasium that its own message names."""
    _, found, rest = said.partition("gymnasium[")
    return f"pip install 'gymnasium[{rest.partition(']')[0]}]'" if found else "install what the environment needs"


def _nearest(gym: Any, name: str) -> str:
    """The name of an environment that is there, nearest to one that is not."""
    module, colon, _ = name.partition(":")
    if colon:
        return f"put {module}.py beside sluice.yaml, and let it call gymnasium.register({name.partition(':')[2]!r}, ...)"
    known = sorted(gym.registry)
    near = difflib.get_close_matches(name, known, 1, 0.5) or [k for k in known if k.lower() == name.lower()]
    return (f"did you mean {near[0]!r}? " if near else "") + "such as CartPole-v1, Acrobot-v1, MountainCar-v0, FrozenLake-v1, Taxi-v4"
