"""What a server is told when it starts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sluice.proof.trust import NOTHING, Trust

if TYPE_CHECKING:
    from serving.runtime.logs.answers import Answers


@dataclasses.dataclass(frozen=True)
class Source:
    """A model to serve: `name` in URLs (``""``: the package's own), where it lies, the digest it must have if known."""

    name: str
    uri: str
    digest: str | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
    """Options of a server. Sizes are bytes, times seconds, unless the name says otherwise.

    Attributes:
        sources: the models to load at the start.
        port, grpc_port: 0 for `port` takes a free one; `grpc_port` None leaves gRPC out.
        workers: processes; each has its own event loop and its own sessions.
        threads: ONNX Runtime threads a worker.
        slo_ms: latency objective; the latency histogram has an edge there.
        max_batch: most rows of one run; also what large requests are cut into.
        queue: requests one worker holds, waiting or running, before others get 429.
        max_body, max_rows: of one request, before it gets 413.
        max_buffered: bytes of requests one worker holds at a time, of HTTP and gRPC together, before others get 429.
        deadline: what a request without a deadline of its own gets; None is none.
        drain, drain_delay: after SIGTERM, how long what is in flight may take, and how long new
            requests are still taken (for load balancers that learn late).
        head_timeout, body_timeout, idle_timeout, write_timeout: of slow clients.
        cache: bytes of the response cache a worker; 0 is off.
        outcomes: smallest and largest business outcome that feedback may tell; one beyond them is refused, since a single absurd
            number decides every mean and overflows the sum of squares.
        feedback_token: who tells feedback has to have it, and replicas that share it know each other's answers; None: anybody who reaches
            the server itself may, and nobody through a gateway.
        user_header: the request header that names the user, in lower case; counted by group, kept nowhere.
        log, log_sample: folder of the prediction log, and the share of requests it takes.
        access_log: ``-`` for stdout or a file; None is off.
        allow_load: where models may be loaded from over the network; empty refuses all.
        pointer: a file that names the package to serve; watched.
        max_model: size of an ONNX file, before it is refused.
        trust: whether a package must be signed, and by whom.
        scratch: folder of asynchronous results, made by the parent.
        log_address: socket of the recorder, made by the parent.
        answers: those that were given, made by the parent; None where no log is kept, and feedback is not taken.
    """

    sources: tuple[Source, ...]
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    workers: int = 1
    threads: int = 1
    slo_ms: float = 200.0
    max_batch: int = 32
    queue: int = 256
    max_body: int = 32 << 20
    max_rows: int = 4096
    max_buffered: int = 256 << 20
    max_connections: int = 2048
    deadline: float | None = None
    drain: float = 30.0
    drain_delay: float = 0.0
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 120.0
    write_timeout: float = 30.0
    cache: int = 0
    outcomes: tuple[float, float] = (-1e9, 1e9)
    feedback_token: str | None = None
    user_header: str = "x-sluice-user"
    log: str | None = None
    log_sample: float = 1.0
    log_seconds: float = 30.0
    access_log: str | None = None
    allow_load: tuple[str, ...] = ()
    pointer: str | None = None
    max_model: int = 4 << 30
    trust: Trust = NOTHING
    scratch: str | None = None
    log_address: bytes = b""
    answers: Answers | None = None
