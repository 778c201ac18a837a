"""gRPC requests by KServe's own client, counted by the version that answered, without a retry that would hide a failure."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from typing import Any

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

# It writes a traceback for each failed call; these are counted here.
logging.getLogger("kserve").setLevel(logging.CRITICAL)


def image_request(model: str, png: bytes) -> InferRequest:
    entry = InferInput(name="image", shape=[1], datatype="BYTES")
    entry.set_data_from_numpy(np.array([png], dtype=object), binary_data=True)
    return InferRequest(model_name=model, infer_inputs=[entry])


def client(address: str, host: str | None = None, timeout: float = 20.0) -> InferenceGRPCClient:
    """As a user makes one, through a gateway that goes by the host's name."""
    named = [("grpc.default_authority", host)] if host else []
    return InferenceGRPCClient(
        address, channel_args=[("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1), *named], timeout=timeout, retries=0
    )


class GrpcLoad:
    """`connections` callers, each with a request after the other, at `rate` a second together, until `stop` or `most` were sent."""

    def __init__(
        self,
        address: str,
        request: InferRequest,
        *,
        host: str | None = None,
        rate: float = 100.0,
        connections: int = 4,
        most: int | None = None,
        headers: Any = None,
    ):
        self.by_version: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.sent = 0
        self._args = address, host, request, headers
        self._pause, self._connections, self._most = connections / rate, connections, most
        self._halt = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> GrpcLoad:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._halt.set()
        self._thread.join(60)

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"{self.sent} sent after {seconds:g} s"

    async def _run(self) -> None:
        await asyncio.gather(*(self._caller() for _ in range(self._connections)))

    async def _caller(self) -> None:
        address, host, request, headers = self._args
        async with client(address, host) as one:
            while not self._halt.is_set() and (self._most is None or self.sent < self._most):
                self.sent += 1
                begun = time.monotonic()
                try:
                    answer = await one.infer(request, headers=headers)
                    self.by_version[answer.model_version] += 1
                except grpc.RpcError as e:
                    self.failures[f"{e.code().name}: {e.details()}"] += 1  # type: ignore[attr-defined]
                await asyncio.sleep(max(0.0, begun + self._pause - time.monotonic()))
