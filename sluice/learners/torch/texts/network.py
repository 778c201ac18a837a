"""The network of a text: a transformer from `transformers`, or a small one from scratch beside a linear model of n-grams."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.core.errors import PackageError, ProjectError
from sluice.learners.state import State
from sluice.learners.torch.network import Network
from sluice.learners.torch.texts import pretrained
from sluice.tasks.base import settings
from sluice.tasks.config import TextModel

if TYPE_CHECKING:
    import torch

    from sluice.data.dataset import Dataset
    from sluice.fields.ngrams import Ngrams
    from sluice.learners.torch.encode import Encoded
    from sluice.learners.torch.plan import Defaults

_NGRAMS = "ngrams.bin"
#: Weights of the linear model, characters its n-grams are learnt from, and n-grams of all rows it is fitted to.
_MOST_WEIGHTS, _MOST_CHARACTERS, _MOST_FITTED = 4_000_000, 3_000_000, 20_000_000


class TextNetwork(Network):
    """The graph takes token ids and an attention mask."""

    def _find(self, name: str) -> Path:
        return pretrained.find(name, self.task.resolve(name))

    def fit(self, dataset: Dataset) -> State:
        """The pre-trained model's tokenizer and architecture, or a WordPiece vocabulary learnt from the training texts."""
        from sluice.fields import TextProcessor

        model: TextModel = settings(self.task, TextModel)
        extra: dict[str, Any] = {}
        ngrams = None
        if model.pretrained is None:
            from sluice.fields.tokenizer import PAD_ID, train_wordpiece

            texts = (t for batch in dataset.batches("train", columns=["text"]) for t in batch.column("text").to_pylist() if t)
            tokenizer, pad = train_wordpiece(texts, model.vocabulary), PAD_ID
            ngrams = self._ngrams(dataset, min(model.ngrams, _MOST_WEIGHTS // max(2, len(dataset.labels))))
        else:
            tokenizer, pad, _, extra = pretrained.encoder(model.pretrained, self.task.resolve(model.pretrained), model.max_length)
        try:
            processor = TextProcessor(tokenizer, model.max_length, pad, pretrained.TOKENIZER, ngrams)
        except PackageError as e:
            raise ProjectError(f"its tokenizer cannot be used: {e.message}", field="model.pretrained", value=model.pretrained) from e
        if "config" not in extra:
            from tokenizers import Tokenizer

            extra["vocabulary"] = Tokenizer.from_buffer(tokenizer).get_vocab_size()
        return State(dataset.objective, dataset.labels, processor.spec(), processor.files(), extra)

    def _ngrams(self, dataset: Dataset, most: int) -> tuple[str, bytes] | None:
        """The file of n-grams learnt from the training texts, or from an even choice of many; None where no two texts share one."""
        from sluice.fields.ngrams import Ngrams

        if not most:
            return None
        characters = sum(len(t or "") for b in dataset.batches("train", columns=["text"]) for t in b.column("text").to_pylist())
        step = -(-characters // _MOST_CHARACTERS) or 1
        rows = (t for b in dataset.batches("train", columns=["text"]) for t in b.column("text").to_pylist() if t)
        learnt = Ngrams.learn([t for i, t in enumerate(rows) if i % step == 0], most)
        return (_NGRAMS, learnt.bytes()) if len(learnt.hashes) else None

    def build(self, state: State) -> torch.nn.Module:
        """The pre-trained encoder with a head, or the small one beside its n-grams."""
        from sluice.learners.torch.texts.encoders import PretrainedClassifier, SmallClassifier

        model: TextModel = settings(self.task, TextModel)
        if "config" in state.extra:
            return PretrainedClassifier(state.extra["config"], len(state.labels), model)
        import torch

        known = self._known(state)
        return SmallClassifier(
            state.extra["vocabulary"], len(state.labels), model, None if known is None else torch.from_numpy(known.weights())
        )

    def _known(self, state: State) -> Ngrams | None:
        """The n-grams of a state's processor."""
        from typing import cast

        from sluice.fields import TextProcessor

        return cast(TextProcessor, state.processor).ngrams

    def preload(self, state: State) -> None:
        """The tokenizer's library, and the encoder's architecture."""
        import tokenizers  # noqa: F401

        from sluice.learners.torch.texts.encoders import encoder_class

        if "config" in state.extra:
            encoder_class(state.extra["config"])

    def start(self, model: torch.nn.Module, state: State) -> None:
        """Load ``model.pretrained``'s encoder weights.

        Raises:
            ProjectError: they cannot be read, or belong to another architecture.
        """
        name = settings(self.task, TextModel).pretrained
        if name is None:
            return
        from sluice.learners.torch.texts.encoders import load_encoder

        load_encoder(model, self._find(name), name)

    def defaults(self, state: State, rows: int) -> Defaults:
        """A pre-trained encoder is only tuned: few epochs at a small rate."""
        from sluice.learners.torch.plan import Defaults

        if "config" in state.extra:
            return Defaults(batch_size=32, learning_rate=5e-5, epochs=4)
        return Defaults(batch_size=64 if rows < 100_000 else 256, steps=1500, patience=2, most=30)

    def adapt(self, model: torch.nn.Module, state: State, rows: Encoded) -> bool:
        """Fit the linear model of n-grams; of a pre-trained encoder, train the embeddings of those tokens alone that the training rows hold."""
        if getattr(model, "bag", None) is not None:
            self._fit_bag(model, state, rows)
            return True
        if "config" in state.extra:
            from sluice.learners.torch.texts.encoders import train_used

            train_used(model, rows.distinct("input_ids"))
        return False

    def _fit_bag(self, model: Any, state: State, rows: Encoded) -> None:
        import numpy as np
        import torch

        from sluice.learners.torch.linear import fit_bag, fit_bags
        from sluice.learners.weights import label_weights

        weigh = model.bag.weigh.numpy()
        _, lengths = rows.bags("ngrams", np.arange(min(rows.rows, 1000)))
        chosen = np.arange(0, rows.rows, -(-rows.rows * int(lengths.mean() + 1) // _MOST_FITTED))
        numbers, lengths = rows.bags("ngrams", chosen)
        labels = np.asarray(rows.labels[chosen])
        if state.problem.independent:
            table = fit_bags(numbers, lengths, weigh, labels)
        else:
            weights = label_weights(self.task.project.train.class_weights, state.labels, np.asarray(rows.labels))
            table = fit_bag(numbers, lengths, weigh, labels, len(state.labels), np.array(weights)[labels] if weights else None)
        model.bag.table.copy_(torch.from_numpy(table))

    def example(self, state: State) -> dict[str, torch.Tensor]:
        """Two rows of different lengths, so that neither axis is taken for a constant."""
        batch = state.processor.encode_batch(["what is the time in the capital", "yes please"])
        return self.tensors(batch, state)
