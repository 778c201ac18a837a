"""The network of words with tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sluice.learners.state import State
from sluice.learners.torch.network import Network
from sluice.tasks.base import settings
from sluice.tasks.tagging import TaggingModel

if TYPE_CHECKING:
    import torch

    from sluice.data.dataset import Dataset
    from sluice.learners.torch.plan import Defaults, Plan


class TaggingNetwork(Network):
    """Hashed features of each word (Bojanowski et al., TACL 2017, for its parts) and dilated convolutions over its neighbours (Strubell et al., EMNLP 2017)."""

    def fit(self, dataset: Dataset) -> State:
        """Nothing is learnt of the words: their features are hashed."""
        from sluice.fields.sentence import SentenceProcessor

        words, _ = dataset.problem.width(dataset.labels)
        return State(dataset.objective, dataset.labels, SentenceProcessor(words, settings(self.task, TaggingModel).buckets).spec())

    def build(self, state: State) -> torch.nn.Module:
        """`sluice.learners.torch.texts.words.Tagger`."""
        from sluice.learners.torch.texts.words import Tagger

        return Tagger(state.problem.width(state.labels)[1] - 2, settings(self.task, TaggingModel))

    def preload(self, state: State) -> None:
        """Its module."""
        import sluice.learners.torch.texts.words  # noqa: F401

    def defaults(self, state: State, rows: int) -> Defaults:
        """As for a small network from scratch."""
        from sluice.learners.torch.plan import Defaults

        return Defaults(batch_size=32, learning_rate=3e-3, steps=1500, patience=4, least=4, most=40)

    def targets(self, labels: np.ndarray, state: State) -> torch.Tensor:
        """INT64 [rows, words], below 0 where there is nothing to learn."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(labels).astype(np.int64))

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, train: Plan) -> torch.Tensor:
        """Cross-entropy, the mean over a row's words, then over rows."""
        from torch.nn import functional as F

        there = targets >= 0
        each = F.cross_entropy(
            outputs.float().transpose(1, 2), targets.clamp(min=0), reduction="none", label_smoothing=train.label_smoothing
        )
        return ((each * there).sum(1) / there.sum(1).clamp(min=1)).mean()

    def serving_module(self, model: torch.nn.Module, state: State) -> torch.nn.Module:
        """Probabilities with the words' places behind them."""
        from sluice.learners.torch.texts.words import Placed

        return Placed(model).eval()
