"""Which answers were given, so that feedback is taken for those alone: a bounded memory of the last ones, and a receipt for the rest.

All workers of a server share the memory: a table of 2^20 places of eight bytes, made by the parent before it forks. An answer lies in one of
the eight places of its bucket and the ninth of a bucket takes the oldest's place, so the last hundred thousands are known whoever gave them.
Labels come weeks late and to another replica: each answer carries ``x-sluice-receipt``, a code over model, request id and number of rows that
only who has the key can make. Replicas that share a key (`Settings.feedback_token`) know each other's receipts; without one the key is the
server's own and ends with it.
"""

from __future__ import annotations

import hashlib
import hmac
import mmap
import os

import numpy as np

#: Places, all buckets together, and of one bucket.
PLACES, WAYS = 1 << 20, 8
_ROWS = 0xFFFF
_RECEIPT = 12


class Answers:
    """What was answered.

    Args:
        token: the secret that replicas share; None makes a key that this server alone has.
        places: of the table; a power of two.
    """

    def __init__(self, token: str | None = None, places: int = PLACES):
        self._buckets = places // WAYS
        secret = token.encode() if token else os.urandom(32)
        self._key = hashlib.blake2b(b"sluice receipt" + secret, digest_size=32).digest()
        #: Of this server alone: nobody who chooses request ids can choose whose place they take.
        self._salt = os.urandom(16)
        self._table = np.frombuffer(mmap.mmap(-1, places * 8), dtype=np.uint64).reshape(self._buckets, WAYS)
        self._next = np.frombuffer(mmap.mmap(-1, self._buckets), dtype=np.uint8)

    def add(self, model: str, request_id: str, rows: int) -> None:
        """An answer of so many rows was given."""
        bucket, tag = self._place(model, request_id)
        way = int(self._next[bucket])
        self._table[bucket, way] = tag << 16 | min(rows, _ROWS)
        self._next[bucket] = (way + 1) % WAYS

    def rows(self, model: str, request_id: str, receipt: str | None = None) -> int | None:
        """How many rows the answer had; None where none is known by this id, and no receipt proves it."""
        if receipt is not None:
            count, _, _ = receipt.partition("-")
            if count.isascii() and count.isdigit() and len(count) < 10:
                return int(count) if hmac.compare_digest(receipt.encode(), self.receipt(model, request_id, int(count))) else None
            return None
        bucket, tag = self._place(model, request_id)
        found = [int(v) & _ROWS for v in self._table[bucket] if int(v) >> 16 == tag]
        return max(found, default=None)

    def receipt(self, model: str, request_id: str, rows: int) -> bytes:
        """``ROWS-CODE``: proves to who has the key that this answer was given."""
        code = hashlib.blake2b(f"{model}\0{request_id}\0{rows}".encode(), key=self._key, digest_size=_RECEIPT).hexdigest()
        return f"{rows}-{code}".encode()

    def _place(self, model: str, request_id: str) -> tuple[int, int]:
        found = int.from_bytes(hashlib.blake2b(f"{model}\0{request_id}".encode(), key=self._salt, digest_size=10).digest())
        # Never 0, which is an empty place.
        return found % self._buckets, (found >> 32 & 0xFFFFFFFFFFFF) or 1
