"""How many different things there were, in a few kilobytes and however often each came.

HyperLogLog (Flajolet, Fusy, Gandouet, Meunier, 2007) with 4,096 registers: the standard error is 1.6 %; up to some thousands, where many
registers are still empty, it counts these (linear counting) and is nearer. What is taken again changes nothing, so the count never falls.
"""

from __future__ import annotations

import base64
import hashlib
import math
import zlib
from collections.abc import Iterable

_BITS = 12
_SIZE = 1 << _BITS


class Distinct:
    """A count of different texts.

    Args:
        packed: of `packed`, to go on from.
    """

    def __init__(self, packed: str = ""):
        raw = zlib.decompress(base64.b64decode(packed)) if packed else bytes(_SIZE)
        self._ranks = bytearray(raw)
        if len(self._ranks) != _SIZE:
            raise ValueError(f"is no count of {_SIZE} registers")

    def take(self, texts: Iterable[str]) -> None:
        """Count them."""
        for text in texts:
            found = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
            place, rest = found & (_SIZE - 1), found >> _BITS
            rank = 64 - _BITS - rest.bit_length() + 1
            if rank > self._ranks[place]:
                self._ranks[place] = rank

    @property
    def count(self) -> int:
        """How many there were, about."""
        empty = self._ranks.count(0)
        estimate = 0.7213 / (1 + 1.079 / _SIZE) * _SIZE * _SIZE / sum(2.0**-r for r in self._ranks)
        if estimate <= 2.5 * _SIZE and empty:
            estimate = _SIZE * math.log(_SIZE / empty)
        return round(estimate)

    @property
    def packed(self) -> str:
        """All of it as text, for JSON."""
        return base64.b64encode(zlib.compress(bytes(self._ranks), 6)).decode()
