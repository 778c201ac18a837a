"""The network of texts whose vectors are near where they mean the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import PackageError, ProjectError
from sluice.learners.state import State
from sluice.learners.torch.network import Network
from sluice.learners.torch.texts import pretrained
from sluice.tasks.base import settings
from sluice.tasks.similarity import SimilarityModel

if TYPE_CHECKING:
    import torch

    from sluice.data.dataset import Dataset
    from sluice.learners.torch.plan import Defaults, Plan


class SimilarityNetwork(Network):
    """One encoder for both texts (Reimers, Gurevych, EMNLP 2019), learnt from how pairs are ordered, or from which text goes with which."""

    def fit(self, dataset: Dataset) -> State:
        """The tokenizer, of a vocabulary from scratch each token's weight by how rare it is, and whether all pairs mean the same."""
        from sluice.fields.pair import PairProcessor
        from sluice.problems.similarity import one_score

        model: SimilarityModel = settings(self.task, SimilarityModel)
        table = dataset.read("train", ["pair", "label"])
        texts = [t for pair in table.column("pair").to_pylist() for t in pair]
        extra: dict[str, Any] = {"one_score": one_score(dataset.problem.targets(table.column("label"), ()))}
        if model.pretrained is None:
            from sluice.fields.tokenizer import PAD_ID, train_wordpiece

            tokenizer, pad, dimensions = train_wordpiece(texts, model.vocabulary), PAD_ID, model.hidden
        else:
            tokenizer, pad, config, more = pretrained.encoder(model.pretrained, self.task.resolve(model.pretrained), model.max_length)
            dimensions = int(config.get("hidden_size", 0))
            extra |= more
        try:
            processor = PairProcessor(tokenizer, model.max_length, pad, pretrained.TOKENIZER)
        except PackageError as e:
            raise ProjectError(f"its tokenizer cannot be used: {e.message}", field="model.pretrained", value=model.pretrained) from e
        if model.pretrained is None:
            extra["rarity"] = _rarity(processor, texts, tokenizer)
        return State(dataset.objective, [str(i) for i in range(dimensions)], processor.spec(), processor.files(), extra)

    def _find(self, name: str) -> Any:
        return pretrained.find(name, self.task.resolve(name))

    def build(self, state: State) -> torch.nn.Module:
        """`sluice.learners.torch.texts.vectors.Vectors` over the pre-trained encoder or the small one."""
        from sluice.learners.torch.texts.vectors import Pieces, Pretrained, Vectors

        model: SimilarityModel = settings(self.task, SimilarityModel)
        self._one_score = bool(state.extra["one_score"])
        if "config" in state.extra:
            return Vectors(Pretrained(state.extra["config"], model))
        return Vectors(Pieces(state.extra["rarity"], model))

    def preload(self, state: State) -> None:
        """The tokenizer's library, and the encoder's architecture."""
        import tokenizers  # noqa: F401

        import sluice.learners.torch.texts.vectors  # noqa: F401
        from sluice.learners.torch.texts.encoders import encoder_class

        if "config" in state.extra:
            encoder_class(state.extra["config"])

    def start(self, model: torch.nn.Module, state: State) -> None:
        """Load ``model.pretrained``'s encoder weights. Raises as `sluice.learners.torch.texts.encoders.load_encoder`."""
        name = settings(self.task, SimilarityModel).pretrained
        if name is not None:
            from sluice.learners.torch.texts.encoders import load_encoder

            load_encoder(model.body, self._find(name), name)  # type: ignore[arg-type]

    def defaults(self, state: State, rows: int) -> Defaults:
        """A pre-trained encoder is only tuned; large batches, since texts are told from the others of their batch."""
        from sluice.learners.torch.plan import Defaults

        if "config" in state.extra:
            return Defaults(batch_size=64, learning_rate=3e-5, epochs=3)
        return Defaults(batch_size=64 if rows < 20_000 else 256, learning_rate=2e-3, steps=1500, patience=3, least=3, most=30)

    def adapt(self, model: torch.nn.Module, state: State, rows: Any) -> bool:
        """Untrained it is a model already: texts are as near as the rare word pieces that they share, or as the pre-trained encoder has them."""
        return True

    def targets(self, labels: np.ndarray, state: State) -> torch.Tensor:
        """FP32 [pairs]."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(labels).astype(np.float32))

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, train: Plan) -> torch.Tensor:
        """Of vectors [pairs, 2, dimensions]: `sluice.learners.torch.texts.vectors.in_batch` where all pairs mean the same , else `ordered`."""
        from sluice.learners.torch.texts.vectors import in_batch, ordered

        scale = settings(self.task, SimilarityModel).scale
        outputs = outputs.float()
        return in_batch(outputs, scale) if self._one_score else ordered(outputs, targets, scale)

    def judged_module(self, model: torch.nn.Module, state: State) -> torch.nn.Module:
        """Cosines of pairs."""
        from sluice.learners.torch.texts.vectors import Cosines

        return Cosines(model)

    def serving_module(self, model: torch.nn.Module, state: State) -> torch.nn.Module:
        """The vector of the first text."""
        from sluice.learners.torch.texts.vectors import First

        return First(model).eval()


def _rarity(processor: Any, texts: list[str], tokenizer: bytes) -> list[float]:
    """Of each token log((texts + 1) / (texts with it + 1)) + 1, rounded; 0 of what stands in every text of its own accord."""
    from tokenizers import Tokenizer

    size = Tokenizer.from_buffer(tokenizer).get_vocab_size()
    held = np.zeros(size)
    for at in range(0, len(texts), 1024):
        for example in processor.encode(texts[at : at + 1024]):
            held[np.unique(example["input_ids"])] += 1
    found = np.log((len(texts) + 1) / (held + 1)) + 1
    found[held >= len(texts)] = 0
    return [round(float(v), 4) for v in found]
