"""How long a packaged graph takes from raw rows on, at batch 1 and 32."""

from __future__ import annotations

import time

import numpy as np

from sluice.data.dataset import Dataset
from sluice.engines.predictor import Predictor
from sluice.engines.rows import rows_from_arrow, spread

_TIMES = 100


def latencies(predictor: Predictor, dataset: Dataset) -> dict[str, float]:
    """Median milliseconds, one thread: encoding and graph."""
    rows = rows_from_arrow(predictor.package.preprocess, spread(dataset, "test", 32))
    found = {}
    for size in (1, 32):
        taken = []
        for _ in range(_TIMES):
            begun = time.perf_counter()
            predictor.predict(rows[:size])
            taken.append(time.perf_counter() - begun)
        found[str(size)] = round(1e3 * float(np.median(taken)), 3)
    return found
