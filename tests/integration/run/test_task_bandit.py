"""`sluice init --task bandit`: from logged decisions to a policy that beats them, a second one, and both protocols asked."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest

from serving.runtime.protocols.protos import open_inference_pb2 as pb
from tests.integration.serving.server import serving
from tests.tools.run import promoted

pytestmark = pytest.mark.timeout(600)


def gate(home: Path, outcome: dict[str, Any], step: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((home / "runs" / outcome["run"] / "gates" / f"{step}.json").read_bytes())
    return found


def test_from_logged_decisions_to_a_policy_that_beats_them(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    subprocess.run([sys.executable, "-m", "sluice", "init", str(folder), "--task", "bandit"], check=True, capture_output=True, timeout=60)
    outcome, package = promoted(folder, "rollout.minimum_requests=60")
    home = folder / "home"
    found = gate(home, outcome, "evaluate")["evidence"]
    floor, evaluation = found["floor"]["trivial"], found["evaluation"]
    assert floor["name"] == "the policy that logged" and floor["low"] > 0
    assert evaluation["metric"] == "dr" and set(evaluation["metrics"]) == {"dr", "snips", "ips"}
    assert evaluation["off_policy"]["logged_mean"] == pytest.approx(floor["baseline"])
    assert evaluation["off_policy"]["effective"] > 50
    assert "What the policy would do" in Path(outcome["report"]).read_text()

    with (folder / "data" / "decisions.csv").open() as f:
        row = {k: float(v) for k, v in next(csv.DictReader(f)).items() if k.startswith("shade")}
    with serving(tmp_path / "log", package.root, "--grpc-port", "0") as server:
        name = package.name
        told = server.predict(name, row)[0]
        assert told["label"] in package.labels and sum(told["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        body = {"inputs": [{"name": k, "datatype": "FP32", "shape": [1, 1], "data": [v]} for k, v in row.items()]}
        over_v2 = {t["name"]: t["data"] for t in server.post(f"/v2/models/{name}/infer", body)["outputs"]}
        assert over_v2["label"] == [told["label"]]
        request = pb.ModelInferRequest(model_name=name)
        for k, v in row.items():
            request.inputs.add(name=k, datatype="FP32", shape=[1, 1]).contents.fp32_contents.append(v)
        with grpc.insecure_channel(server.grpc) as channel:
            ask = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelInferResponse.FromString,
            )
            answer = ask(request, timeout=20)
        assert {o.name for o in answer.outputs} == {"probabilities", "label"}
