"""An OpenAI-compatible model endpoint, asked with deadlines, retries and a budget: by coroutines and by threads alike."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from sluice import __version__
from sluice.core.errors import ProjectError
from sluice.llm import protocol
from sluice.llm.budget import Budget, Price, Reservation, most_tokens
from sluice.llm.failures import LOOK, Cut, EndpointError, Limited, Refused, ServerFault, TimedOut, explained
from sluice.llm.http1 import Answer, Client, Malformed, Origin
from sluice.llm.key import HIDDEN, Key, hidden
from sluice.llm.protocol import Completion, Gathered
from sluice.llm.resilience import Breaker, Retry, RetryBudget, retry_after

_T = TypeVar("_T")
Messages = Sequence[Mapping[str, Any]]

#: Most bytes read of an answer, and of an error.
MOST_BYTES, _MOST_ERROR = 8 << 20, 64 << 10
#: Tokens of an answer where the parameters do not bound them and a budget needs a bound.
MOST_TOKENS = 1024
_PATH = "/chat/completions"
#: Seconds in which the body ends behind a stream's last event, so that the connection can be kept.
_END = 0.05


@dataclass(frozen=True)
class Timeouts:
    """Seconds an endpoint may be silent.

    Attributes:
        connect: until there is a connection.
        first: until its answer begins.
        idle: between two pieces of it.
        deadline: of a call that names none, with all its attempts.
    """

    connect: float = 5.0
    first: float = 60.0
    idle: float = 30.0
    deadline: float = 60.0


class Endpoint:
    """An endpoint and one model there. May be used by any number of threads and event loops.

    Args:
        url: what the API's paths are added to, ``http://host:8000/v1``.
        model: the model's name, as the endpoint knows it.
        key_env, key_file: where the key is found; neither: none is sent.
        timeouts, retry, breaker: how long it may be silent, when it is asked again, when it is left alone.
        price: what a million tokens cost.
        budget: what may be spent by all calls; shared by endpoints that are given the same one.
        ca_file: certificates trusted instead of the system's.

    Raises:
        ProjectError: a URL or the name of a key that is none.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key_env: str | None = None,
        *,
        key_file: str | Path | None = None,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        breaker: Breaker | None = None,
        price: Price | None = None,
        budget: Budget | None = None,
        ca_file: str | None = None,
    ):
        self.url, self.model, self.key = url, model, Key(key_env, key_file)
        self.timeouts, self.retry = timeouts or Timeouts(), retry or Retry()
        self.breaker, self.price, self.budget = breaker or Breaker(), price or Price(), budget
        self._origin, self._retries = Origin(url, ca_file), RetryBudget(self.retry)
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Client] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._loop: tuple[int, asyncio.AbstractEventLoop] | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, {self.model!r}, {self.key!r})"

    def complete(self, messages: Messages, parameters: Mapping[str, Any] | None = None, deadline: float | None = None) -> Completion:
        """An answer, waited for.

        Args:
            messages: ``{"role": ..., "content": ...}`` each.
            parameters: ``temperature``, ``max_tokens``, ``seed``, ``tools``, ...
            deadline: seconds from now, with all attempts; by default that of the `timeouts`.

        Raises:
            EndpointError: no answer; its class says why.
            ProjectError: a call that is none, or no key where one is named.
        """
        return self._waited(self.acomplete(messages, parameters, deadline))

    def stream(
        self, messages: Messages, parameters: Mapping[str, Any] | None = None, deadline: float | None = None
    ) -> Iterator[str | Completion]:
        """An answer as it comes: pieces of text, then the whole. Arguments and errors as `complete`."""
        pieces = self.astream(messages, parameters, deadline)
        try:
            while True:
                try:
                    yield self._waited(anext(pieces))  # type: ignore[arg-type]
                except StopAsyncIteration:
                    return
        finally:
            self._waited(pieces.aclose())  # type: ignore[attr-defined]

    async def acomplete(self, messages: Messages, parameters: Mapping[str, Any] | None = None, deadline: float | None = None) -> Completion:
        """As `complete`, on the running event loop."""
        async with contextlib.aclosing(self._asked(messages, parameters or {}, deadline, stream=False)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                if isinstance(piece, Completion):
                    return piece
        raise AssertionError("a call ends with its completion or an error")

    async def astream(
        self, messages: Messages, parameters: Mapping[str, Any] | None = None, deadline: float | None = None
    ) -> AsyncIterator[str | Completion]:
        """As `stream`, on the running event loop. Once the first piece is out nothing is asked again."""
        async with contextlib.aclosing(self._asked(messages, parameters or {}, deadline, stream=True)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield piece

    def close(self) -> None:
        """Close the connections of the running event loop, and the thread that blocking calls use. Calls in flight fail."""
        with self._lock:
            own, self._loop = self._loop, None
        if own is not None and own[0] == os.getpid():
            own[1].call_soon_threadsafe(self._end, own[1])
        with contextlib.suppress(RuntimeError):
            self._closed(asyncio.get_running_loop())

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        self._closed(loop)
        loop.call_soon(loop.stop)

    def _closed(self, loop: asyncio.AbstractEventLoop) -> None:
        if (client := self._clients.get(loop)) is not None:
            client.close()

    # one call, of several attempts
    async def _asked(
        self, messages: Messages, parameters: Mapping[str, Any], deadline: float | None, *, stream: bool
    ) -> AsyncIterator[str | Completion]:
        begun = time.monotonic()
        until = begun + (self.timeouts.deadline if deadline is None else deadline)
        if self.budget is not None and not any(k in parameters for k in ("max_tokens", "max_completion_tokens")):
            parameters = {**parameters, "max_tokens": MOST_TOKENS}
        body, key = protocol.request(self.model, messages, parameters, stream), self.key.value()
        self._retries.called()
        attempt, given = 0, False
        while True:
            attempt += 1
            try:
                attempted = self._attempt(body, messages, parameters, key, until, stream)
                async with contextlib.aclosing(attempted) as pieces:  # type: ignore[type-var]
                    async for piece in pieces:
                        if isinstance(piece, str):
                            if not given:
                                first, given = time.monotonic() - begun, True
                            yield piece
                        else:
                            gathered, tokens, cost, counted = piece
                            yield self._completion(gathered, tokens, cost, counted, key, begun, first if given else None, attempt)
                            return
            except EndpointError as e:
                e.attempts = attempt
                wait = self._wait(e, attempt, until) if not given else None
                if wait is None:
                    raise
            await asyncio.sleep(wait or 0.0)

    def _wait(self, error: EndpointError, attempt: int, until: float) -> float | None:
        """Seconds until the next attempt; None where there is none: not worth it, not allowed, or not in time."""
        if not error.again or attempt >= self.retry.attempts:
            return None
        wait = max(self.retry.wait(attempt), error.retry_after or 0.0)
        if time.monotonic() + wait >= until or not self._retries.take():
            return None
        return wait

    def _completion(
        self,
        found: Gathered,
        tokens: tuple[int, int],
        cost: float,
        counted: bool,
        key: str | None,
        begun: float,
        first: float | None,
        n: int,
    ) -> Completion:
        text = hidden("".join(found.text), key)
        seconds, calls = time.monotonic() - begun, tuple(found.tool_calls)
        return Completion(text, *tokens, cost, seconds, first, hidden(found.model, key), found.finish_reason, calls, n, counted)

    # one attempt
    async def _attempt(
        self, body: bytes, messages: Messages, parameters: Mapping[str, Any], key: str | None, until: float, stream: bool
    ) -> AsyncIterator[Any]:
        """Pieces of text of a stream, then (what was gathered, tokens, cost, whether they were counted)."""
        wait = self.breaker.enter()
        failed: bool | None = None
        reserved, began = None, time.monotonic()
        try:
            if began + wait >= until:
                raise Limited("the endpoint asks to wait for longer than the deadline", retry_after=wait, fix="send fewer calls")
            if wait:
                await asyncio.sleep(wait)
                began = time.monotonic()
            reserved = self._reserve(messages, parameters)
            found = Gathered()
            async with self._answered(body, key, until) as answer:
                if stream:
                    async with contextlib.aclosing(protocol.events(answer.pieces(MOST_BYTES))) as events:  # type: ignore[type-var]
                        async for data in self._in_time(events, until, found):
                            if text := protocol.event(found, data):
                                yield text
                    if not found.done and not found.finish_reason:
                        raise Cut("the stream ended before the answer did")
                else:
                    async with asyncio.timeout_at(_at(until)):
                        found = protocol.whole(await answer.all(MOST_BYTES))
            tokens, counted = self._tokens(found, messages)
            cost = self.price.of(*tokens)
            if reserved is not None and counted:
                reserved.settle(sum(tokens), cost)
            failed = False
            yield found, tokens, cost, counted
        except (EndpointError, TimeoutError, EOFError, Malformed, OSError) as e:
            error = explained(e, self._origin.authority)
            if reserved is not None and not error.billed:
                reserved.release()
            failed = self._speaks(error, began)
            if key and error.has_value and key in repr(error.value):
                error.value = HIDDEN
                error.args = (error.describe(),)
            raise error from None
        finally:
            self.breaker.left(failed)

    def _speaks(self, error: EndpointError, began: float) -> bool | None:
        """Whether a failure speaks against the endpoint: a caller who waits less than a second does not."""
        if isinstance(error, TimedOut) and time.monotonic() - began < min(1.0, self.timeouts.first):
            return None
        return True if error.fault else None

    @contextlib.asynccontextmanager
    async def _answered(self, body: bytes, key: str | None, until: float) -> AsyncIterator[Answer]:
        """An answer with status 200. Raises `EndpointError` for others."""
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "user-agent": f"sluice/{__version__}",
        }
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        times = self.timeouts
        async with self._client().post(_PATH, headers, body, min(times.connect, left), min(times.first, left)) as answer:
            if answer.status != 200:
                async with asyncio.timeout_at(_at(min(until, time.monotonic() + times.idle))):
                    raise self._refusal(answer, await _said(answer, key))
            yield answer

    def _refusal(self, answer: Answer, said: str) -> EndpointError:
        wait = retry_after(answer.headers.get("retry-after"))
        where: dict[str, Any] = {"field": f"endpoint {self._origin.authority}", "status": answer.status, "retry_after": wait}
        if answer.status in (429, 503) and wait:
            self.breaker.asked_to_wait(wait)
        if answer.status == 429:
            return Limited(f"refuses for now (429){said}", fix="send fewer calls, or wait", **where)
        if answer.status >= 500 or answer.status == 408:
            return ServerFault(f"failed ({answer.status}){said}", **where)
        if 300 <= answer.status < 400:
            return Refused(f"lives elsewhere ({answer.status})", fix="set endpoint.url to the address it sends you to", **where)
        fix = {401: "set the key that endpoint.key_env names", 403: "set a key that may use this model", 404: "look at url and model"}
        return Refused(f"does not take the call ({answer.status}){said}", fix=fix.get(answer.status, LOOK), **where)

    async def _in_time(self, events: AsyncIterator[bytes], until: float, found: Gathered) -> AsyncIterator[bytes]:
        """Events, each within what the endpoint may be silent; behind the last one it only has a moment to end the body."""
        while True:
            silent = _END if found.done else self.timeouts.idle
            try:
                async with asyncio.timeout_at(_at(min(until, time.monotonic() + silent))):
                    data = await anext(events)
            except StopAsyncIteration:
                return
            except (TimeoutError, EOFError, Malformed):
                if found.done:
                    return
                raise
            yield data

    def _reserve(self, messages: Messages, parameters: Mapping[str, Any]) -> Reservation | None:
        if self.budget is None:
            return None
        most = parameters.get("max_completion_tokens", parameters.get("max_tokens"))
        if type(most) is not int or most < 1:
            raise ProjectError("must be a whole number of at least 1", field="parameters.max_tokens", value=most)
        tokens = most_tokens([dict(m) for m in messages], most)
        return self.budget.reserve(sum(tokens), self.price.of(*tokens))

    def _tokens(self, found: Gathered, messages: Messages) -> tuple[tuple[int, int], bool]:
        if found.usage is not None:
            return found.usage, True
        said = sum(len(t.encode("utf-8", "replace")) for t in found.text)
        return (-(-sum(protocol.characters(messages)) // 4), -(-said // 4)), False

    # loops
    def _client(self) -> Client:
        loop = asyncio.get_running_loop()
        with self._lock:
            client = self._clients.get(loop)
            if client is None:
                client = self._clients[loop] = Client(self._origin)
        return client

    def _waited(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine on this endpoint's own thread; a fork makes one of its own."""
        with self._lock:
            if self._loop is None or self._loop[0] != os.getpid():
                loop = asyncio.new_event_loop()
                threading.Thread(target=loop.run_forever, name="endpoint", daemon=True).start()
                self._loop = os.getpid(), loop
            loop = self._loop[1]
        future = asyncio.run_coroutine_threadsafe(_one(work), loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


async def _one(work: Any) -> Any:
    """`anext` gives an awaitable that is no coroutine."""
    return await work


def _at(moment: float) -> float:
    """A moment of `time.monotonic` on the running loop's clock."""
    return asyncio.get_running_loop().time() + moment - time.monotonic()


async def _said(answer: Answer, key: str | None) -> str:
    """What an error's body says, shortened, without the key; "" where it says nothing."""
    raw = b""
    with contextlib.suppress(EOFError, Malformed):
        async for piece in answer.pieces(_MOST_ERROR):
            raw += piece
    text = raw.decode("utf-8", "replace")
    with contextlib.suppress(ValueError):
        doc = orjson.loads(raw)
        found = doc.get("error", doc) if isinstance(doc, dict) else doc
        text = str(found.get("message", "")) if isinstance(found, dict) else str(found)
    text = " ".join(hidden(text, key).split())[:300]
    return f": {text}" if text else ""
