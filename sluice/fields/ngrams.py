"""N-grams of texts as numbers: words, pairs of words, and runs of characters within a word.

They are told apart by 64-bit hashes, computed for a whole batch at once: a polynomial's prefix sums modulo 2^64
give the hash of any run of characters in two look-ups (Karp, Rabin 1987). Runs of characters make it work for
languages without spaces, and for words never seen.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from sluice.core.errors import PackageError

#: Characters of a text that are looked at.
_MOST_CHARACTERS = 4000
_WORD = re.compile(r"\w+|[^\w\s]")
_SPACE = 32
_FACTOR = 0x9E3779B97F4A7C15
_INVERSE = pow(_FACTOR, -1, 1 << 64)
#: An entry of the side file: the n-gram's hash, and the training rows that hold it.
_ENTRY = np.dtype([("hash", "<u8"), ("rows", "<u4")])
_MAGIC = b"sluice.ngrams/v1\n"


class Ngrams:
    """The n-grams a model knows, sorted by hash; number 0 stands for none, the others follow from 1.

    Args:
        hashes: uint64 [n], ascending.
        rows: training rows that hold each, uint32 [n].
        total: training rows.
        characters: longest run of characters; words: longest run of words.
    """

    def __init__(self, hashes: np.ndarray, rows: np.ndarray, total: int, characters: int = 5, words: int = 2):
        self.hashes, self.rows, self.total, self.characters, self.words = hashes, rows, total, characters, words

    @classmethod
    def learn(cls, texts: Sequence[str], most: int) -> Ngrams:
        """The n-grams that at least two of the texts hold, at most `most`: those of most texts first, among equals by hash."""
        made = cls(np.zeros(0, np.uint64), np.zeros(0, np.uint32), len(texts))
        found = [made.grams(texts[at : at + 512])[1] for at in range(0, len(texts), 512)]
        hashes, counts = np.unique(np.concatenate(found) if found else np.zeros(0, np.uint64), return_counts=True)
        kept = np.flatnonzero(counts >= 2)
        kept = np.sort(kept[np.argsort(-counts[kept], kind="stable")[:most]])
        return cls(hashes[kept], counts[kept].astype(np.uint32), len(texts))

    @classmethod
    def read(cls, data: bytes, field: str) -> Ngrams:
        """What `bytes` gave. Raises `PackageError`."""
        head, _, rest = data.removeprefix(_MAGIC).partition(b"\n")
        try:
            if not data.startswith(_MAGIC) or len(head) > 100:
                raise ValueError("it does not begin as one")
            total, characters, words = (int(n) for n in head.split())
            entries = np.frombuffer(rest, _ENTRY)
            if total < 1 or not 1 <= characters <= 16 or not 1 <= words <= 8 or not (entries["hash"][1:] > entries["hash"][:-1]).all():
                raise ValueError("its entries are not in order")
        except ValueError as e:
            raise PackageError(f"is no file of n-grams: {e}", field=field) from e
        return cls(entries["hash"].astype(np.uint64), entries["rows"].astype(np.uint32), total, characters, words)

    def bytes(self) -> bytes:
        """The side file: a line of settings, then an entry an n-gram."""
        entries = np.empty(len(self.hashes), _ENTRY)
        entries["hash"], entries["rows"] = self.hashes, self.rows
        return _MAGIC + f"{self.total} {self.characters} {self.words}\n".encode() + entries.tobytes()

    def weights(self) -> np.ndarray:
        """How much each number weighs, float32 [n + 1]: the inverse document frequency; none weighs nothing."""
        return np.concatenate([[0.0], np.log((1 + self.total) / (1 + self.rows.astype(np.float64))) + 1]).astype(np.float32)

    def numbers(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Of each text the numbers of the n-grams it holds, ascending, INT64; [0] where it holds none that is known."""
        rows, hashes = self.grams(texts)
        at = np.searchsorted(self.hashes, hashes)
        at[at == len(self.hashes)] = 0
        known = self.hashes[at] == hashes if len(self.hashes) else np.zeros(len(at), bool)
        rows, at = rows[known], at[known] + 1
        cuts = np.searchsorted(rows, np.arange(1, len(texts)))
        return [part if len(part) else np.zeros(1, np.int64) for part in np.split(at.astype(np.int64), cuts)]

    def grams(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Every n-gram of every text, once a text: (which text, int64; its hash, uint64), in order of text and hash."""
        spelt = [
            " " + " ".join(_WORD.findall(unicodedata.normalize("NFKC", t[:_MOST_CHARACTERS]).lower()[:_MOST_CHARACTERS])) + " "
            for t in texts
        ]
        codes = np.frombuffer("".join(spelt).encode("utf-32-le", "replace"), "<u4").astype(np.uint64)
        owner = np.repeat(np.arange(len(spelt)), [len(s) for s in spelt])
        space = codes == _SPACE
        spaces, seen = np.flatnonzero(space), np.concatenate([[0], np.cumsum(space)])
        prefix, back = _prefix(codes)
        found: list[tuple[np.ndarray, np.ndarray]] = []

        def take(start: np.ndarray, end: np.ndarray, kind: int) -> None:
            with np.errstate(over="ignore"):
                found.append((owner[start], _mixed((prefix[end] - prefix[start]) * back[start] + np.uint64(kind))))

        for n in range(1, self.characters + 1):
            start = np.arange(max(0, len(codes) - n + 1))
            if n > 2:  # a word's first and last character know the space beside them
                start = start[seen[start + n - 1] == seen[start + 1]]
            start = start[~space[start]] if n == 1 else start[~(space[start] & space[start + 1])] if n == 2 else start
            take(start, start + n, n)
        for n in range(1, self.words + 1):
            first, last = spaces[:-n], spaces[n:]
            whole = (owner[first] == owner[last]) & (last - first > 1)
            take(first[whole], last[whole] + 1, 100 + n)
        rows, hashes = np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
        order = np.lexsort((hashes, rows))
        rows, hashes = rows[order], hashes[order]
        new = np.ones(len(rows), bool)
        new[1:] = (rows[1:] != rows[:-1]) | (hashes[1:] != hashes[:-1])
        return rows[new], hashes[new]


def _mixed(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014); overflow is meant."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


_powers: list[Any] = []


def _prefix(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prefix sums of ``code_k * factor^k`` and the powers of the factor's inverse, modulo 2^64: a run's hash is its difference times the power at its start."""
    with np.errstate(over="ignore"):
        if not _powers or len(_powers[0]) <= len(codes):
            size = max(1 << 12, 2 * len(codes))
            _powers[:] = [
                np.multiply.accumulate(np.concatenate([[np.uint64(1)], np.full(size, f, np.uint64)])) for f in (_FACTOR, _INVERSE)
            ]
        powers, inverse = _powers
        return np.concatenate([[np.uint64(0)], np.cumsum(_mixed(codes + np.uint64(1)) * powers[: len(codes)], dtype=np.uint64)]), inverse
