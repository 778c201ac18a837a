"""implicit's ALS in its own environment: ``python implicit_fit.py FOLDER`` reads what `tests.bench.tasks.recommend` wrote and leaves answers.npz.

The settings are chosen on the validation rows, as ours are; a user's vector is found anew from the history (`recalculate_user`).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from scipy import sparse

GRID = [(d, r, a) for d in (32, 64, 128) for r in (0.01, 0.1, 1.0) for a in (1.0, 10.0)]


def lists(model: Any, histories: Any, places: int) -> np.ndarray:
    """The best items for each history, those of the history left out, [rows, places]."""
    rows = np.arange(histories.shape[0])
    found, _ = model.recommend(rows, histories, N=places, filter_already_liked_items=True, recalculate_user=True)
    return np.asarray(found)


def ndcg(found: np.ndarray, came: Any) -> float:
    """At 10, of the rows with a history."""
    hits = np.take_along_axis(np.asarray(came.todense()), found[:, :10], axis=1) > 0
    discount = 1 / np.log2(np.arange(2, 12))
    best = np.append(0, np.cumsum(discount))[np.minimum(came.getnnz(axis=1), 10)]
    return float(((hits * discount).sum(axis=1) / best).mean())


def main(root: Path) -> None:
    """Fit, choose, answer."""
    train, *held = (sparse.load_npz(root / f"{n}.npz") for n in ("train", "validation", "validation_came", "test"))
    begun, best, chosen = time.perf_counter(), -1.0, None
    for dimensions, regularisation, alpha in GRID:
        model = AlternatingLeastSquares(
            factors=dimensions, regularization=regularisation, alpha=alpha, iterations=15, num_threads=1, random_state=17
        )
        model.fit(train, show_progress=False)
        some = held[0].getnnz(axis=1) > 0
        value = ndcg(lists(model, held[0][some], 20), held[1][some])
        if value > best:
            best, chosen, answers = value, (dimensions, regularisation, alpha), lists(model, held[2], 20)
    np.savez(root / "answers.npz", answers=answers, chosen=np.array(chosen), seconds=time.perf_counter() - begun)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
