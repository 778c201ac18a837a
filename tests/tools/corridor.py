"""A corridor in which one learns in a moment to go right; and corridors with what no policy here can learn from.

``gym://tests.tools.corridor:Corridor-v0?broken=reward``
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

LENGTH = 7


class Corridor(gym.Env[Any, Any]):
    """A place from 0 to 6, and a step to the left or the right: 1 at the right end, 0 at the left one, -0.01 on the way."""

    metadata = {"action_names": ["left", "right"], "observation_names": ["place"]}

    def __init__(self, broken: str = "", actions: int = 2):
        self.broken = broken
        self.observation_space: Any = gym.spaces.Discrete(LENGTH, start=1)
        self.action_space: Any = gym.spaces.Discrete(actions)
        self.metadata = {**type(self).metadata}
        if actions != 2:
            self.metadata.pop("action_names")
        if broken == "continuous":
            self.action_space = gym.spaces.Box(-1, 1, (1,))
        elif broken == "dict":
            self.observation_space = gym.spaces.Dict({"place": self.observation_space})
        elif broken == "names":
            self.metadata["action_names"] = ["left", "left"]
        elif broken == "picture":
            self.observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(1, LENGTH - 1))
        return self.place + 1, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place += 1 if action == 1 else -1
        ended = self.place in (0, LENGTH - 1)
        reward = float(self.place > 0) if ended else -0.01
        return self.place + 1, float("nan") if self.broken == "reward" and ended else reward, ended, False, {}


gym.register("Corridor-v0", Corridor, max_episode_steps=40)
