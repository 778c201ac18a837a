"""Load for a rollout without users: requests replayed as fast as was asked for and the servers sustain, every failure counted.

Open loop: requests leave when they are due whether or not earlier ones were answered, and a
latency counts from when the request was due, so a server that stalls cannot hide it; what is due
follows the servers over the seconds (`pace`). Connections are kept alive. Answers are compared
with the known truth, by arm.
"""

from __future__ import annotations

import asyncio
import collections
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from sluice.core.errors import MissingExtra, SluiceError
from sluice.core.spelling import label_now
from sluice.rollouts.envoy import ARM_HEADER
from sluice.rollouts.pace import EVERY, Pace
from sluice.rollouts.state import Counts

_TICK = 0.001
_MAX_REASONS = 20
#: The score of an answer that is not wrong.
_RIGHT = 0.5


@dataclass(frozen=True)
class Request:
    """One request to replay.

    Attributes:
        body: as sent. path: with the leading slash.
        label: the right answer, if known.
        judge: of an answer's body, the score from 0 to 1, below half of which it is wrong; None: it cannot be said. In place of `label`.
        headers: beside ``content-length``; ``host`` is the address unless given here (lower case).
    """

    body: bytes
    path: str
    label: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    judge: Callable[[bytes], float | None] | None = None

    def wire(self, host: str) -> bytes:
        """The whole HTTP/1.1 request, as it is sent."""
        headers = {"host": host, "content-length": str(len(self.body)), **self.headers}
        lines = [f"POST {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.body


def answer(body: bytes) -> str | float | None:
    """The first prediction of a V1 or V2 answer: a label, spelled as labels are now, or a number; of an array 0, since no two are wholly alike.

    None for none of these (NaN included).
    """
    try:
        value: Any = orjson.loads(body)
        if "predictions" in value:
            value = value["predictions"][0]
        else:
            value = {o["name"]: o["data"][0] for o in value["outputs"]}
        if isinstance(value, dict):
            value = (
                value["label"]
                if "label" in value
                else value.get("value", 0.0 if any(v not in (None, []) for v in value.values()) else None)
            )
    except (ValueError, TypeError, LookupError):
        return None
    if isinstance(value, str):
        return label_now(value)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


class Histogram:
    """Latencies in buckets 2 % apart from 10 microseconds to 100 seconds."""

    _STEP, _LOW, _SIZE = math.log(1.02), 1e-5, 820

    def __init__(self) -> None:
        self.counts = [0] * self._SIZE
        self.total = 0

    def add(self, seconds: float) -> None:
        """Count one latency, in seconds."""
        i = int(math.log(max(seconds, self._LOW) / self._LOW) / self._STEP)
        self.counts[min(i, self._SIZE - 1)] += 1
        self.total += 1

    def quantile(self, q: float) -> float | None:
        """Seconds, within 2 %; None without values."""
        if not self.total:
            return None
        left = q * self.total
        for i, n in enumerate(self.counts):
            left -= n
            if left <= 0 and n:
                return float(self._LOW * math.exp((i + 0.5) * self._STEP))
        return float(self._LOW * math.exp(self._SIZE * self._STEP))


class _Connection(asyncio.Protocol):
    """One kept connection with at most one request on it."""

    def __init__(self, load: Load):
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.due = 0.0
        self.deadline: asyncio.TimerHandle | None = None
        self.request: Request | None = None
        self._reset()

    def _reset(self) -> None:
        import httptools

        self.parser = httptools.HttpResponseParser(self)
        self.arm, self.body = "", []  # type: str, list[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def send(self, request: Request, wire: bytes, due: float) -> None:
        self.request, self.due = request, due
        self.deadline = self.load.loop.call_later(self.load.timeout, self._late)
        assert self.transport is not None
        self.transport.write(wire)

    def _late(self) -> None:
        self._fail(f"no answer in {self.load.timeout:g} s")

    def _fail(self, why: str) -> None:
        if self.request is not None:
            self._finish()
            self.load.failed_with(why, self.arm)
        if self.transport is not None:
            self.transport.abort()
        self.load.drop(self)

    def _finish(self) -> None:
        self.request = None
        if self.deadline is not None:
            self.deadline.cancel()

    def data_received(self, data: bytes) -> None:
        import httptools

        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as e:
            self._fail(f"not HTTP: {e}")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == self.load.arm_header:
            self.arm = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        request, status = self.request, self.parser.get_status_code()
        if request is None:
            return
        keep = self.parser.should_keep_alive()
        self._finish()
        self.load.answered(request, status, self.arm, b"".join(self.body), self.load.loop.time() - self.due)
        self._reset()
        if keep:
            self.load.idle.append(self)
        else:
            if self.transport is not None:
                self.transport.close()
            self.load.drop(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.request is not None:
            self._fail(f"connection lost: {exc or 'closed without an answer'}")
        self.load.drop(self)


class Load:
    """Replays requests, round and round, from a thread of its own.

    Args:
        address: host and port. requests: at least one. rate: requests a second, reached as far as the servers sustain it.
        connections: open at most, and fewer at less than the rate; when all are busy, due requests are not sent but counted as `unsent`.
        timeout: seconds after which a missing answer is a failure.
        arm_header: of answers, says which arm gave them.

    Raises:
        SluiceError: no requests. MissingExtra: httptools is not installed.
    """

    def __init__(
        self,
        address: tuple[str, int],
        requests: Sequence[Request],
        rate: float,
        *,
        connections: int = 64,
        timeout: float = 10.0,
        arm_header: str = ARM_HEADER,
    ):
        if not requests:
            raise SluiceError("a rollout without users needs requests to replay", field="requests", value=[])
        try:
            import httptools  # noqa: F401
        except ImportError:
            raise MissingExtra("replaying load needs httptools", field="httptools", fix="pip install 'sluice-ml[local]'") from None
        self.address, self.timeout = address, timeout
        self.pace = Pace(rate, connections)
        self.arm_header = arm_header.lower().encode()
        self._work = [(r, r.wire(f"{address[0]}:{address[1]}")) for r in requests]
        self.idle: collections.deque[_Connection] = collections.deque()
        self._all: set[_Connection] = set()
        self._flying = self._refused = 0
        self._wait, self._eased = timeout + 1, False
        self._halt = threading.Event()
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()
        self.sent = self.failed = self.unsent = self.finished = 0
        self.reasons: collections.Counter[str] = collections.Counter()
        self.arms: dict[str, Counts] = {}
        self.latency = Histogram()
        self.loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Begin to send, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    def stop(self, wait: float | None = None) -> None:
        """No new requests; wait for those in flight, for `wait` seconds at most (the time-out if None)."""
        self._wait = self.timeout + 1 if wait is None else wait
        self._halt.set()
        if self._thread is not None:
            self._thread.join(self._wait + 5)

    def ease(self) -> None:
        """Begin gently again, as other servers take the requests from now on."""
        self._eased = True

    @property
    def share(self) -> float:
        """The part of the asked rate that is sent now, between 0 and 1."""
        return self.pace.rate / self.pace.most

    def report(self) -> dict[str, Any]:
        """``{sent, answered, failed, unsent, rate, reasons, by_arm, p50_ms, p99_ms}`` so far; `rate` is that of now."""
        with self._guard:
            p50, p99 = self.latency.quantile(0.5), self.latency.quantile(0.99)
            return {
                "sent": self.sent,
                "answered": self.finished,
                "failed": self.failed,
                "unsent": self.unsent,
                "rate": round(self.pace.rate, 1),
                "reasons": dict(self.reasons),
                "by_arm": {a: int(c["requests"]) for a, c in self.arms.items()},
                "p50_ms": None if p50 is None else round(p50 * 1e3, 3),
                "p99_ms": None if p99 is None else round(p99 * 1e3, 3),
            }

    def truth(self, arm: str) -> Counts:
        """``judged`` and ``wrong`` answers of an arm so far."""
        with self._guard:
            counts = self.arms.get(arm, {})
            return {"judged": counts.get("judged", 0), "wrong": counts.get("wrong", 0)}

    # -- in the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            import uvloop

            runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        except ImportError:
            runner = asyncio.Runner()
        with runner:
            runner.run(self._pace())

    async def _pace(self) -> None:
        self.loop = asyncio.get_running_loop()
        due = looked = self.loop.time()
        index, late, sent = 0, 0.0, 0
        while not self._halt.is_set():
            now = self.loop.time()
            if now - due > EVERY:
                # This process itself stood still: what was due meanwhile would come as one burst.
                missed = int((now - due) * self.pace.rate)
                with self._guard:
                    self.unsent += missed
                index, due = index + missed, now
            while due <= now:
                self._dispatch(index, due)
                late, sent = late + now - due, sent + 1
                index, due = index + 1, due + 1 / self.pace.rate
            if self._eased:
                self._eased = False
                self.pace.ease()
            if now - looked >= EVERY:
                self.pace.look(now, in_flight=self._flying, lag=late / max(sent, 1), refused=self._refused)
                looked, late, sent, self._refused = now, 0.0, 0, 0
                due = min(due, now + 1 / self.pace.rate)
            await asyncio.sleep(max(_TICK, min(due, looked + EVERY) - self.loop.time()))
        end = time.monotonic() + self._wait
        while self._flying and time.monotonic() < end:
            await asyncio.sleep(0.01)
        for c in list(self._all):
            if c.transport is not None:
                c.transport.abort()

    def _dispatch(self, index: int, due: float) -> None:
        request, wire = self._work[index % len(self._work)]
        if self._flying >= self.pace.in_flight:
            with self._guard:
                self.unsent += 1
            return
        self._flying += 1
        while self.idle:
            connection = self.idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                with self._guard:
                    self.sent += 1
                connection.send(request, wire, due)
                return
        with self._guard:
            self.sent += 1
        self.loop.create_task(self._open(request, wire, due))

    async def _open(self, request: Request, wire: bytes, due: float) -> None:
        try:
            _, connection = await asyncio.wait_for(self.loop.create_connection(lambda: _Connection(self), *self.address), self.timeout)
        except (OSError, TimeoutError) as e:
            self.failed_with(f"cannot connect: {type(e).__name__}", "")
            return
        self._all.add(connection)
        connection.send(request, wire, due)

    def drop(self, connection: _Connection) -> None:
        """A connection ended: it is used no more."""
        self._all.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def failed_with(self, why: str, arm: str) -> None:
        """A request came to no answer; why, and which arm had it ("" where nobody knows)."""
        self._flying -= 1
        self._refused += 1
        with self._guard:
            self.failed += 1
            self.finished += 1
            if why in self.reasons or len(self.reasons) < _MAX_REASONS:
                self.reasons[why] += 1

    def answered(self, request: Request, status: int, arm: str, body: bytes, seconds: float) -> None:
        """A request was answered: it counts for its arm, and where the truth is known as right or wrong."""
        self._flying -= 1
        self._refused += status in (429, 503)
        self.pace.answered(arm, seconds)
        said = answer(body) if status < 400 and request.label is not None else None
        score = request.judge(body) if status < 400 and request.judge is not None else None
        with self._guard:
            self.finished += 1
            counts = self.arms.setdefault(arm, {"requests": 0, "judged": 0, "wrong": 0})
            counts["requests"] += 1
            self.latency.add(seconds)
            if status >= 400:
                self.failed += 1
                why = f"status {status}"
                if why in self.reasons or len(self.reasons) < _MAX_REASONS:
                    self.reasons[why] += 1
            elif request.judge is not None:
                counts["judged"] += score is not None
                counts["wrong"] += score is not None and score < _RIGHT
            elif request.label is not None and not isinstance(said, float):
                # A label is right or wrong; how far a number is off is not counted here.
                counts["judged"] += 1
                counts["wrong"] += said != label_now(request.label)
