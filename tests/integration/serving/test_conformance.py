"""KServe's own clients, and the specification's examples, against the server."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Coroutine
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import InferResponse, RequestedOutput

from serving.runtime import users
from tests.integration.serving.server import Server
from tests.unit.serving.builders import png, wav

POINT = np.array([[0.0, 3.0, 0.0, 1.0], [5.0, 0.0, 0.0, 0.0]], dtype=np.float32)
PICTURE = np.full((4, 4), 0, dtype=np.uint8)
PICTURE[3] = 255


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def rest(server: Server, model: str, data: Any, protocol: str = "v2", **kwargs: Any) -> Any:
    async def ask() -> Any:
        async with InferenceRESTClient(RESTConfig(protocol=protocol, timeout=20)) as client:
            return await client.infer(server.url, data, model_name=model, **kwargs)

    return run(ask())


def remote(server: Server, request: InferRequest, **kwargs: Any) -> Any:
    async def ask() -> Any:
        async with InferenceGRPCClient(server.grpc, timeout=20) as client:
            return await client.infer(request, **kwargs)

    return run(ask())


def request(
    model: str,
    name: str,
    array: np.ndarray,
    datatype: str,
    *,
    binary: bool,
    outputs: list[str] | None = None,
    out_binary: bool | None = None,
) -> InferRequest:
    given = InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    wanted = [RequestedOutput(o, {"binary_data": binary if out_binary is None else out_binary}) for o in outputs] if outputs else None
    return InferRequest(model, [given], request_id="r-1", request_outputs=wanted)


def labels(response: InferResponse) -> list[str]:
    found = next(o for o in response.outputs if o.name == "label").as_numpy().ravel().tolist()
    return [v.decode() if isinstance(v, bytes) else v for v in found]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("out_binary", [False, True])
def test_rest_client_gets_tensors_in_json_and_binary(server: Server, binary: bool, out_binary: bool) -> None:
    response = rest(
        server, "points", request("points", "x", POINT, "FP32", binary=binary, outputs=["probabilities", "label"], out_binary=out_binary)
    )
    assert response.id == "r-1" and response.model_name == "points"
    probabilities = next(o for o in response.outputs if o.name == "probabilities").as_numpy()
    assert probabilities.shape == (2, 3) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert labels(response) == ["b", "a"]


@pytest.mark.parametrize("binary", [False, True])
def test_rest_client_sends_raw_texts(server: Server, binary: bool) -> None:
    texts = np.array([b"send money home", b"book a flight"], dtype=object)
    response = rest(server, "intents", request("intents", "text", texts, "BYTES", binary=binary))
    singly = [server.predict("intents", t.decode())[0]["label"] for t in texts]
    assert labels(response) == singly


def test_rest_client_sends_raw_images_binary_and_base64(server: Server) -> None:
    raw = png(PICTURE)
    as_binary = rest(server, "digits", request("digits", "image", np.array([raw], dtype=object), "BYTES", binary=True, out_binary=False))
    as_text = rest(server, "digits", request("digits", "image", np.array([base64.b64encode(raw)], dtype=object), "BYTES", binary=False))
    as_pixels = rest(server, "digits", request("digits", "image", PICTURE[None, None], "UINT8", binary=True, out_binary=False))
    assert labels(as_binary) == labels(as_text) == labels(as_pixels) == ["c"]


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_clients_send_recordings_over_every_protocol(server: Server, rate: int) -> None:
    at = np.arange(rate // 10) / rate
    raw = wav(np.sin(2 * np.pi * 300 * at) * np.where(at * 30 >= 2, 0.9, 0.01), rate)  # loud in its last third
    as_binary = rest(server, "words", request("words", "audio", np.array([raw], dtype=object), "BYTES", binary=True, out_binary=False))
    as_text = rest(server, "words", request("words", "audio", np.array([base64.b64encode(raw)], dtype=object), "BYTES", binary=False))
    over_grpc = remote(server, request("words", "audio", np.array([raw], dtype=object), "BYTES", binary=True))
    assert labels(as_binary) == labels(as_text) == labels(over_grpc) == ["c"]
    assert server.predict("words", {"b64": base64.b64encode(raw).decode()})[0]["label"] == "c"
    assert server.predict("words", {"audio": [0.5] * 200 + [0.0] * 600})[0]["label"] == "a"


def test_rest_client_sends_columns(server: Server) -> None:
    age, job = InferInput("age", [2, 1], "FP32"), InferInput("job", [2, 1], "BYTES")
    age.set_data_from_numpy(np.array([[80.0], [1.0]], np.float32), binary_data=False)
    job.set_data_from_numpy(np.array([["cook"], ["cook"]], dtype=object), binary_data=False)
    response = rest(server, "churn", InferRequest("churn", [age, job]))
    assert (
        labels(response)
        == [p["label"] for p in server.predict("churn", {"age": 80, "job": "cook"}, {"age": 1, "job": "cook"})]
        == ["a", "b"]
    )


def test_rest_client_v1(server: Server) -> None:
    answer = rest(server, "points", {"instances": POINT.tolist()}, protocol="v1")
    assert [p["label"] for p in answer["predictions"]] == ["b", "a"]
    assert answer["predictions"][0]["probability"] == answer["predictions"][0]["probabilities"]["b"]


def test_rest_client_health(server: Server) -> None:
    async def ask() -> list[Any]:
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as v2, InferenceRESTClient(RESTConfig(protocol="v1")) as v1:
            return [
                await v2.is_server_live(server.url),
                await v2.is_server_ready(server.url),
                await v2.is_model_ready(server.url, "points"),
                await v2.is_model_ready(server.url, "none"),
                await v1.is_server_live(server.url),
                await v1.is_model_ready(server.url, "points"),
            ]

    assert run(ask()) == [True, True, True, False, True, True]


def test_rest_client_hears_why(server: Server) -> None:
    with pytest.raises(httpx.HTTPStatusError, match=r"has shape \[2, 4\].*400 Bad Request|x.*shape"):
        rest(server, "points", request("points", "x", POINT[:, :2], "FP32", binary=False))
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        rest(server, "none", request("none", "x", POINT, "FP32", binary=False))


@pytest.mark.parametrize("binary", [False, True])
def test_grpc_client_gets_tensors_raw_and_typed(server: Server, binary: bool) -> None:
    response = remote(server, request("points", "x", POINT, "FP32", binary=binary))
    assert response.id == "r-1" and response.model_name == "points"
    probabilities = next(o for o in response.outputs if o.name == "probabilities").as_numpy()
    assert probabilities.shape == (2, 3) and labels(response) == ["b", "a"]


def test_grpc_client_sends_raw_texts_images_and_columns(server: Server) -> None:
    texts = np.array([b"what is my balance"], dtype=object)
    assert labels(remote(server, request("intents", "text", texts, "BYTES", binary=True))) == [
        server.predict("intents", texts[0].decode())[0]["label"]
    ]
    assert labels(remote(server, request("digits", "image", np.array([png(PICTURE)], dtype=object), "BYTES", binary=True))) == ["c"]
    age, job = InferInput("age", [1, 1], "FP32"), InferInput("job", [1, 1], "BYTES")
    age.set_data_from_numpy(np.array([[80.0]], np.float32), binary_data=True)
    job.set_data_from_numpy(np.array([["cook"]], dtype=object), binary_data=True)
    assert labels(remote(server, InferRequest("churn", [age, job]))) == ["a"]


def test_grpc_metadata_names_the_user_as_the_header_does(server: Server) -> None:
    group = str(users.group_of(b"grpc-user"))
    before = server.metric("sluice_user_requests_total", model="points", group=group)
    remote(server, request("points", "x", POINT, "FP32", binary=True), headers=[("x-sluice-user", "grpc-user")])
    remote(server, request("points", "x", POINT, "FP32", binary=True), headers=[("cookie", f"sluice-group={group}")])
    remote(server, request("points", "x", POINT, "FP32", binary=True))
    assert server.metric("sluice_user_requests_total", model="points", group=group) == before + 2


def test_grpc_client_health(server: Server) -> None:
    async def ask() -> list[bool]:
        async with InferenceGRPCClient(server.grpc) as client:
            return [await client.is_server_live(), await client.is_server_ready(), await client.is_model_ready("points")]

    assert run(ask()) == [True, True, True]


@pytest.mark.parametrize(
    ("model", "shape", "code"), [("none", 4, grpc.StatusCode.NOT_FOUND), ("points", 2, grpc.StatusCode.INVALID_ARGUMENT)]
)
def test_grpc_errors_have_their_codes(server: Server, model: str, shape: int, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as e:
        remote(server, request(model, "x", POINT[:, :shape], "FP32", binary=True))
    assert e.value.code() == code and e.value.details()


def test_grpc_health_protocol(server: Server) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=10) == b"\x08\x01"


def test_metadata_describes_what_is_taken_and_given(server: Server) -> None:
    assert server.get("/v2")["name"] == "sluice" and "binary_tensor_data" in server.get("/v2")["extensions"]
    found = server.get("/v2/models/intents")
    assert found["platform"] == "onnx_onnxv1" and found["name"] == "intents"
    assert {t["name"] for t in found["inputs"]} == {"input_ids", "attention_mask", "text"}
    assert {t["name"] for t in found["outputs"]} == {"probabilities", "label"}
    assert server.get(f"/v2/models/intents/versions/{found['versions'][0]}/ready")["ready"] is True


def test_the_specifications_example_request(server: Server) -> None:
    body = {
        "id": "42",
        "inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [[0, 3, 0, 1], [5, 0, 0, 0]]}],
        "outputs": [{"name": "probabilities"}],
    }
    answer = server.post("/v2/models/points/infer", body)
    assert answer["id"] == "42" and [o["name"] for o in answer["outputs"]] == ["probabilities"]
    output = answer["outputs"][0]
    assert output["shape"] == [2, 3] and output["datatype"] == "FP32" and len(output["data"]) == 6


def test_answers_name_their_version(server: Server) -> None:
    status, headers, _ = server.request("POST", "/v1/models/points:predict", {"instances": [[1, 2, 3, 4]]}, {"x-request-id": "mine-1"})
    assert status == 200 and len(headers["x-sluice-version"]) == 64 and headers["x-request-id"] == "mine-1"
    assert server.get("/v2/models/points")["parameters"]["digest"] == headers["x-sluice-version"]
