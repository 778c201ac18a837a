"""`sluice init --task policy` in an environment of one's own: to promoted, and both protocols asked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import orjson
import pytest

from serving.runtime.protocols.protos import open_inference_pb2 as pb
from tests.integration.serving.server import serving
from tests.tools import corridor
from tests.tools.run import promoted

pytestmark = pytest.mark.timeout(600)
QUICK = (
    "data.source=gym://corridor:Corridor-v0?rows=800&episodes=40",
    "train.timesteps=6000",
    "train.parts=6",
    "train.stop_at=0.9",
    "evaluate.minimum=0.9",
    "rollout.minimum_requests=60",
)


def gate(home: Path, outcome: dict[str, Any], step: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((home / "runs" / outcome["run"] / "gates" / f"{step}.json").read_bytes())
    return found


def test_from_an_environment_to_a_policy_that_serves(tmp_path: Path) -> None:
    folder = tmp_path / "walker"
    subprocess.run([sys.executable, "-m", "sluice", "init", str(folder), "--task", "policy"], check=True, capture_output=True, timeout=60)
    shutil.copy(str(corridor.__file__), folder / "corridor.py")
    outcome, package = promoted(folder, *QUICK)
    home = folder / "home"
    found = gate(home, outcome, "evaluate")["evidence"]
    floor, evaluation = found["floor"]["trivial"], found["evaluation"]
    assert floor["name"] == "acting at random" and floor["low"] > 0
    assert (evaluation["metric"], evaluation["rows"], evaluation["episodes"]["count"]) == ("mean_return", 40, 40)
    assert evaluation["value"] > 0.9 and evaluation["metrics"]["cut_share"]["value"] == 0
    assert "Returns of episodes" in Path(outcome["report"]).read_text()
    assert gate(home, outcome, "export_onnx")["evidence"]["formats"][0]["agreement"] == 1

    with serving(tmp_path / "log", package.root, "--grpc-port", "0") as server:
        name = package.name
        told = server.predict(name, *({"place": i} for i in range(1, 6)))
        assert {t["label"] for t in told} == {"right"} and all(len(t["probabilities"]) == 2 for t in told)
        body = {"inputs": [{"name": "place", "datatype": "FP32", "shape": [2, 1], "data": [1, 5]}]}
        over_v2 = {t["name"]: t["data"] for t in server.post(f"/v2/models/{name}/infer", body)["outputs"]}
        assert over_v2["label"] == ["right", "right"]
        request = pb.ModelInferRequest(model_name=name)
        tensor = request.inputs.add(name="place", datatype="FP32", shape=[2, 1])
        tensor.contents.fp32_contents.extend([1.0, 5.0])
        with grpc.insecure_channel(server.grpc) as channel:
            ask = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelInferResponse.FromString,
            )
            answer = ask(request, timeout=20)
        at = next(i for i, o in enumerate(answer.outputs) if o.name == "probabilities")
        if answer.raw_output_contents:
            values = np.frombuffer(answer.raw_output_contents[at], dtype=np.float32)
        else:
            values = np.array(answer.outputs[at].contents.fp32_contents, dtype=np.float32)
        assert np.allclose(values.reshape(-1), over_v2["probabilities"], atol=1e-6)
        status, _, refused = server.request("POST", f"/v1/models/{name}:predict", {"instances": [{"place": "left of it"}]})
        assert status == 400 and b"place" in refused
