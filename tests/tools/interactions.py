"""Interactions of known structure: users with a taste or two, items of one taste each, some more popular than others.

python -m tests.tools.interactions examples/recommend/data/visits.csv
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TASTES = ("crime", "space", "cooking", "garden", "history", "travel")


def interactions(users: int = 300, items: int = 120, most: int = 40, seed: int = 17) -> Iterator[tuple[str, str, str]]:
    """(user, item, time) in the order of time; an item is called as its taste. The share of visits out of a user's own tastes is 0.85."""
    rng = np.random.default_rng(seed)
    names = [f"{TASTES[i % len(TASTES)]}-{i // len(TASTES):02}" for i in range(items)]
    popular = 1 / (1 + rng.permutation(items)) ** 0.7
    begin, found = datetime.datetime(2026, 3, 1, 8), []
    for u in range(users):
        tastes = rng.choice(len(TASTES), size=rng.integers(1, 3), replace=False)
        own = np.isin(np.arange(items) % len(TASTES), tastes)
        share = popular * np.where(own, 0.85 / popular[own].sum(), 0.15 / popular[~own].sum())
        n = int(min(most, 1 + rng.geometric(1 / 18)))
        taken = rng.choice(items, size=min(n, items // 2), replace=False, p=share / share.sum())
        start, hours = rng.integers(0, 24 * 120), np.cumsum(rng.integers(1, 72, size=len(taken)))
        found += [(begin + datetime.timedelta(hours=int(start + h)), f"u{u:04}", names[i]) for h, i in zip(hours, taken, strict=True)]
    for time, user, item in sorted(found):
        yield user, item, time.isoformat(timespec="minutes")


def write(path: Path, **settings: int) -> int:
    """A CSV of `interactions`; how many rows it has."""
    rows = list(interactions(**settings))
    path.write_text("user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows))
    return len(rows)


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
