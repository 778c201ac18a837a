"""Text classification: a transformer from `transformers`, or a small one from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice import files
from sluice.errors import DataError, PackageError, ProjectError, first_line
from sluice.tasks import columns
from sluice.tasks.base import State, Task, settings
from sluice.tasks.config import TextModel

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from sluice.data.dataset import Dataset
    from sluice.training.encode import Encoded
    from sluice.training.plan import Defaults

_TOKENIZER = "tokenizer.json"


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
            raise DataError(f"is a column of {values.type}, not of texts", field=f"data.columns.text: {name}", fix="name a column of strings")
        return values.cast(pa.string())

    def canonical(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa

        label = columns.label(table, self.project.data.columns.label, "classification")
        return pa.table({"text": self._texts(table), "label": label})

    def fit(self, dataset: Dataset) -> State:
        """The pre-trained model's tokenizer and architecture, or a WordPiece vocabulary learnt from the training texts."""
        from sluice.packaging.processors import TextProcessor

        model: TextModel = settings(self, TextModel)
        extra: dict[str, Any] = {}
        if model.pretrained is None:
            from sluice.tasks.tokenizer import PAD_ID, train_wordpiece

            texts = (t for batch in dataset.batches("train", columns=["text"]) for t in batch.column("text").to_pylist() if t)
            tokenizer, pad = train_wordpiece(texts, model.vocabulary), PAD_ID
        else:
            root = self._pretrained(model.pretrained)
            tokenizer, config = _tokenizer(root, model.pretrained), _config(root, model.pretrained)
            pad = config.get("pad_token_id") or 0
            most = config.get("max_position_embeddings")
            if most and model.max_length > most:
                raise ProjectError(f"is more than the {most} positions of the pre-trained model", field="model.max_length",
                                   value=model.max_length, fix=f"use at most {most}")  # fmt: skip
            weights = sorted(root.glob("*.safetensors"))
            extra = {"config": config, "pretrained": {p.name: files.sha256_file(p) for p in weights}}
        try:
            processor = TextProcessor(tokenizer, model.max_length, pad, _TOKENIZER)
        except PackageError as e:
            raise ProjectError(f"its tokenizer cannot be used: {e.message}", field="model.pretrained", value=model.pretrained) from e
        if "config" not in extra:
            from tokenizers import Tokenizer

            extra["vocabulary"] = Tokenizer.from_buffer(tokenizer).get_vocab_size()
        return State("classification", dataset.labels, processor.spec(), processor.files(), extra)

    def _pretrained(self, name: str) -> Path:
        """The directory of a pre-trained model: a local one, or the hub's snapshot of an id."""
        local = self.resolve(name)
        if local.is_dir():
            return local
        if name.startswith((".", "/", "~")) or name.count("/") > 1:
            raise ProjectError("is no directory", field="model.pretrained", value=name,
                               fix=f"looked in {local}; name a directory with config.json, tokenizer.json and model.safetensors, or a hub id")  # fmt: skip
        try:
            from huggingface_hub import snapshot_download

            found = snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt"], etag_timeout=10)
        except Exception as e:  # the hub's client raises many unrelated types
            raise ProjectError(f"is neither a directory nor a model of the hub that can be fetched: {type(e).__name__}: {first_line(e)}",
                               field="model.pretrained", value=name, fix=f"looked in {local}; check the name and the network") from e  # fmt: skip
        return Path(found)

    def build(self, state: State) -> torch.nn.Module:
        from sluice.tasks.text_models import PretrainedClassifier, SmallClassifier

        model: TextModel = settings(self, TextModel)
        if "config" in state.extra:
            return PretrainedClassifier(state.extra["config"], len(state.labels), model)
        return SmallClassifier(state.extra["vocabulary"], len(state.labels), model)

    def preload(self, state: State) -> None:
        import tokenizers  # noqa: F401

        from sluice.tasks.text_models import encoder_class

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
        from sluice.tasks.text_models import load_encoder

        load_encoder(model, self._pretrained(pretrained), pretrained)

    def defaults(self, state: State, rows: int) -> Defaults:
        """A pre-trained encoder is only tuned: few epochs at a small rate."""
        from sluice.training.plan import Defaults

        if "config" in state.extra:
            return Defaults(batch_size=32, learning_rate=5e-5, epochs=4)
        return Defaults()

    def adapt(self, model: torch.nn.Module, state: State, rows: Encoded) -> None:
        """Train the embeddings of those tokens alone that the training rows hold: the others would only be carried along."""
        encoder = getattr(model, "encoder", None)
        if encoder is None or not encoder.get_input_embeddings().weight.requires_grad:
            return
        import torch

        from sluice.tasks.text_models import UsedRows

        used = torch.from_numpy(rows.distinct("input_ids"))
        encoder.set_input_embeddings(UsedRows(encoder.get_input_embeddings(), used))

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
        raise ProjectError(f"its config.json cannot be used: {e}", field="model.pretrained", value=name,
                           fix="name a directory saved by transformers' save_pretrained") from e  # fmt: skip
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
        raise ProjectError(f"has no {_TOKENIZER} and its tokenizer cannot be converted: {e}", field="model.pretrained", value=name,
                           fix=f"save it with a fast tokenizer, which writes {_TOKENIZER}") from e  # fmt: skip
    return text.encode()
