"""A model endpoint that plays faults by a script: slow, 429, 500, cut streams, wrong JSON. It answers nothing a model would.

An answer repeats the last message, so that one given to another's question is seen, and what was billed is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson

#: (the request's body, how many came before it) -> what is played.
Script = Callable[[dict[str, Any], int], str]

FAULTS = (
    "slow",
    "hang",
    "429",
    "429 wait",
    "500",
    "503",
    "400",
    "cut head",
    "cut body",
    "bad json",
    "no choice",
    "huge",
    "not http",
    "no usage",
)


class Scripted:
    """The endpoint, on a thread of its own.

    Args:
        script: what is played.
        answer: text for a question; by default the question again.
        hangs: seconds of ``hang``.
        model: what it says it is.
        address: where it listens; port 0: any that is free.

    Attributes:
        url: of its API.
        asked: how often each text was asked.
        played: how often each thing was played.
        billed: tokens of all answers that were begun, as a provider would count them.
        headers, bodies: of the last request, and of all.
    """

    url: str

    def __init__(
        self,
        script: Script = lambda body, n: "ok",
        answer: Callable[[str], str] = str,
        hangs: float = 30.0,
        slow: float = 0.3,
        model: str = "played-1",
        address: tuple[str, int] = ("127.0.0.1", 0),
    ):
        self.address = address
        self.script, self.answer, self.hangs, self.slow, self.model = script, answer, hangs, slow, model
        self.asked: Counter[str] = Counter()
        self.played: Counter[str] = Counter()
        self.billed = 0
        self.headers: dict[str, str] = {}
        self.bodies: list[dict[str, Any]] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, *self.address, backlog=1024))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(EOFError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
                body = orjson.loads(await reader.readexactly(int(headers.get("content-length", 0))))
                self.headers = headers
                if not await self._answer(writer, body):
                    break
                await writer.drain()
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        """Play the answer. False: the connection ends."""
        question = body["messages"][-1]["content"]
        play = self.script(body, len(self.bodies))
        self.asked[question] += 1
        self.played[play] += 1
        self.bodies.append(body)
        text = self.answer(question)
        tokens = sum(len(m["content"].encode()) for m in body["messages"]), min(len(text), body.get("max_tokens", 1 << 30))
        if play in ("429", "429 wait", "500", "503", "400"):
            extra = {"retry-after": "1"} if play == "429 wait" else {}
            error = {"error": {"message": f"played; you sent {self.headers.get('authorization')}"}}
            _write(writer, int(play[:3]), orjson.dumps(error), extra)
            return True
        self.billed += sum(tokens)
        if play in ("hang", "slow"):
            await asyncio.sleep(self.hangs if play == "hang" else self.slow)
        if play in ("cut head", "not http"):
            writer.write(b"SSH-2.0-OpenSSH\r\n\r\n" if play == "not http" else b"")
            return False
        usage = {} if play == "no usage" else {"usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}}
        if body.get("stream"):
            return await self._stream(writer, text, usage, play)
        message = {"role": "assistant", "content": text}
        doc: dict[str, Any] = {"model": self.model, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **usage}
        wrong = {"bad json": b'{"choices": [', "no choice": b'{"choices": []}', "huge": b" " * (9 << 20)}
        raw = wrong.get(play) or orjson.dumps(doc)
        if play == "cut body":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(raw) + raw[:20])
            return False
        _write(writer, 200, raw, {})
        return True

    async def _stream(self, writer: asyncio.StreamWriter, text: str, usage: dict[str, Any], play: str) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        wrong = {"bad json": b"{nonsense", "no choice": b'{"choices": "none"}', "huge": b" " * (9 << 20)}
        for n, piece in enumerate(text[i : i + 7] for i in range(0, len(text), 7)):
            if n == 1 and play == "cut body":
                return False
            if n == 1 and play in wrong:
                _event(writer, wrong[play])
            _event(writer, orjson.dumps({"model": self.model, "choices": [{"index": 0, "delta": {"content": piece}}]}))
            await writer.drain()
        _event(writer, orjson.dumps({"model": self.model, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        if usage:
            _event(writer, orjson.dumps({"model": self.model, "choices": [], **usage}))
        _event(writer, b"[DONE]")
        writer.write(b"0\r\n\r\n")
        return True

    @contextmanager
    def serving(self) -> Iterator[Scripted]:
        """The endpoint up, and down behind the block."""
        self._thread.start()
        assert self._ready.wait(5)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)


def _event(writer: asyncio.StreamWriter, data: bytes) -> None:
    whole = b"data: " + data + b"\n\n"
    writer.write(b"%x\r\n%b\r\n" % (len(whole), whole))


def _write(writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str]) -> None:
    lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items()).encode()
    head = b"HTTP/1.1 %d Played\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n" % (status, len(body), lines)
    writer.write(head + body)
