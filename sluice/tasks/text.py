"""Text classification: a transformer from `transformers`, or a small one from scratch beside a linear model of n-grams."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core import files
from sluice.core.errors import DataError, PackageError, ProjectError, first_line
from sluice.tasks import columns
from sluice.tasks.base import State, Task, settings
from sluice.tasks.config import TextModel

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from sluice.data.dataset import Dataset
    from sluice.fields.ngrams import Ngrams
    from sluice.learners.torch.encode import Encoded
    from sluice.learners.torch.plan import Defaults

_TOKENIZER, _NGRAMS = "tokenizer.json", "ngrams.bin"
#: Weights of the linear model, characters its n-grams are learnt from, and n-grams of all rows it is fitted to.
_MOST_WEIGHTS, _MOST_CHARACTERS, _MOST_FITTED = 4_000_000, 3_000_000, 20_000_000


class TextTask(Task):
    """Rows are strings; the graph takes token ids and an attention mask."""

    name: ClassVar[str] = "text"
    Model = TextModel

    def kinds(self, table: pa.Table) -> dict[str, str]:
        self._texts(table)
        return {"text": "text"}

    def _texts(self, table: pa.Table) -> pa.ChunkedArray:
        import pyarrow as pa

        name = self.project.data.columns.text
        values = columns.column(table, name, "data.columns.text")
        if not (pa.types.is_string(values.type) or pa.types.is_null(values.type)):
            raise DataError(
                f"is a column of {values.type}, not of texts", field=f"data.columns.text: {name}", fix="name a column of strings"
            )
        return values.cast(pa.string())

    def canonical(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa

        label = columns.label(table, self.project.data.columns.label, "classification")
        return pa.table({"text": self._texts(table), "label": label})

    def fit(self, dataset: Dataset) -> State:
        """The pre-trained model's tokenizer and architecture, or a WordPiece vocabulary learnt from the training texts."""
        from sluice.fields import TextProcessor

        model: TextModel = settings(self, TextModel)
        extra: dict[str, Any] = {}
        ngrams = None
        if model.pretrained is None:
            from sluice.fields.tokenizer import PAD_ID, train_wordpiece

            texts = (t for batch in dataset.batches("train", columns=["text"]) for t in batch.column("text").to_pylist() if t)
            tokenizer, pad = train_wordpiece(texts, model.vocabulary), PAD_ID
            ngrams = self._ngrams(dataset, min(model.ngrams, _MOST_WEIGHTS // max(2, len(dataset.labels))))
        else:
            root = self._pretrained(model.pretrained)
            tokenizer, config = _tokenizer(root, model.pretrained), _config(root, model.pretrained)
            pad = config.get("pad_token_id") or 0
            most = config.get("max_position_embeddings")
            if most and model.max_length > most:
                raise ProjectError(
                    f"is more than the {most} positions of the pre-trained model",
                    field="model.max_length",
                    value=model.max_length,
                    fix=f"use at most {most}",
                )
            weights = sorted(root.glob("*.safetensors"))
            extra = {"config": config, "pretrained": {p.name: files.sha256_file(p) for p in weights}}
        try:
            processor = TextProcessor(tokenizer, model.max_length, pad, _TOKENIZER, ngrams)
        except PackageError as e:
            raise ProjectError(f"its tokenizer cannot be used: {e.message}", field="model.pretrained", value=model.pretrained) from e
        if "config" not in extra:
            from tokenizers import Tokenizer

            extra["vocabulary"] = Tokenizer.from_buffer(tokenizer).get_vocab_size()
        return State("classification", dataset.labels, processor.spec(), processor.files(), extra)

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

    def _pretrained(self, name: str) -> Path:
        """The directory of a pre-trained model: a local one, or the hub's snapshot of an id."""
        local = self.resolve(name)
        if local.is_dir():
            return local
        if name.startswith((".", "/", "~")) or name.count("/") > 1:
            raise ProjectError(
                "is no directory",
                field="model.pretrained",
                value=name,
                fix=f"looked in {local}; name a directory with config.json, tokenizer.json and model.safetensors, or a hub id",
            )
        try:
            from huggingface_hub import snapshot_download

            found = snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt"], etag_timeout=10)
        except Exception as e:  # the hub's client raises many unrelated types
            raise ProjectError(
                f"is neither a directory nor a model of the hub that can be fetched: {type(e).__name__}: {first_line(e)}",
                field="model.pretrained",
                value=name,
                fix=f"looked in {local}; check the name and the network",
            ) from e
        return Path(found)

    def build(self, state: State) -> torch.nn.Module:
        from sluice.learners.torch.text_models import PretrainedClassifier, SmallClassifier

        model: TextModel = settings(self, TextModel)
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

        return cast(TextProcessor, self.processor(state)).ngrams

    def preload(self, state: State) -> None:
        import tokenizers  # noqa: F401

        from sluice.learners.torch.text_models import encoder_class

        if "config" in state.extra:
            encoder_class(state.extra["config"])

    def start(self, model: torch.nn.Module, state: State) -> None:
        """Load ``model.pretrained``'s encoder weights.

        Raises:
            ProjectError: they cannot be read, or belong to another architecture.
        """
        pretrained = settings(self, TextModel).pretrained
        if pretrained is None:
            return
        from sluice.learners.torch.text_models import load_encoder

        load_encoder(model, self._pretrained(pretrained), pretrained)

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
        encoder = getattr(model, "encoder", None)
        if encoder is None or not encoder.get_input_embeddings().weight.requires_grad:
            return False
        import torch

        from sluice.learners.torch.text_models import UsedRows

        used = torch.from_numpy(rows.distinct("input_ids"))
        encoder.set_input_embeddings(UsedRows(encoder.get_input_embeddings(), used))
        return False

    def _fit_bag(self, model: Any, state: State, rows: Encoded) -> None:
        import numpy as np
        import torch

        from sluice.learners.torch.linear import fit_bag
        from sluice.learners.torch.weights import label_weights

        weigh = model.bag.weigh.numpy()
        _, lengths = rows.bags("ngrams", np.arange(min(rows.rows, 1000)))
        chosen = np.arange(0, rows.rows, -(-rows.rows * int(lengths.mean() + 1) // _MOST_FITTED))
        numbers, lengths = rows.bags("ngrams", chosen)
        weights = label_weights(self.project.train.class_weights, state.labels, np.asarray(rows.labels))
        labels = np.asarray(rows.labels[chosen])
        table = fit_bag(numbers, lengths, weigh, labels, len(state.labels), np.array(weights)[labels] if weights else None)
        model.bag.table.copy_(torch.from_numpy(table))

    def example(self, state: State) -> dict[str, torch.Tensor]:
        """Two rows of different lengths, so that neither axis is taken for a constant."""
        batch = self.processor(state).encode_batch(["what is the time in the capital", "yes please"])
        return self.tensors(batch, state)


def _config(root: Path, name: str) -> dict[str, Any]:
    try:
        raw = files.read_json(root / "config.json")
        if not isinstance(raw, dict) or not isinstance(raw.get("model_type"), str):
            raise ValueError("it names no model_type")
    except (OSError, ValueError) as e:
        raise ProjectError(
            f"its config.json cannot be used: {e}",
            field="model.pretrained",
            value=name,
            fix="name a directory saved by transformers' save_pretrained",
        ) from e
    # Where the weights came from and who saved them does not make the model.
    return {k: v for k, v in raw.items() if k not in ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures")}


def _tokenizer(root: Path, name: str) -> bytes:
    """``tokenizer.json``, converted from the older files where there is none."""
    if (root / _TOKENIZER).is_file():
        return (root / _TOKENIZER).read_bytes()
    try:
        from transformers import AutoTokenizer

        text: str = AutoTokenizer.from_pretrained(root, local_files_only=True).backend_tokenizer.to_str()
    except Exception as e:  # whatever the conversion meets
        raise ProjectError(
            f"has no {_TOKENIZER} and its tokenizer cannot be converted: {e}",
            field="model.pretrained",
            value=name,
            fix=f"save it with a fast tokenizer, which writes {_TOKENIZER}",
        ) from e
    return text.encode()
