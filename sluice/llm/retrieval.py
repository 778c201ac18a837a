"""Passages of a folder of documents: cut, indexed, and searched exactly, by words (BM25) or by vectors of a small encoder.

BM25: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), k1 = 1.2, b = 0.75.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sluice.core import files
from sluice.core.errors import DataError, PackageError, ProjectError
from sluice.llm.config import RetrievalConfig
from sluice.llm.package import INDEX

SUFFIXES = (".txt", ".md")
#: Documents that somebody may take to be read.
_OTHERS = frozenset({".pdf", ".doc", ".docx", ".odt", ".rtf", ".html", ".htm", ".epub", ".ppt", ".pptx", ".xls", ".xlsx", ".tex", ".rst"})
_LIMIT_FILE, _LIMIT_FILES, _LIMIT_PASSAGES = 4 << 20, 10_000, 200_000
_K1, _B = 1.2, 0.75
_PASSAGES, _VECTORS = "passages.jsonl", "vectors.npy"
_WORD = re.compile(r"\w+")
_ENCODER = ("model.onnx", "tokenizer.json")


@dataclasses.dataclass(frozen=True)
class Passage:
    """A part of a document.

    Attributes:
        document: its file's name below the folder.
        start: its first word's number in it.
        text: what it says.
    """

    document: str
    start: int
    text: str

    @property
    def name(self) -> str:
        """What a citation calls it: the document's name without its ending."""
        return re.sub(r"\.(txt|md)$", "", self.document)


def passages_of(folder: Path, config: RetrievalConfig) -> list[Passage]:
    """A folder's documents in passages, in the order of their names: of whole paragraphs where these fit, each with the document's name told.

    Raises:
        ProjectError: there is no such folder, no document in it, no word in these, or documents of another kind.
        DataError: a document is too large or not UTF-8.
    """
    if config.overlap >= config.words:
        raise ProjectError("must be less than words", field="model.retrieval.overlap", value=config.overlap, fix=f"below {config.words}")
    if not folder.is_dir():
        raise ProjectError("is no folder", field="model.retrieval.folder", value=str(folder), fix="name a folder of .txt and .md files")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file() and not p.is_symlink())
    if others := sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix.lower() in _OTHERS and p.is_file()):
        raise ProjectError(
            f"holds {len(others)} document{'s' * (len(others) > 1)} that cannot be read",
            field="model.retrieval.folder",
            value=others[0],
            fix="write it as .txt or .md (`pdftotext`, `pandoc`), or take it out of the folder",
        )
    if not found or len(found) > _LIMIT_FILES:
        raise ProjectError(
            f"holds {len(found)} documents",
            field="model.retrieval.folder",
            value=str(folder),
            fix=f"1 to {_LIMIT_FILES} .txt and .md files",
        )
    out = [p for path in found for p in _cut(path.relative_to(folder).as_posix(), _text(path), config)]
    if not out:
        raise ProjectError("holds no words", field="model.retrieval.folder", value=str(folder), fix="its .txt and .md files are empty")
    if len(out) > _LIMIT_PASSAGES:
        raise ProjectError(
            f"makes {len(out):,} passages",
            field="model.retrieval.words",
            value=config.words,
            fix=f"at most {_LIMIT_PASSAGES:,}: raise words",
        )
    return out


def _text(path: Path) -> str:
    if path.stat().st_size > _LIMIT_FILE:
        raise DataError(f"is larger than {_LIMIT_FILE >> 20} MiB", field=str(path), fix="split it")
    try:
        text = path.read_text(encoding="utf-8")
        if "\0" in text:
            raise DataError("is no text: it holds zero bytes", field=str(path), fix="take it out of the folder")
        return text
    except UnicodeDecodeError as e:
        raise DataError(f"is not UTF-8: {e.reason} at byte {e.start}", field=str(path), fix="save it as UTF-8") from e


def _cut(document: str, text: str, config: RetrievalConfig) -> list[Passage]:
    words = text.split()
    step = config.words - config.overlap
    starts = range(0, max(1, len(words) - config.overlap), step)
    return [Passage(document, at, " ".join(words[at : at + config.words])) for at in starts if words]


def write_index(root: Path, config: RetrievalConfig, base: Path) -> int:
    """A folder's index into a package's folder. Returns how many passages there are.

    Args:
        root: the package's.
        config: the project's.
        base: where its paths start.

    Raises:
        ProjectError, DataError: as `passages_of`; the encoder is none.
    """
    found = passages_of(base / config.folder, config)
    into = root / INDEX
    into.mkdir(parents=True, exist_ok=True)
    files.write_bytes(into / _PASSAGES, b"".join(orjson.dumps(dataclasses.asdict(p)) + b"\n" for p in found))
    if config.encoder is not None:
        for name in _ENCODER:
            try:
                files.write_bytes(into / name, _beside(base / config.encoder, name).read_bytes())
            except OSError as e:
                fix = f"name a folder with {' and '.join(_ENCODER)}, or leave it out: BM25 over words"
                raise ProjectError(
                    f"{name} cannot be read: {e.strerror}", field="model.retrieval.encoder", value=config.encoder, fix=fix
                ) from e
        from sluice.llm.encoder import Encoder

        vectors = Encoder.open(into).encode([p.text for p in found])
        with files.new_file(into / _VECTORS) as tmp, tmp.open("wb") as out:
            np.save(out, vectors.astype(np.float32))
    return len(found)


def _beside(folder: Path, name: str) -> Path:
    """A file of an encoder's folder, as Hugging Face lays it out too (``onnx/model.onnx``)."""
    return folder / name if (folder / name).exists() or name != "model.onnx" else folder / "onnx" / name


class Index:
    """A package's passages, ready to be searched by any number of threads."""

    def __init__(self, passages: list[Passage], config: RetrievalConfig, vectors: np.ndarray | None = None, encoder: Any = None):
        self.passages, self.config = passages, config
        self._vectors, self._encoder = vectors, encoder
        if vectors is None:
            self._words()

    @classmethod
    def open(cls, root: Path, config: RetrievalConfig) -> Index:
        """Raises `PackageError`: it is not there, or damaged."""
        into = root / INDEX
        try:
            passages = [Passage(**orjson.loads(line)) for line in (into / _PASSAGES).read_bytes().splitlines()]
            vectors = np.load(into / _VECTORS, allow_pickle=False) if config.encoder is not None else None
        except (OSError, ValueError, TypeError) as e:
            raise PackageError(f"its index cannot be read: {e}", field=str(into), fix="make the package again") from e
        if vectors is None:
            return cls(passages, config)
        if vectors.ndim != 2 or len(vectors) != len(passages) or vectors.dtype != np.float32:
            raise PackageError("has other vectors than passages", field=str(into), value=list(vectors.shape), fix="make the package again")
        from sluice.llm.encoder import Encoder

        return cls(passages, config, vectors, Encoder.open(into))

    def search(self, query: str) -> list[Passage]:
        """The `top` nearest passages, the nearest first; those that share nothing with the question are left out."""
        scores = self._by_words(query) if self._vectors is None else self._vectors @ self._encoder.encode([query])[0]
        order = np.argsort(-scores, kind="stable")[: self.config.top]
        return [self.passages[i] for i in order if scores[i] > 0]

    def _words(self) -> None:
        counts = [Counter(words_of(p.text)) for p in self.passages]
        self._lengths = np.array([c.total() for c in counts], dtype=np.float64)
        self._mean = float(self._lengths.mean()) or 1.0
        held: dict[str, tuple[list[int], list[int]]] = {}
        for i, count in enumerate(counts):
            for word, n in count.items():
                at, times = held.setdefault(word, ([], []))
                at.append(i)
                times.append(n)
        self._held = {w: (np.array(at), np.array(times, dtype=np.float64)) for w, (at, times) in held.items()}

    def _by_words(self, query: str) -> np.ndarray:
        scores, n = np.zeros(len(self.passages)), len(self.passages)
        for word in dict.fromkeys(words_of(query)):
            if word not in self._held:
                continue
            at, times = self._held[word]
            idf = math.log(1 + (n - len(at) + 0.5) / (len(at) + 0.5))
            scores[at] += idf * times * (_K1 + 1) / (times + _K1 * (1 - _B + _B * self._lengths[at] / self._mean))
        return scores


def words_of(text: str) -> list[str]:
    """Words in lower case, a plural's ``s`` taken off."""
    return [w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in _WORD.findall(text.casefold())]
