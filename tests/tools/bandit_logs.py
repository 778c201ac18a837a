"""Decisions logged on real data: the example of the task `bandit`. ``python -m tests.tools.bandit_logs examples/bandit/data/decisions.csv``

The usual way to get logs whose truth is known (Dudik et al. 2011): of the 1,797 handwritten digits that scikit-learn carries each is a context,
an action is to name it, and the reward is 1 where the name is right. The policy that logs knows little: it was fitted to 120 of them, and
six times in ten it tries anything.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

EXPLORE, KNOWN = 0.6, 120


def rows(seed: int = 17) -> list[dict[str, object]]:
    """A decision a row: 16 shades of 2x2 pixels, the action, its reward, and the propensity it had."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    found = load_digits()
    shades = found.images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(shades))
    shades, digits = shades[order], found.target[order]
    weak = LogisticRegression(max_iter=3000).fit(shades[:KNOWN], digits[:KNOWN])
    chances = (1 - EXPLORE) * weak.predict_proba(shades) + EXPLORE / 10
    actions = (chances.cumsum(axis=1) > rng.random((len(shades), 1))).argmax(axis=1)
    return [
        {
            **{f"shade_{i // 4}_{i % 4}": round(float(v), 2) for i, v in enumerate(context)},
            "action": f"digit-{action}",
            "reward": int(action == digit),
            "propensity": round(float(p), 6),
        }
        for context, action, digit, p in zip(
            shades[KNOWN:], actions[KNOWN:], digits[KNOWN:], chances[np.arange(len(actions)), actions][KNOWN:], strict=True
        )
    ]


def main(out: Path) -> None:
    """Write the logs."""
    logged = rows()
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="") as f:
        writer = csv.DictWriter(f, list(logged[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(logged)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
