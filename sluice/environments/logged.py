"""The source ``gym://``: what a reference policy saw and did, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from sluice.core.errors import DataError
from sluice.environments.address import address_of
from sluice.environments.environment import Environment
from sluice.environments.play import REFERENCE, at_random, seeds

if TYPE_CHECKING:
    from sluice.data.scheme import Asked

#: Columns beside the observation's numbers and the label: the episode and its step, and what came of the action.
EPISODE, STEP, REWARD = "episode", "step", "reward"
#: Episodes there are at least, so that some can be held out: a longer one is cut.
_FEWEST = 25


def table(asked: Asked) -> pa.Table:
    """Observations logged by the policy that acts at random, in the order of its steps.

    A row has the observation's numbers (float64), the action that was taken as the label, and ``episode``, ``step`` and ``reward``.
    Equal addresses give equal tables.

    Raises:
        DataError, MissingExtra: as `Environment`; or the environment gives what is not finite.
    """
    address = address_of(asked.uri)
    environment = Environment(address)
    taken = {asked.columns.label, EPISODE, STEP, REWARD} & set(environment.names)
    if taken:
        fix = "give the observation's number another name in metadata['observation_names'], or set data.columns.label"
        raise DataError("is the name of another column too", field="data.source", value=sorted(taken)[0], fix=fix)
    choose, env = at_random(environment, address.seed), environment.make()
    longest = max(1, address.rows // _FEWEST)
    seen: list[np.ndarray] = []
    rest: list[tuple[str, int, float, str]] = []
    try:
        for episode, start in enumerate(seeds(address.seed, REFERENCE, address.rows)):
            observation = environment.flat(env.reset(seed=start)[0])
            for step in range(min(longest, address.rows - len(rest))):
                action = int(choose(observation[None])[0])
                seen.append(observation)
                after, reward, ended, cut, _ = env.step(environment.action(action))
                rest.append((f"episode-{episode}", step, environment.reward(reward), environment.actions[action]))
                observation = environment.flat(after)
                if ended or cut:
                    break
            if len(rest) >= address.rows:
                break
    finally:
        env.close()
    matrix = np.stack(seen).astype(np.float64)
    episodes, steps, rewards, actions = zip(*rest, strict=True)
    columns = {name: pa.array(matrix[:, i]) for i, name in enumerate(environment.names)}
    return pa.table(
        {
            **columns,
            asked.columns.label: pa.array(actions, pa.string()),
            EPISODE: pa.array(episodes, pa.string()),
            STEP: pa.array(steps, pa.int64()),
            REWARD: pa.array(rewards, pa.float64()),
        }
    )
