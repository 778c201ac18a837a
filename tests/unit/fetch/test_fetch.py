"""Reads from addresses that answer slowly, without end, or not in HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sluice.core import fetch

Script = Callable[[socket.socket], None]


@pytest.fixture
def served() -> Iterator[Callable[[Script], str]]:
    """A server that answers each connection by a script; gives its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    scripts: list[Script] = []

    def serve() -> None:
        while True:
            try:
                s, _ = listening.accept()
            except OSError:
                return
            with s:
                try:
                    s.recv(65536)
                    scripts[0](s)
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()

    def start(script: Script) -> str:
        scripts[:] = [script]
        return f"http://127.0.0.1:{listening.getsockname()[1]}/page"

    yield start
    listening.close()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"


def drip(data: bytes, times: int = 200) -> Script:
    def script(s: socket.socket) -> None:
        for _ in range(times):
            s.sendall(data)
            time.sleep(0.05)

    return script


def test_a_whole_answer_is_given_with_its_status(served: Callable[[Script], str]) -> None:
    url = served(lambda s: s.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nnever"))
    assert fetch.get(url, seconds=5, limit=5) == (404, b"never")


@pytest.mark.parametrize(
    "script",
    [
        drip(HEAD[:1]),
        lambda s: (s.sendall(HEAD), drip(b"x-more: 1\r\n")(s)),
        lambda s: (s.sendall(HEAD + b"\r\n"), drip(b"x")(s)),
        lambda s: (s.sendall(HEAD + b"content-length: 9\r\n\r\nx"), time.sleep(5)),
        lambda s: time.sleep(5),
    ],
)
def test_an_answer_that_trickles_is_given_up_when_its_time_is_over(served: Callable[[Script], str], script: Script) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no whole answer in 0\.4 s"):
        fetch.get(served(script), seconds=0.4, limit=1 << 20)
    assert time.monotonic() - begun < 4


def test_an_answer_without_end_is_given_up_at_the_limit(served: Callable[[Script], str]) -> None:
    def flood(s: socket.socket) -> None:
        s.sendall(HEAD + b"\r\n")
        while True:
            s.sendall(b"x" * 65536)

    with pytest.raises(OSError, match="more than 1000000 bytes"):
        fetch.get(served(flood), seconds=30, limit=1_000_000)


def test_what_is_no_http_and_who_is_not_there_are_errors_of_one_kind(served: Callable[[Script], str]) -> None:
    for url in (served(lambda s: s.sendall(b"SSH-2.0-x\r\n")), "http://127.0.0.1:1/", "http://127.0.0.1:99999/", "http://[::1/"):
        with pytest.raises(OSError):
            fetch.get(url, seconds=5, limit=10)
