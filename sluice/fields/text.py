"""Text: a `tokenizers` pipeline that gives token ids and an attention mask."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import InputError, PackageError
from sluice.fields.base import Example, Processor, SideFile, only, setting
from sluice.fields.field import Field
from sluice.fields.ngrams import Ngrams

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from sluice.fields.changes.disturbances import Disturbance
    from sluice.fields.parts import Rows
    from sluice.fields.pieces import Pieces
    from sluice.fields.summaries import Cells

#: Characters of one text. Tokenising is linear, and no graph reads more than `max_length` tokens.
LIMIT_CHARACTERS = 1 << 20
_LIMIT_TOKENS = 1 << 16
#: Bins that words are hashed into (crc32): enough to see a vocabulary move, whatever its size.
BUCKETS = 256
_WORD_BREAK = r"[^\p{L}\p{N}]+"
_WORD_PLAIN = r"[\W_]+"  # the same, as Python's expressions write it
_BATCH = 1 << 14


class Text(Field):
    """Texts of any length. A row is its value alone."""

    kind = "text"
    plain = True
    words = True
    lacks = "no text (null or blank)"
    checks = frozenset({"texts"})
    column_type = "string"

    @classmethod
    def processor(cls) -> type[Processor]:
        """`TextProcessor`."""
        return TextProcessor

    def disturbances(self) -> Mapping[str, Disturbance]:
        """Typing mistakes, letters' case, white space."""
        from sluice.fields.changes.disturbances import TEXTS

        return TEXTS

    @property
    def arrow(self) -> pa.DataType:
        """string."""
        import pyarrow as pa

        return pa.string()

    def missing(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Null, or nothing but white space."""
        import pyarrow as pa
        import pyarrow.compute as pc

        # pyarrow takes a bare string here for something pandas may know, and imports it: a second lost.
        return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), pa.scalar("")), True)

    def summary(self, cells: Cells) -> dict[str, Any]:
        """Counts, and how long the texts are in characters and words."""
        import pyarrow.compute as pc

        from sluice.fields.summaries import histogram, moments

        found = cells.column.drop_null()
        out = {**super().summary(cells), "distinct": pc.count_distinct(found).as_py()}
        if not len(found):
            return out
        characters = np.sort(pc.utf8_length(found).to_numpy()).astype(np.float64)
        words = np.sort(pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(found))).to_numpy()).astype(np.float64)
        return {
            **out,
            "characters": moments(characters),
            "words": moments(words),
            "length_histogram": histogram(characters),
            "words_histogram": histogram(words),
        }

    def reference(self, rows: Rows) -> dict[str, Any]:
        """Parts ``characters``, ``words`` and ``tokens`` (hashed words)."""
        from sluice.fields.parts import numeric_part, part

        lengths: dict[str, list[NDArray[np.float64]]] = {"characters": [], "words": []}
        tokens = np.zeros(BUCKETS, np.int64)
        for batch in rows.batches("train", [self.name], _BATCH):
            for name, found in _lengths(batch.column(0)).items():
                lengths[name].append(found)
            tokens += _token_counts(batch.column(0))
        parts = {name: numeric_part(np.concatenate(found)) for name, found in lengths.items()}
        nulls = parts["characters"]["counts"][-1]
        parts["tokens"] = part({"buckets": BUCKETS}, tokens)
        return {"kind": self.kind, "rows": rows.rows("train"), "nulls": nulls, "parts": parts}

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Of each part; what is no text is missing."""
        import pyarrow as pa

        from sluice.stats.drift import numeric_counts

        texts = pa.array([v if isinstance(v, str) else None for v in values], pa.string())
        lengths = {name: numeric_counts(v, reference["parts"][name]["edges"]) for name, v in _lengths(texts).items()}
        return {**lengths, "tokens": _token_counts(texts)}

    def vectors(self, values: Sequence[Any]) -> NDArray[np.float64] | None:
        """Its words, hashed."""
        from sluice.fields.vectors import of_texts

        return of_texts(values, _WORD_PLAIN)

    def counted(self, reference: Mapping[str, Any], column: pa.Array, bounds: Sequence[int]) -> dict[str, NDArray[np.int64]]:
        """Of each part; texts are split once, and each different word is hashed once."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from sluice.fields.parts import sorted_counts

        if not pa.types.is_string(column.type):
            return super().counted(reference, column, bounds)
        parts, first, pieces = reference["parts"], bounds[0], len(bounds) - 1
        texts = column.slice(first, bounds[-1] - first)
        own = [b - first for b in bounds]
        out = {name: sorted_counts(v, np.asarray(parts[name]["edges"], dtype=np.float64), own) for name, v in _lengths(texts).items()}
        split = pc.split_pattern_regex(pc.utf8_lower(texts), _WORD_BREAK)
        words = split.flatten().dictionary_encode()
        bucket = np.array([zlib.crc32(w.encode()) % BUCKETS if w else BUCKETS for w in words.dictionary.to_pylist()], dtype=np.int64)
        piece = np.repeat(np.arange(pieces), np.diff(own))[np.asarray(pc.list_parent_indices(split))]
        flat = np.bincount(piece * (BUCKETS + 1) + bucket[np.asarray(words.indices)], minlength=pieces * (BUCKETS + 1))
        return {**out, "tokens": flat.reshape(pieces, BUCKETS + 1)[:, :BUCKETS].astype(np.int64)}


def _lengths(texts: pa.Array) -> dict[str, NDArray[np.float64]]:
    """Characters and words of each text, float64 [rows], NaN where it is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from sluice.fields.parts import floats

    trimmed = pc.utf8_trim_whitespace(texts)
    words = pc.list_value_length(pc.utf8_split_whitespace(trimmed))
    words = pc.if_else(pc.equal(trimmed, pa.scalar("")), pa.scalar(0, words.type), words)
    return {"characters": floats(pc.utf8_length(texts)), "words": floats(words)}


def _token_counts(texts: pa.Array) -> NDArray[np.int64]:
    """How many words fall into each bucket, int64 [BUCKETS]."""
    import pyarrow.compute as pc

    out = np.zeros(BUCKETS, np.int64)
    words = pc.split_pattern_regex(pc.utf8_lower(texts.drop_null()), _WORD_BREAK).flatten().value_counts()
    for word, n in zip(words.field("values").to_pylist(), words.field("counts").to_pylist(), strict=True):
        if word:
            out[zlib.crc32(word.encode()) % BUCKETS] += n
    return out


class TextProcessor(Processor):
    """Rows are `str`. Texts longer than `max_length` tokens are cut at the end.

    A model that weighs n-grams gets their numbers too, as `ngrams`.

    Args:
        tokenizer: the bytes of a ``tokenizer.json``; the truncation and padding it may carry are replaced.
        max_length: most tokens an example has, special tokens counted.
        pad_id: id written behind the shorter texts of a batch; their mask is 0 there.
        file: what the tokenizer's file is called.
        ngrams: name and content of the file of n-grams; None: the graph takes none.

    Raises:
        PackageError: the tokenizer cannot be read, or a number is out of range.
    """

    kind: ClassVar[str] = "text"
    value = Text("text")
    inputs: tuple[TensorSpec, ...] = (TensorSpec("input_ids", "INT64", (-1, -1)), TensorSpec("attention_mask", "INT64", (-1, -1)))

    def __init__(
        self, tokenizer: bytes, max_length: int, pad_id: int = 0, file: str = "tokenizer.json", ngrams: tuple[str, bytes] | None = None
    ):
        from tokenizers import Tokenizer

        if not 1 <= max_length <= _LIMIT_TOKENS:
            raise PackageError(f"must lie in 1..{_LIMIT_TOKENS}", field="preprocess.max_length", value=max_length)
        if pad_id < 0:
            raise PackageError("must not be negative", field="preprocess.pad_id", value=pad_id)
        self.pads = {"input_ids": pad_id, "attention_mask": 0, "ngrams": 0}
        self.tokens = ("input_ids", "attention_mask")  # the ones whose length is the text's
        self._bytes, self.max_length, self.pad_id, self._file = tokenizer, max_length, pad_id, file
        self._ngrams_file, self.ngrams = ngrams, Ngrams.read(ngrams[1], f"preprocess: {ngrams[0]}") if ngrams else None
        if ngrams:
            self.inputs = (*TextProcessor.inputs, TensorSpec("ngrams", "INT64", (-1, -1)))
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
            self._tokenizer.enable_truncation(max_length)
            self._tokenizer.no_padding()
        except Exception as e:  # the binding raises bare Exception
            raise PackageError(f"is no tokenizer for {max_length} tokens: {e}", field=f"preprocess: {file}") from e

    @classmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> TextProcessor:
        """Read ``{"kind": "text", "tokenizer": <file>, "max_length": n, "pad_id": n, "ngrams": <file>}``, the last optional. Raises `PackageError`."""
        only(spec, "kind", "tokenizer", "max_length", "pad_id", "ngrams")
        name = file_name(spec, "tokenizer")
        ngrams = file_name(spec, "ngrams") if "ngrams" in spec else None
        return cls(
            side_file(name),
            setting(spec, "max_length", int),
            setting(spec, "pad_id", int),
            name,
            (ngrams, side_file(ngrams)) if ngrams else None,
        )

    def encode(self, rows: Sequence[Any]) -> list[Example]:
        """`input_ids` and `attention_mask`, INT64 [tokens] each, and `ngrams` [n-grams] where there are. Raises `InputError`."""
        texts = rows if type(rows) is list else list(rows)
        if not {str}.issuperset(map(type, texts)) or max(map(len, texts), default=0) > LIMIT_CHARACTERS or not all(map(str.strip, texts)):
            texts = [checked_text(text, i) for i, text in enumerate(texts)]
        try:
            encodings = self._tokenizer.encode_batch_fast(texts)
        except (TypeError, UnicodeError):
            encodings = self._tokenizer.encode_batch_fast([checked_text(text, i) for i, text in enumerate(texts)])
        ids = [np.array(e.ids, dtype=np.int64) for e in encodings]
        for i, tokens in enumerate(ids):
            if not len(tokens):
                raise InputError("has no tokens", field=f"rows[{i}]", value=texts[i], fix="send a text that is not blank")
        ones = np.ones(max(map(len, ids), default=0), dtype=np.int64)
        out: list[Example] = [{"input_ids": i, "attention_mask": ones[: len(i)]} for i in ids]
        if self.ngrams and out:
            for example, numbers in zip(out, self.ngrams.numbers(texts), strict=True):
                example["ngrams"] = numbers
        return out

    def pieces(self, row: Any) -> Pieces | None:
        """Its words. Raises `InputError`."""
        from sluice.fields.pieces import of_text

        return of_text(checked_text(row, 0))

    def batch(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """INT64 [examples, longest], `pad_id` and mask 0 behind the shorter ones; of `ngrams`, 0."""
        return self._batch(examples, self.inputs)

    def _batch(self, examples: Sequence[Example], inputs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
        return {t.name: _padded([e[t.name] for e in examples], self.pads[t.name]) for t in inputs}

    def length(self, example: Example) -> int:
        return len(example["input_ids"])

    def spec(self) -> dict[str, Any]:
        return {
            "kind": "text",
            "tokenizer": self._file,
            "max_length": self.max_length,
            "pad_id": self.pad_id,
            **({"ngrams": self._ngrams_file[0]} if self._ngrams_file else {}),
        }

    def files(self) -> dict[str, bytes]:
        return {self._file: self._bytes, **(dict([self._ngrams_file]) if self._ngrams_file else {})}


def file_name(spec: Mapping[str, Any], key: str) -> str:
    """A setting that names a file of the package. Raises `PackageError` for one with a folder in it."""
    name: str = setting(spec, key, str)
    if PurePosixPath(name).name != name or name in {"", ".", ".."}:
        raise PackageError("must be a file name in the package", field=f"preprocess.{key}", value=name)
    return name


def _padded(parts: Sequence[np.ndarray], pad: int) -> np.ndarray:
    out = np.full((len(parts), max(map(len, parts))), pad, dtype=np.int64)
    for row, part in enumerate(parts):
        out[row, : len(part)] = part
    return out


def checked_text(text: Any, i: int) -> str:
    """`text` as a plain `str`, or the error that says what is wrong with row `i`."""
    field = f"rows[{i}]"
    if not isinstance(text, str):
        raise InputError("is not a text", field=field, value=text, fix="send a string")
    if len(text) > LIMIT_CHARACTERS:
        raise InputError(f"has more than {LIMIT_CHARACTERS} characters", field=field, value=len(text), fix="send a shorter text")
    if not text.strip():  # training leaves such rows out, so the model has no answer to them
        raise InputError("is blank", field=field, value=text[:100], fix="send a text with something in it")
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise InputError("is not valid Unicode", field=field, value=text[:100], fix="send whole code points, no lone surrogates") from e
    return str(text)
