"""The network of words with tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sluice.core.errors import PackageError, ProjectError
from sluice.learners.state import State
from sluice.learners.torch.network import Network
from sluice.learners.torch.texts import pretrained
from sluice.tasks.base import settings
from sluice.tasks.tagging import TaggingModel

if TYPE_CHECKING:
    import torch

    from sluice.data.dataset import Dataset
    from sluice.learners.torch.encode import Encoded
    from sluice.learners.torch.plan import Defaults, Plan


class TaggingNetwork(Network):
    """Hashed features of each word (Bojanowski et al., TACL 2017, for its parts) and dilated convolutions over its neighbours (Strubell et al., EMNLP 2017);
    or a pre-trained encoder, each word by its first token (Devlin et al., NAACL 2019)."""

    def fit(self, dataset: Dataset) -> State:
        """Nothing is learnt of the words: their features are hashed, or they are the tokens of a pre-trained encoder."""
        from sluice.fields.sentence import SentenceProcessor

        words, _ = dataset.problem.width(dataset.labels)
        model = settings(self.task, TaggingModel)
        if model.pretrained is None:
            return State(dataset.objective, dataset.labels, SentenceProcessor(words, model.buckets).spec())
        from sluice.fields.subwords import SubwordProcessor

        tokenizer, pad, _, extra = pretrained.encoder(model.pretrained, self.task.resolve(model.pretrained), model.max_length)
        try:
            processor = SubwordProcessor(words, tokenizer, model.max_length, pad, pretrained.TOKENIZER)
        except PackageError as e:
            raise ProjectError(f"its tokenizer cannot be used: {e.message}", field="model.pretrained", value=model.pretrained) from e
        return State(dataset.objective, dataset.labels, processor.spec(), processor.files(), extra)

    def build(self, state: State) -> torch.nn.Module:
        """`sluice.learners.torch.texts.words.Tagger`, or `PretrainedTagger`."""
        from sluice.learners.torch.texts.words import PretrainedTagger, Tagger

        tags, model = state.problem.width(state.labels)[1] - 2, settings(self.task, TaggingModel)
        return PretrainedTagger(state.extra["config"], tags, model) if "config" in state.extra else Tagger(tags, model)

    def preload(self, state: State) -> None:
        """Its module, and the encoder's architecture."""
        import sluice.learners.torch.texts.words  # noqa: F401
        from sluice.learners.torch.texts.encoders import encoder_class

        if "config" in state.extra:
            encoder_class(state.extra["config"])

    def start(self, model: torch.nn.Module, state: State) -> None:
        """Load ``model.pretrained``'s encoder weights. Raises as `sluice.learners.torch.texts.encoders.load_encoder`."""
        name = settings(self.task, TaggingModel).pretrained
        if name is not None:
            from sluice.learners.torch.texts.encoders import load_encoder

            load_encoder(model, pretrained.find(name, self.task.resolve(name)), name)

    def adapt(self, model: torch.nn.Module, state: State, rows: Encoded) -> bool:
        """Of a pre-trained encoder, train the embeddings of those tokens alone that the training rows hold."""
        if "config" in state.extra:
            from sluice.learners.torch.texts.encoders import train_used

            train_used(model, rows.distinct("input_ids"))
        return False

    def defaults(self, state: State, rows: int) -> Defaults:
        """As for a small network from scratch; a pre-trained encoder is only tuned."""
        from sluice.learners.torch.plan import Defaults

        if "config" in state.extra:
            return Defaults(batch_size=16, learning_rate=5e-5, steps=600, least=4, most=20)
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
        from sluice.learners.torch.texts.words import Placed, PlacedSubwords

        return (PlacedSubwords if "config" in state.extra else Placed)(model).eval()
