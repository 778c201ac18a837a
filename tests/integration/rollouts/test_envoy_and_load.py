"""The data plane by itself: weights changed live under load, and a load generator that counts every failure."""

from __future__ import annotations

import contextlib
import math
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sluice.core.errors import SluiceError
from sluice.core.processes import free_port, spawn, stop, wait_until
from sluice.rollouts.envoy import Envoy, get
from sluice.rollouts.load_generator import Load, Request

HERE = Path(__file__).parent
Serve = Callable[..., tuple[str, int]]


@pytest.fixture
def serve(make: Callable[..., Path]) -> Iterator[Serve]:
    running = []

    def start(name: str, **behaviour: object) -> tuple[str, int]:
        port = free_port()
        command = [
            sys.executable,
            str(HERE / "standin.py"),
            str(make(name, **behaviour)),
            "--name",
            "m",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--slo-ms",
            "200",
            "--digest",
            name,
        ]
        running.append(spawn(command))

        def up() -> bool:
            try:
                return get(("127.0.0.1", port), "/v2/health/ready")[0] == 200
            except OSError:
                return False

        wait_until(up, what=name, seconds=20, process=running[-1])
        return "127.0.0.1", port

    yield start
    for process in running:
        stop(process)


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[Envoy]:
    e = Envoy(tmp_path / "envoy")
    e.start()
    yield e
    e.stop()


def test_twenty_weight_changes_under_load_fail_no_request(serve: Serve, envoy: Envoy, requests: list[Request]):
    addresses = {"a": serve("a"), "b": serve("b")}
    envoy.route(addresses, {"a": 100}, None)
    wait_until(lambda: envoy.routed() is not None, what="routes", seconds=10)
    load = Load(("127.0.0.1", envoy.port), requests, 300)
    load.start()
    for i in range(20):
        envoy.route(addresses, {"a": 100 - 5 * i, "b": 5 * i}, "b" if i % 2 else None)
        time.sleep(0.1)
        routed = envoy.routed()
        assert routed is not None and routed.weights.get("b", 0) == 5 * i and routed.mirror == ("b" if i % 2 else None)
    load.stop()
    report = load.report()
    assert report["failed"] == 0 and report["sent"] == report["answered"] > 100  # of 300 a second, on whatever machine
    assert set(report["by_arm"]) == {"a", "b"}


def test_weights_split_within_three_sigma(serve: Serve, envoy: Envoy, requests: list[Request]):
    envoy.route({"a": serve("a"), "b": serve("b")}, {"a": 80, "b": 20}, None)
    wait_until(lambda: envoy.routed() is not None, what="routes", seconds=10)
    load = Load(("127.0.0.1", envoy.port), requests, 600)
    load.start()
    time.sleep(3)
    load.stop()
    by_arm = load.report()["by_arm"]
    n = sum(by_arm.values())
    assert abs(by_arm["b"] - 0.2 * n) <= 3 * math.sqrt(n * 0.2 * 0.8)


def test_mirror_copies_requests_whose_answers_nobody_sees(serve: Serve, envoy: Envoy, requests: list[Request]):
    a, b = serve("a"), serve("b", error_share=1.0)
    envoy.route({"a": a, "b": b}, {"a": 100}, "b")
    wait_until(lambda: envoy.routed() is not None, what="routes", seconds=10)
    load = Load(("127.0.0.1", envoy.port), requests, 200)
    load.start()
    time.sleep(1.5)
    load.stop()
    time.sleep(0.2)
    assert load.report()["failed"] == 0
    copies = [line for line in get(b, "/metrics")[1].decode().splitlines() if 'code="500"' in line]
    assert int(copies[0].split()[-1]) == load.report()["sent"]


def test_request_to_a_process_that_is_gone_is_taken_by_the_fallback(serve: Serve, envoy: Envoy, requests: list[Request]):
    envoy.route({"a": serve("a"), "gone": ("127.0.0.1", free_port())}, {"a": 50, "gone": 50}, None, fallback="a")
    wait_until(lambda: envoy.routed() is not None, what="routes", seconds=10)
    load = Load(("127.0.0.1", envoy.port), requests, 200)
    load.start()
    time.sleep(1)
    load.stop()
    assert load.report()["failed"] == 0


def test_before_the_first_route_envoy_answers_503(envoy: Envoy):
    assert envoy.routed() is None
    assert get(("127.0.0.1", envoy.port), "/")[0] == 503


def test_envoy_that_cannot_listen_says_why(tmp_path: Path, envoy: Envoy):
    second = Envoy(tmp_path / "second", port=envoy.port)
    with pytest.raises(SluiceError, match="in use"):
        second.start()


def test_attached_envoy_is_steered_by_another_object(serve: Serve, envoy: Envoy):
    envoy.route({"a": serve("a")}, {"a": 100}, None)
    other = Envoy(envoy.root).attach()
    wait_until(lambda: other.routed() is not None, what="routes", seconds=10)
    other.route({}, {"a": 40, "z": 60}, None)
    wait_until(lambda: (envoy.routed() or other).weights == {"a": 40, "z": 60}, what="new routes", seconds=10)  # type: ignore[union-attr]


class Raw(socketserver.ThreadingTCPServer):
    """A TCP server whose handler may misbehave as no HTTP server does."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, behave: Callable[[socket.socket], None]):
        self.behave = behave
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        with contextlib.suppress(OSError):
            self.behave(request)


def hang_up(s: socket.socket) -> None:
    s.recv(10)


def never_answer(s: socket.socket) -> None:
    while s.recv(1000):
        pass


def talk_nonsense(s: socket.socket) -> None:
    s.recv(1000)
    s.sendall(b"220 smtp.example ready\r\n")
    s.recv(1000)


def fail_every_second(s: socket.socket) -> None:
    n = 0
    while s.recv(65536):
        n += 1
        s.sendall(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}" % (500 if n % 2 else 200))


@pytest.mark.parametrize(
    ("behave", "why", "share"),
    [
        (hang_up, "connection lost", 1.0),
        (never_answer, "no answer in 1 s", 1.0),
        (talk_nonsense, "not HTTP", 1.0),
        (fail_every_second, "status 500", 0.5),
        (None, "cannot connect", 1.0),
    ],
)
def test_load_counts_every_kind_of_failure(behave: Callable[..., object] | None, why: str, share: float, requests: list[Request]):
    server = Raw(behave) if behave else None
    load = Load(
        ("127.0.0.1", server.server_address[1] if server else free_port()), requests, 50, connections=1 if share < 1 else 64, timeout=1
    )
    load.start()
    time.sleep(0.6)
    load.stop()
    if server:
        server.shutdown()
        server.server_close()
    report = load.report()
    assert report["sent"] == report["answered"] > 5
    assert report["failed"] / report["sent"] == pytest.approx(share, abs=0.1)
    assert any(why in reason for reason in report["reasons"])


def test_load_without_requests_is_refused():
    with pytest.raises(SluiceError, match="needs requests"):
        Load(("127.0.0.1", 1), [], 10)
