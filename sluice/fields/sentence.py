"""A text as a row of words, each by what it is written with: what models take that answer word by word."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import PackageError
from sluice.fields.base import Example, Processor, SideFile, only, setting
from sluice.fields.text import Text, checked_text

if TYPE_CHECKING:
    from sluice.fields.pieces import Pieces

#: Characters that are a word each, since their languages write no spaces: kana, Han.
_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_ALONE}]|(?:(?![{_ALONE}])[^\W_])+|\S")
LIMIT_WORDS = 4096
#: Of a word: itself, in lower case, beginnings, ends and shape, each a place of its own in the table.
FEATURES = 10
_PREFIXES, _SUFFIXES = (2, 3), (1, 2, 3, 4)


def words_of(text: str) -> list[tuple[int, int]]:
    """Where each word of a text begins and ends: runs of letters and digits, and every other character that is no space by itself."""
    return [m.span() for m in _WORD.finditer(text)]


def shape(word: str) -> str:
    """What a word looks like: ``Xx`` for Anna, ``XX`` for NATO, ``0-0`` for digits, runs of more than two cut short."""
    kinds = ["0" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in word]
    return "".join(k for i, k in enumerate(kinds) if i < 2 or not kinds[i - 2] == kinds[i - 1] == k)[:12]


class Sentence(Text):
    """A text that is answered word by word. A row is its value alone."""

    kind = "sentence"
    setting: ClassVar[str] = "text"

    @classmethod
    def processor(cls) -> type[Processor]:
        """`SentenceProcessor`."""
        return SentenceProcessor


class SentenceProcessor(Processor):
    """Rows are `str`: `words`, INT64 [most words, `FEATURES`], places in a table of `buckets` by crc32, 0 where there is no word; and `spans`, INT64 [most words, 2].

    Args:
        words: most words of a row; of longer ones the rest is left out.
        buckets: places of the table, the first of which is none.

    Raises:
        PackageError: a number is out of range.
    """

    kind: ClassVar[str] = "sentence"
    value = Sentence("sentence")

    def __init__(self, words: int, buckets: int):
        checked_words(words)
        if not 2 <= buckets <= 1 << 24:
            raise PackageError("must be in 2..16777216", field="preprocess.buckets", value=buckets)
        self.words, self.buckets = words, buckets
        self.inputs = (TensorSpec("words", "INT64", (-1, words, FEATURES)), TensorSpec("spans", "INT64", (-1, words, 2)))

    @classmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> Any:
        """Read ``{"kind": "sentence", "words": n, "buckets": n}``, or what `sluice.fields.subwords` reads where it names a tokenizer. Raises `PackageError`."""
        if "tokenizer" in spec:
            from sluice.fields.subwords import SubwordProcessor

            return SubwordProcessor.load(spec, side_file)
        only(spec, "kind", "words", "buckets")
        return cls(setting(spec, "words", int), setting(spec, "buckets", int))

    def encode(self, rows: Sequence[Any]) -> list[Example]:
        """Raises `InputError`."""
        out: list[Example] = []
        for i, row in enumerate(rows):
            text = checked_text(row, i)
            words, spans = np.zeros((self.words, FEATURES), np.int64), np.zeros((self.words, 2), np.int64)
            found = words_of(text)[: self.words]
            for at, (start, end) in enumerate(found):
                words[at] = [1 + zlib.crc32(f.encode()) % (self.buckets - 1) for f in _features(text[start:end])]
            if found:
                spans[: len(found)] = found
            out.append({"words": words, "spans": spans})
        return out

    def pieces(self, row: Any) -> Pieces | None:
        """None: without a word the others stand elsewhere."""
        return None

    def batch(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """Stacked: all have one size."""
        return {name: np.stack([e[name] for e in examples]) for name in ("words", "spans")}

    def spec(self) -> dict[str, Any]:
        return {"kind": "sentence", "words": self.words, "buckets": self.buckets}


def checked_words(words: int) -> None:
    """Raises `PackageError`: so many words no row has."""
    if not 1 <= words <= LIMIT_WORDS:
        raise PackageError(f"must be in 1..{LIMIT_WORDS}", field="preprocess.words", value=words)


def _features(word: str) -> list[str]:
    low = word.lower()
    return [
        f"w:{word}",
        f"l:{low}",
        *(f"p{n}:{low[:n]}" for n in _PREFIXES),
        *(f"s{n}:{low[-n:]}" for n in _SUFFIXES),
        f"f:{shape(word)}",
        f"n:{min(len(word), 12)}",
    ]
