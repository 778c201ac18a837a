"""Answers kept for inputs seen before, exactly as they were given, within a number of bytes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np

from serving.runtime.engine.queue import Tensors, Unit
from serving.runtime.metrics import Metrics
from serving.runtime.models.model import Model
from serving.runtime.protocols.tensors import to_binary

#: What an entry costs besides its arrays: key, dict, array headers.
_OVERHEAD = 600


class Cache:
    """Least recently used answers go first. A key holds the package's digest, so no version answers for another.

    Args:
        limit: bytes it may hold.
    """

    def __init__(self, limit: int, metrics: Metrics):
        self._limit = limit
        self._entries: OrderedDict[bytes, tuple[str, Tensors, int]] = OrderedDict()
        self._size = 0
        self._values, self._gauge = metrics.values, metrics.counter("sluice_cache_bytes")

    def key(self, model: Model, units: list[Unit]) -> bytes:
        """A digest (BLAKE2b, 256 bits) of the package's digest and every input tensor: name, type, shape, elements."""
        h = hashlib.blake2b(model.digest.encode(), digest_size=32)
        for unit in units:
            for name in sorted(unit.tensors):
                array = unit.tensors[name]
                h.update(f"\0{name}\0{array.dtype.str}{array.shape}\0".encode())
                h.update(to_binary(array) if array.dtype == object else np.ascontiguousarray(array).data)
        return h.digest()

    def get(self, key: bytes) -> Tensors | None:
        """The answer kept under a key, which is then the youngest; None where there is none."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[1]

    def put(self, digest: str, key: bytes, outputs: Tensors) -> None:
        """Keep an answer; one too large for the whole cache is not kept."""
        # Copies: a slice of a batch's output would keep the whole batch.
        kept = {n: a if a.base is None else a.copy() for n, a in outputs.items()}
        size = _OVERHEAD + sum(len(to_binary(a)) if a.dtype == object else a.nbytes for a in kept.values())
        if size > self._limit or key in self._entries:
            return
        self._entries[key] = (digest, kept, size)
        self._size += size
        while self._size > self._limit:
            self._size -= self._entries.popitem(last=False)[1][2]
        self._values[self._gauge] = self._size

    def forget(self, digest: str) -> None:
        """Drop a version that is served no longer."""
        for key in [k for k, entry in self._entries.items() if entry[0] == digest]:
            self._size -= self._entries.pop(key)[2]
        self._values[self._gauge] = self._size
