"""gRPC by the same hostname as REST, by KServe's own client: copied, weighed, counted together, and never failed by a canary."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sluice.rollouts.load_generator import Load, Request
from tests.e2e.conftest import PATIENCE
from tests.integration.rollouts.grpc_load import GrpcLoad, client, image_request

NAME = "digits-e2e-grpc"
HOST = f"{NAME}.example.com"
#: Of each protocol.
MANY, RATE = 10_000, 70.0


def manifest(kube: Any, digest: str, **strategy: Any) -> str:
    found = json.loads(kube.manifest(digest))
    found["metadata"]["name"], found["spec"]["traffic"]["hostname"] = NAME, HOST
    found["spec"]["strategy"] |= {"stepDeadlineSeconds": 900, "readySeconds": 300, **strategy}
    found["spec"]["serving"]["predictor"] |= {"minReplicas": 1, "maxReplicas": 1}
    return json.dumps(found)


def status(kube: Any) -> dict[str, Any]:
    return dict(kube.get("modelrollout", NAME).get("status") or {})


@pytest.fixture(scope="module")
def png(request_body: bytes) -> bytes:
    return base64.b64decode(json.loads(request_body)["instances"][0]["b64"])


@pytest.fixture(scope="module")
def stable(kube: Any, packages: list[str]) -> Iterator[str]:
    """The first package under a rollout of this module's own."""
    kube.forget(NAME)
    kube.run("apply", "-f", "-", stdin=manifest(kube, packages[0]))
    kube.wait(
        lambda: status(kube).get("phase") == "Succeeded" and "gRPC" in status(kube).get("protocols", []), "the first model, with gRPC", 300
    )
    yield packages[0]
    kube.forget(NAME)


def test_kserves_client_asks_the_gateway_and_gets_the_version_that_serves(kube: Any, gateway: str, stable: str, png: bytes) -> None:
    async def ask() -> Any:
        async with client(f"{gateway}:80", HOST) as one:
            assert await one.is_server_ready()
            assert await one.is_model_ready("digits")
            return await one.infer(image_request("digits", png))

    answer = kube.wait(lambda: _tried(ask), "an answer by gRPC", 60)
    labels = next(o for o in answer.outputs if o.name == "label")
    assert answer.model_version == stable[:12]
    assert [x.decode() if isinstance(x, bytes) else x for x in labels.as_numpy().ravel().tolist()] == ["0"]


def _tried(ask: Any) -> Any:
    import grpc

    try:
        return asyncio.run(asyncio.wait_for(ask(), 20))
    except (grpc.RpcError, TimeoutError) as e:
        raise AssertionError(str(e)) from e


def test_a_canary_whose_controller_is_killed_fails_none_of_ten_thousand_requests_of_each_protocol(
    kube: Any, gateway: str, stable: str, packages: list[str], png: bytes, request_body: bytes
) -> None:
    headers = {"host": HOST, "content-type": "application/json"}
    rest = Load((gateway, 80), [Request(request_body, "/v1/models/digits:predict", None, headers)], RATE, arm_header="x-sluice-version")
    kills, lines = 0, []
    with GrpcLoad(f"{gateway}:80", image_request("digits", png), host=HOST, rate=RATE) as grpc:
        time.sleep(3)
        kube.run("apply", "-f", "-", stdin=manifest(kube, packages[1], minimumRequests=1500))
        # By gRPC alone: what is copied in the shadow is counted.
        kube.wait(lambda: status(kube).get("phase") in ("Warmup", "Step"), "the end of the shadow, with gRPC alone", 300)
        rest.start()
        end, killed = time.monotonic() + PATIENCE * 780, 0.0
        while rest.sent < MANY or grpc.sent < MANY or status(kube).get("stable", "")[:12] != packages[1][:12]:
            now = status(kube)
            lines.append((now["phase"], now.get("step"), now.get("weight"), now.get("requests")))
            assert now["phase"] not in ("RolledBack", "Failed"), now["message"]
            assert time.monotonic() < end, (now, rest.sent, grpc.sent)
            # One that has looked since: on a busy machine the next one takes longer than the 20 s, and other files' rollouts wait for it too.
            at_work = time.time() - killed > 20 and (now["state"].get("last_time") or 0) > killed
            if at_work and now.get("stable", "")[:12] != packages[1][:12]:
                killed, kills = time.time(), kills + 1
                kube.run("delete", "pod", "-l", "app.kubernetes.io/name=sluice-controller", "--force", "--grace-period=0", "--wait=false")
            time.sleep(3)
    rest.stop()
    report = rest.report()
    print(
        f"\n{grpc.sent:,} by gRPC {dict(grpc.by_version)}, failed {dict(grpc.failures)}; {report['sent']:,} by REST {report['by_arm']}, "
        f"failed {report['failed']} {report['reasons']}; {kills} kills of the controller; {len({*lines})} lines"
    )
    assert not grpc.failures
    assert report["failed"] == 0, report["reasons"]
    assert kills >= 3
    versions = {p[:12] for p in packages}
    assert set(grpc.by_version) == versions
    assert {v[:12] for v in report["by_arm"]} == versions
    numbers = [h["sequence"] for h in status(kube)["history"]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
