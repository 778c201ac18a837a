"""A text as the tokens of a pre-trained encoder, with the token that each of its words begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.datatypes import TensorSpec
from sluice.fields.base import Example, SideFile, only, setting
from sluice.fields.sentence import Sentence, checked_words, words_of
from sluice.fields.text import TextProcessor, checked_text, file_name

if TYPE_CHECKING:
    from sluice.fields.pieces import Pieces


class SubwordProcessor(TextProcessor):
    """Rows are `str`: a text's tokens, and `words`, INT64 [most words], the place behind that of the first token of each word, 0 where there is no
    word or the text was cut before it; and `spans`, INT64 [most words, 2], where each begins and ends.

    Args:
        words: most words of a row; of longer ones the rest is left out. The others: as of `TextProcessor`.

    Raises:
        PackageError: the tokenizer cannot be read, or a number is out of range.
    """

    kind: ClassVar[str] = "sentence"
    value = Sentence("sentence")

    def __init__(self, words: int, tokenizer: bytes, max_length: int, pad_id: int, file: str):
        checked_words(words)
        super().__init__(tokenizer, max_length, pad_id, file)
        self.words = words
        self.inputs = (*TextProcessor.inputs, TensorSpec("words", "INT64", (-1, words)), TensorSpec("spans", "INT64", (-1, words, 2)))

    @classmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> SubwordProcessor:
        """Read ``{"kind": "sentence", "words": n, "tokenizer": <file>, "max_length": n, "pad_id": n}``. Raises `PackageError`."""
        only(spec, "kind", "words", "tokenizer", "max_length", "pad_id")
        name = file_name(spec, "tokenizer")
        numbers = (setting(spec, key, int) for key in ("words", "max_length", "pad_id"))
        words, most, pad = numbers
        return cls(words, side_file(name), most, pad, name)

    def encode(self, rows: Sequence[Any]) -> list[Example]:
        """Raises `InputError`."""
        texts = [checked_text(row, i) for i, row in enumerate(rows)]
        out = []
        for text, found in zip(texts, self._tokenizer.encode_batch(texts), strict=True):
            words, spans = np.zeros(self.words, np.int64), np.zeros((self.words, 2), np.int64)
            at = 0
            for i, (start, end) in enumerate(words_of(text)[: self.words]):
                # A token of no characters is one that the tokenizer adds; one that begins before the word may hold it too.
                while at < len(found.offsets) and (found.offsets[at][0] == found.offsets[at][1] or found.offsets[at][1] <= start):
                    at += 1
                if at == len(found.offsets):
                    break
                if found.offsets[at][0] < end:
                    words[i], spans[i] = at + 1, (start, end)
            ids = np.array(found.ids, dtype=np.int64)
            out.append({"input_ids": ids, "attention_mask": np.ones_like(ids), "words": words, "spans": spans})
        return out

    def pieces(self, row: Any) -> Pieces | None:
        """None: without a word the others stand elsewhere."""
        return None

    def batch(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """Tokens padded to the longest; words stacked."""
        tokens = super()._batch(examples, TextProcessor.inputs)
        return {**tokens, **{name: np.stack([e[name] for e in examples]) for name in ("words", "spans")}}

    def spec(self) -> dict[str, Any]:
        return {**super().spec(), "kind": "sentence", "words": self.words}
