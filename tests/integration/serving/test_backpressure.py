"""Clients that send faster than they read: all of a correct one's requests are answered, and a worker holds no more than it may."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serving.runtime.protocols.protos import open_inference_pb2 as pb
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


MIB = 1 << 20


@pytest.fixture(scope="module")
def tight(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One request of the largest size may be held, and read, at a time."""
    with serving(
        tmp_path_factory.mktemp("tight") / "log",
        packages["points"],
        "--workers",
        "1",
        "--grpc-port",
        "0",
        "--max-body",
        MIB,
        "--max-buffered",
        MIB,
        "--max-rows",
        1 << 20,
        "--body-timeout",
        "3",
    ) as s:
        yield s


def infer(server: Server, rows: int) -> Any:
    """A call's future."""
    request = pb.ModelInferRequest(model_name="points", raw_input_contents=[np.ones((rows, 4), np.float32).tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 4])
    channel = grpc.insecure_channel(server.grpc)
    call = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    return call.future(request, timeout=60)


def codes(futures: list[Any]) -> list[Any]:
    """How calls ended; waits for them."""
    return [f.code() for f in futures]


def test_grpc_requests_share_the_memory_limit_and_leave_nothing_behind(tight: Server) -> None:
    worker = tight.workers()[0]
    before = worker.memory_info().rss
    found = codes([infer(tight, 40_000) for _ in range(40)])
    assert set(found) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED} and grpc.StatusCode.OK in found
    assert worker.memory_info().rss - before < 64 * MIB
    for _ in range(3):  # what was held is given back, else the limit of one request would be used up
        assert codes([infer(tight, 60_000)]) == [grpc.StatusCode.OK]


def test_a_grpc_message_that_never_ends_holds_its_turn_for_the_body_timeout_only(tight: Server) -> None:
    with socket.create_connection(("127.0.0.1", int(str(tight.grpc).rsplit(":", 1)[1])), timeout=20) as s:
        s.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(4, 0, 0, b"")
            + frame(
                1,
                4,
                1,
                b"".join(
                    b"\x00" + bytes([len(k)]) + k + bytes([len(v)]) + v
                    for k, v in (
                        (b":method", b"POST"),
                        (b":scheme", b"http"),
                        (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
                        (b":authority", b"x"),
                        (b"content-type", b"application/grpc"),
                        (b"te", b"trailers"),
                    )
                ),
            )
            + frame(0, 0, 1, struct.pack(">BI", 0, 500_000) + b"part")
        )
        begun = time.monotonic()
        while codes([infer(tight, 1)]) != [grpc.StatusCode.RESOURCE_EXHAUSTED]:
            assert time.monotonic() - begun < 3, "the unfinished message took no turn"
        while codes([infer(tight, 1)]) != [grpc.StatusCode.OK]:
            assert time.monotonic() - begun < 30, "the unfinished message kept its turn"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload
