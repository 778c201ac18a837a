"""gRPC and REST by one address through a real Envoy to real model servers: by the same weights, mirrored, and counted together."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import grpc
import pytest

from sluice.core.processes import wait_until
from sluice.rollouts.envoy import get
from sluice.rollouts.load_generator import Load
from sluice.rollouts.local import LocalBackend
from sluice.rollouts.prometheus_text import counts
from sluice.rollouts.spec import RolloutSpec
from tests.integration.rollouts.grpc_load import GrpcLoad, client, image_request


def _digits() -> ModuleType:
    spec = importlib.util.spec_from_file_location("digits", Path(__file__).with_name("digits.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


digits = _digits()


class Arms:
    """Two models behind one Envoy, as a rollout on this machine has them."""

    def __init__(self, root: Path):
        packages = {name: digits.build(root / name, "digits", rows) for name, rows in (("stable", 150), ("candidate", 600))}
        self.requests = digits.requests("digits", 50)
        self.digests = {name: digits.package.read(p).digest for name, p in packages.items()}
        self.stable, self.candidate = self.digests["stable"], self.digests["candidate"]
        self.backend = LocalBackend(
            root / "rollout",
            "digits",
            [sys.executable, "-m", "serving.runtime"],
            {self.digests[n]: p for n, p in packages.items()},
            RolloutSpec(),
        )
        self.backend.start()
        for digest in (self.stable, self.candidate):
            self.backend.launch(digest)
        for model in self.backend.models.values():
            wait_until(lambda model=model: model.look(revive=False).ready, what="a server", seconds=60, log=model.log)  # type: ignore[misc]
        self.port = self.backend.envoy.port

    def route(self, weight: int, mirror: bool = False) -> None:
        weights = {d: w for d, w in ((self.stable, 100 - weight), (self.candidate, weight)) if w}
        self.backend.observe(self.stable, self.candidate)
        self.backend.envoy.route(
            {d: m.address for d, m in self.backend.models.items()},
            weights,
            self.candidate if mirror else None,
            self.stable,
            100,
            {d: m.grpc for d, m in self.backend.models.items()},
        )

        def taken() -> bool:
            routed = self.backend.envoy.routed()
            return routed is not None and dict(routed.weights) == weights and routed.mirror == (self.candidate if mirror else None)

        wait_until(taken, what="the route", seconds=10, every=0.01)

    def counted(self) -> dict[str, float]:
        """Requests by arm, as a rollout's evidence counts them."""
        return {d: counts(get(m.address, "/metrics")[1].decode(), 0.2)["requests"] for d, m in self.backend.models.items()}

    def load(self, **how: object) -> GrpcLoad:
        return GrpcLoad(f"127.0.0.1:{self.port}", image_request("digits", PNG), **how)  # type: ignore[arg-type]


def _png() -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(digits.rows()[0][0]).save(out, "PNG")
    return out.getvalue()


PNG = _png()


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arms]:
    made = Arms(tmp_path_factory.mktemp("arms"))
    yield made
    made.backend.leave(None)


def test_weights_split_grpc_as_they_split_rest_and_one_counter_counts_both(arms: Arms):
    arms.route(30)
    before = arms.counted()
    rest = Load(("127.0.0.1", arms.port), arms.requests, 150)
    with arms.load(rate=150, most=400) as load:
        rest.start()
        load.wait(60)
    rest.stop()
    n = load.by_version.total()
    assert not load.failures and n >= 400 and set(load.by_version) == {d[:12] for d in arms.digests.values()}
    assert abs(load.by_version[arms.candidate[:12]] - 0.3 * n) <= 3.5 * math.sqrt(n * 0.3 * 0.7)
    report = rest.report()
    assert report["failed"] == 0
    for digest, was in before.items():
        assert arms.counted()[digest] - was == load.by_version[digest[:12]] + report["by_arm"].get(digest, 0)


def test_a_mirrored_call_is_counted_by_the_shadow_and_answered_by_stable(arms: Arms):
    arms.route(0, mirror=True)
    before = arms.counted()
    with arms.load(rate=100, most=150) as load:
        load.wait(60)
    assert not load.failures and set(load.by_version) == {arms.stable[:12]}

    def copied() -> bool:
        return all(arms.counted()[d] - was == load.sent for d, was in before.items())

    wait_until(copied, what=f"{load.sent} in both arms", seconds=10)
    page = get(arms.backend.models[arms.candidate].address, "/metrics")[1].decode()
    assert counts(page, 0.2)["errors"] == 0, [line for line in page.splitlines() if "requests_total" in line]


def test_weights_that_change_under_load_fail_no_call(arms: Arms):
    with arms.load(rate=200) as load:
        for i in range(10):
            arms.route(10 * i, mirror=i == 0)
            time.sleep(0.05)
        arms.route(100)
        time.sleep(0.2)
    assert not load.failures and load.by_version.total() == load.sent > 100
    arms.route(0)


def test_health_and_metadata_go_the_same_way_and_what_is_no_call_of_a_model_gets_its_own_error(arms: Arms):
    arms.route(0)

    async def ask() -> None:
        async with client(f"127.0.0.1:{arms.port}") as one:
            assert await one.is_server_live() and await one.is_server_ready() and await one.is_model_ready("digits")
            with pytest.raises(grpc.RpcError) as refused:
                await one.infer(image_request("nobody", PNG))
            assert refused.value.code() == grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{arms.port}") as channel:
            assert await channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"

    asyncio.run(asyncio.wait_for(ask(), 30))


def test_a_call_to_a_candidate_that_is_gone_is_taken_by_stable(arms: Arms):
    arms.route(50)
    model = arms.backend.models[arms.candidate]
    model.stop()

    def gone() -> bool:
        with socket.socket() as s:
            return s.connect_ex(model.grpc) != 0

    wait_until(gone, what="the workers' end", seconds=20)
    with arms.load(rate=100, most=60) as load:
        load.wait(60)
    assert not load.failures and set(load.by_version) == {arms.stable[:12]}
