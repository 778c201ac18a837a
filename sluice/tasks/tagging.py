"""Tagging: a text, and a tag for each of its words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import orjson
from pydantic import Field

from sluice.core.errors import DataError
from sluice.core.section import Names, Section
from sluice.tasks.base import Task, settings
from sluice.tasks.layouts import words_in_rows, words_on_lines
from sluice.tasks.roles import by_name

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.look import ColumnLook

_FIX = "give each word one tag, or spans as JSON: " + '[{"start": 0, "end": 4, "label": "name"}]'


class TaggingModel(Section):
    """Word by word: what each is written with, and convolutions over its neighbours; or a pre-trained encoder's view of it."""

    max_words: int = Field(
        128, ge=1, le=4096, description="most words of a text; of longer ones the rest is neither learnt from nor answered"
    )
    buckets: int = Field(16_384, ge=64, le=1 << 22, description="places of the table that words, their beginnings, ends and shapes share")
    dimensions: int = Field(48, ge=4, le=1024, description="of such a place")
    hidden: int = Field(96, ge=8, le=4096)
    layers: int = Field(3, ge=0, le=12, description="convolutions; each sees twice as far as the one before")
    dropout: float = Field(0.3, ge=0, lt=1)
    pretrained: Annotated[str | None, Names("model")] = Field(
        None,
        description="local directory or hub id of an encoder, in whose place of words and convolutions stand its tokens and layers; null: from scratch",
        exclude_if=lambda v: v is None,
    )
    max_length: int = Field(
        256, ge=4, le=8192, description="tokens of a pre-trained encoder; words behind them are not answered", exclude_if=lambda v: v == 256
    )
    freeze_embeddings: bool = Field(False, description="of a pre-trained encoder", exclude_if=lambda v: v is False)
    unseen: float = Field(
        0.25, ge=0, lt=1, description="share of words hidden in training, so that the model reads the others and the word's form"
    )


#: What columns are called.
_TEXTS = ("text", "tokens", "words", "sentence", "content")
_TAGS = ("label", "labels", "tags", "nertags", "entities", "spans", "ner", "postags", "iobtags", "biotags", "annotations")


class TaggingTask(Task):
    """Rows are texts; the label is a tag for each word, or spans."""

    name: ClassVar[str] = "tagging"
    value = "sentence"
    Model = TaggingModel
    starter: ClassVar[str | None] = "tagging"
    network: ClassVar[str] = "sluice.learners.torch.texts.tagger:TaggingNetwork"

    @classmethod
    def label_in(cls, columns: Sequence[ColumnLook]) -> str | None:
        """The column of tags or spans, by its name."""
        return by_name([c.name for c in columns], _TAGS)

    @classmethod
    def called(cls, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The column of texts, or of lists of words."""
        found = by_name(names, _TEXTS)
        return {"data": {"columns": {"text": found}}} if found else {}

    @classmethod
    def known_as(cls, path: Path) -> DataError | None:
        """A word a line, or a row."""
        return words_on_lines(path) or words_in_rows(path)

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The one column of ``data.columns``."""
        self._column(table, "text")
        return {"sentence": "sentence"}

    def objective(self, table: pa.Table) -> str:
        """That of words with tags."""
        from sluice.problems.tagging import Tagging

        return Tagging.name

    def canonical(self, table: pa.Table) -> pa.Table:
        """The text, words of a list joined by spaces, and the tags of its words as they are cut (`sluice.fields.sentence.words_of`).

        Raises:
            DataError: a row has more or fewer tags than words, or its spans are not such.
        """
        import pyarrow as pa

        most = settings(self, TaggingModel).max_words
        texts, labels = self._column(table, "text"), self._column(table, "label")
        rows = [_row(i, text, label, self._name("label")) for i, (text, label) in enumerate(zip(texts, labels, strict=True))]
        return pa.table(
            {
                "sentence": pa.array([t for t, _ in rows], pa.string()),
                "label": pa.array([None if tags is None else tags[:most] for _, tags in rows], pa.list_(pa.string())),
            }
        )

    def _name(self, setting: str) -> str:
        found: str = getattr(self.project.data.columns, setting)
        return found

    def _column(self, table: pa.Table, setting: str) -> list[Any]:
        import pyarrow as pa

        from sluice.tasks import columns

        name = self._name(setting)
        values = columns.column(table, name, f"data.columns.{setting}")
        kind = values.type
        inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
        if setting == "label" and pa.types.is_struct(inner):  # spans as JSON lines have them
            return [None if v is None else orjson.dumps(v).decode() for v in values.to_pylist()]
        if not (pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_null(inner)):
            raise DataError(
                f"is a column of {kind}, not of texts or lists of texts",
                field=f"data.columns.{setting}: {name}",
                fix="name a column of strings, or of lists of strings",
            )
        return values.to_pylist()


def _row(i: int, text: Any, label: Any, name: str) -> tuple[str | None, list[str] | None]:
    from sluice.fields.sentence import words_of
    from sluice.problems.spans import split_tag

    if not text or (isinstance(text, str) and not text.strip()):  # left out, and counted, as a text that is missing
        return None, None
    if label is None:
        return (text if isinstance(text, str) else " ".join(text)), None
    where = f"data.columns.label: {name}, row {i + 1}"
    if isinstance(text, str) and isinstance(label, str) and label.lstrip().startswith("["):
        return text, _of_spans(text, label, where)
    words = text.split() if isinstance(text, str) else [str(w) for w in text]
    tags = label.split() if isinstance(label, str) else [str(t) for t in label]
    if len(words) != len(tags):
        raise DataError(f"has {len(tags)} tags for {len(words)} words", field=where, value=" ".join(tags)[:100], fix=_FIX)
    out = [t for word, tag in zip(words, tags, strict=True) for t in split_tag(tag, len(words_of(word)))]
    return (text if isinstance(text, str) else " ".join(words)), out


def _of_spans(text: str, label: str, where: str) -> list[str]:
    from sluice.fields.sentence import words_of

    try:
        found = [_span(s) for s in orjson.loads(label)]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as e:
        raise DataError(f"are no spans: {type(e).__name__}: {e}", field=where, value=label[:100], fix=_FIX) from e
    words = words_of(text)
    tags = ["O"] * len(words)
    for start, end, what in found:
        if not 0 <= start < end <= len(text):
            raise DataError(f"has a span outside of its {len(text)} characters", field=where, value=[start, end, what], fix=_FIX)
        inside = _inside(words, start, end)
        if any(tags[w] != "O" for w in inside):
            raise DataError("has spans that share a word", field=where, value=[start, end, what], fix="keep one of them")
        for n, w in enumerate(inside):
            tags[w] = f"{'B' if n == 0 else 'I'}-{what}"
    return tags


def _span(span: Any) -> tuple[int, int, str]:
    """Where one begins and ends, and what it is: ``{"start": 0, "end": 4, "label": "name"}`` or ``[0, 4, "name"]``."""
    start, end, what = span if isinstance(span, list) else (span["start"], span["end"], span["label"])
    return int(start), int(end), str(what)


def _inside(words: Sequence[tuple[int, int]], start: int, end: int) -> list[int]:
    return [i for i, (a, b) in enumerate(words) if a < end and b > start]
