"""How often a prompt is refused that is worse than the champion's by so many points, and one that is equal: ``python -m tests.bench.prompts [RUNS]``.

200 items, each with its own difficulty: most are nearly always right or nearly always wrong, some in between. Both prompts answer each item
`samples` times, at random, with its own share of right answers; the worse one's shares are lower in one of three ways:

- ``some``: 10 % of all items that were right are now wrong (the rest as before);
- ``all``: every item's odds are lower, until the mean is 10 points lower;
- ``mixed``: 15 % of all items lost, another 5 % won.

What decides is the gate itself (`sluice.problems.comparison.compare` with a project's default settings). One JSON line each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from sluice.gates.config import EvaluateConfig
from sluice.problems.comparison import compare
from sluice.problems.of_scores import COLUMNS
from sluice.problems.prompted import Prompted

ITEMS, POINTS = 200, 0.10


def shares(rng: np.random.Generator) -> np.ndarray:
    """Of each item, how often it is answered right: 70 % nearly always, 20 % nearly never, 10 % anything between."""
    kind = rng.choice(3, ITEMS, p=[0.7, 0.2, 0.1])
    return np.choose(kind, [rng.uniform(0.95, 1, ITEMS), rng.uniform(0, 0.05, ITEMS), rng.uniform(0, 1, ITEMS)])


def worse(p: np.ndarray, how: str, rng: np.random.Generator) -> np.ndarray:
    """The shares of a prompt that is `POINTS` worse, or as good (``equal``: the same shares; ``other``: as many items lost as won)."""
    out = p.copy()
    if how == "all":
        low, high = 0.0, 8.0
        odds = np.log(np.clip(p, 1e-4, 1 - 1e-4) / (1 - np.clip(p, 1e-4, 1 - 1e-4)))
        for _ in range(50):
            shift = (low + high) / 2
            out = 1 / (1 + np.exp(-(odds - shift)))
            low, high = (shift, high) if p.mean() - out.mean() < POINTS else (low, shift)
        return out
    right, wrong = rng.permutation(np.flatnonzero(p > 0.9)), rng.permutation(np.flatnonzero(p < 0.1))
    lost, won = {"some": (0.10, 0.0), "mixed": (0.15, 0.05), "other": (0.05, 0.05), "equal": (0.0, 0.0)}[how]
    out[right[: round(lost * ITEMS)]] = 0.0
    out[wrong[: round(won * ITEMS)]] = 1.0
    return out


def refused(how: str, samples: int, seed: int, config: EvaluateConfig) -> bool:
    """Whether one candidate is found worse."""
    rng = np.random.default_rng([seed, samples])
    p = shares(rng)
    pair = [np.full((ITEMS, len(COLUMNS)), np.nan) for _ in range(2)]
    for scores, share in zip(pair, (worse(p, how, rng), p), strict=True):
        scores[:, 0] = rng.binomial(samples, share) / samples
    targets = np.full(ITEMS, "x", dtype=object)
    return bool(compare(pair[0], pair[1], targets, [], [], config, asked=Prompted())["verdict"] == "worse")


def figures(runs: int, samples: tuple[int, ...] = (1, 3)) -> Iterator[dict[str, Any]]:
    """A line a scenario: of so many runs, how many are refused."""
    config = EvaluateConfig()
    for n in samples:
        for how in ("some", "mixed", "all", "equal", "other"):
            hits = sum(refused(how, n, seed, config) for seed in range(runs))
            yield {"scenario": how, "samples": n, "items": ITEMS, "runs": runs, "refused": hits, "share": hits / runs}


if __name__ == "__main__":
    for line in figures(int(sys.argv[1]) if len(sys.argv) > 1 else 200):
        print(json.dumps(line), flush=True)
