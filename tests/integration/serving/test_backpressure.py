"""Clients that send faster than they read: all of a correct one's requests are answered, and a worker holds no more than it may."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.serving.server import Server, serving

LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nx-filler: " + b"f" * 120 + b"\r\n\r\n"
PAGE = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def one(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("one") / "log", packages["points"], "--workers", "1", "--write-timeout", "20") as s:
        yield s


def answers(s: socket.socket, wanted: int) -> tuple[int, int]:
    """Reads until `wanted` answers came or the server closed: (answered with 200, others)."""
    fine = other = 0
    rest = b""
    while fine + other < wanted and (got := s.recv(1 << 18)):
        *whole, rest = (rest + got).split(b"HTTP/1.1 ")
        for i, part in enumerate(whole):
            if i or part:
                fine, other = fine + part.startswith(b"200"), other + (bool(part) and not part.startswith(b"200"))
        rest = b"HTTP/1.1 " + rest if rest else b""
        if fine + other == wanted - 1 and rest.startswith(b"HTTP/1.1 200"):  # the last one has no follower
            fine += 1
    return fine, other


def test_a_client_that_pipelines_without_end_gets_every_answer(one: Server) -> None:
    count = 12_000
    with socket.create_connection(("127.0.0.1", one.port), timeout=60) as s:
        sender = threading.Thread(target=s.sendall, args=(LIVE * count,))
        sender.start()
        assert answers(s, count) == (count, 0)
        sender.join()


def test_a_head_that_does_not_end_is_still_refused_behind_a_pipeline(one: Server) -> None:
    with socket.create_connection(("127.0.0.1", one.port), timeout=20) as s:
        s.sendall(LIVE * 50 + b"GET /v2/health/live HTTP/1.1\r\nx-endless: ")
        fine, _ = answers(s, 50)
        assert fine == 50
        told = b""
        try:
            for _ in range(40):
                s.sendall(b"e" * 4096)
                time.sleep(0.005)
            while got := s.recv(65536):
                told += got
        except (ConnectionResetError, BrokenPipeError):
            pass
        assert b" 431 " in told or told == b""
    assert one.metrics()['sluice_http_refused_total{reason="head"}'] >= 1


def test_a_client_that_does_not_read_is_not_read_and_costs_no_memory(one: Server) -> None:
    worker = one.workers()[0]
    before = worker.memory_info().rss
    with socket.create_connection(("127.0.0.1", one.port), timeout=1) as s:
        sent, end = 0, time.monotonic() + 6
        while time.monotonic() < end:
            try:
                sent += s.send(PAGE * 500)
            except TimeoutError:
                break
        else:
            pytest.fail(f"the server took {sent:,} bytes of requests from a client that reads nothing")
        assert worker.memory_info().rss - before < 24 << 20, sent
        # It goes on where it was left: what is read now lets the rest through.
        s.settimeout(20)
        assert answers(s, 200)[0] >= 200
    assert one.predict("points", [0, 9, 0, 0])[0]["label"] == "b"
