"""Which rows make up which batch: a pure function of seed, epoch and step.

Nothing about it is state that could be lost: a resumed run asks for step k and gets the batch
that step k always has, whatever the number of processes. Memory is one window, not the data.
"""

from __future__ import annotations

import numpy as np

from sluice.learners.seeds import permuted, seed_of


class Sampler:
    """Batches of an epoch: each row in exactly one, none dropped, none repeated.

    Batches differ in size by at most one row, so that there is no tiny last one. Where lengths
    are given, the rows of `window` successive batches are sorted by length before they are cut,
    and the batches of the window shuffled again.

    Args:
        rows: rows of the split.
        batch_size: most rows a batch.
        seed: seed of the run.
        lengths: [rows], what padding depends on; None where all rows are alike.
        window: batches whose rows are sorted together.
    """

    def __init__(self, rows: int, batch_size: int, seed: int, lengths: np.ndarray | None = None, window: int = 50):
        if rows < 1 or batch_size < 1 or window < 1:
            raise ValueError(f"rows {rows}, batch_size {batch_size} and window {window} must be positive")
        self.rows, self.seed, self.lengths, self.window = rows, seed, lengths, window
        self.steps = -(-rows // batch_size)
        self._cached: tuple[tuple[int, int], list[np.ndarray]] | None = None

    def batch(self, epoch: int, step: int) -> np.ndarray:
        """Row indices of a batch, int64.

        Args:
            epoch: from 0.
            step: 0..steps-1.
        """
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} is not in 0..{self.steps - 1}")
        at = (epoch, step // self.window)
        if self._cached is None or self._cached[0] != at:
            self._cached = (at, self._batches(*at))
        return self._cached[1][step % self.window]

    def _start(self, step: int) -> int:
        return step * self.rows // self.steps

    def _batches(self, epoch: int, window: int) -> list[np.ndarray]:
        first = window * self.window
        edges = [self._start(s) for s in range(first, min(first + self.window, self.steps) + 1)]
        chosen = permuted(np.arange(edges[0], edges[-1]), self.rows, seed_of(self.seed, epoch))
        cuts = [e - edges[0] for e in edges[1:-1]]
        if self.lengths is None:
            return np.split(chosen, cuts)
        batches = np.split(chosen[np.argsort(self.lengths[chosen], kind="stable")], cuts)
        order = permuted(np.arange(len(batches)), len(batches), seed_of(self.seed, epoch, window))
        return [batches[i] for i in order]


def share(batch: np.ndarray, rank: int, world: int) -> np.ndarray:
    """A rank's rows of a batch: every `world`-th, so that lengths are alike over the ranks. Empty for a batch smaller than `world`."""
    return batch[rank::world]
