"""What a worker may hold of its clients' bytes at a time, whatever protocol they came by."""

from __future__ import annotations


class Budget:
    """Bytes of requests, and of gRPC answers on their way, in one worker.

    Attributes:
        limit: bytes; beyond it requests get 429 (``RESOURCE_EXHAUSTED``).
        held: bytes now.
    """

    __slots__ = ("held", "limit")

    def __init__(self, limit: int):
        self.limit, self.held = limit, 0
