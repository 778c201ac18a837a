"""`sluice init --task anomaly`, run to promoted, an autoencoder through comparison and canary after the forest, and both protocols asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
import orjson
import pytest
from sklearn.datasets import load_breast_cancer

from serving.runtime.protocols.protos import open_inference_pb2 as pb
from tests.integration.serving.server import serving
from tests.tools.run import promoted

pytestmark = pytest.mark.timeout(600)
QUICK = ("rollout.minimum_requests=60", "model.n_estimators=100")


def gate(home: Path, outcome: dict, step: str) -> dict:
    found: dict = orjson.loads((home / "runs" / outcome["run"] / "gates" / f"{step}.json").read_bytes())
    return found


def test_from_labelled_rows_to_a_score_that_is_served(tmp_path: Path) -> None:
    folder = tmp_path / "biopsies"
    subprocess.run([sys.executable, "-m", "sluice", "init", str(folder), "--task", "anomaly"], check=True, capture_output=True, timeout=60)
    outcome, package = promoted(folder, *QUICK)
    assert (package.objective, package.labels) == ("classification", ("anomaly", "normal"))
    found = gate(folder / "home", outcome, "evaluate")["evidence"]
    evaluation = found["evaluation"]
    assert (evaluation["metric"], evaluation["positive"]) == ("average_precision", "anomaly") and evaluation["low"] > 0.7
    assert "calibration" not in evaluation and not {"log_loss", "brier"} & set(evaluation["metrics"])
    assert found["floor"]["trivial"]["low"] > 0.3
    assert found["floor"]["simple"]["name"] == "distance from the mean" and found["floor"]["simple"]["baseline"] > 0.7
    first = found["standouts"]["rows"][0]
    assert first["label"] == "anomaly" and first["columns"][0]["part"] > 0
    page = Path(outcome["report"]).read_text()
    assert "Held-out rows that stand out most" in page and "the labels in label say which rows are anomalies" in page

    text = (folder / "sluice.yaml").read_text().replace("estimator: isolation_forest, ", "")
    (folder / "sluice.yaml").write_text(text)
    again, other = promoted(folder, "rollout.minimum_requests=60", "train.epochs=30", "evaluate.margin=0.2", "evaluate.minimum=null")
    assert other.task == "anomaly" and other.digest != package.digest
    assert gate(folder / "home", again, "evaluate")["evidence"]["comparison"]["metric"] == "average_precision"
    assert gate(folder / "home", again, "rollout")["evidence"]["load"]["failed"] == 0

    data = load_breast_cancer()
    names = [i.name for i in package.inputs]
    row = dict(zip(names, data.data[data.target == 1][0].tolist(), strict=True))
    strange = dict.fromkeys(names, 1e6)
    with serving(tmp_path / "log", package.root, "--grpc-port", "0") as server:
        usual, far, empty = server.predict(package.name, row, strange, {})
        assert (usual["label"], far["label"], empty["label"]) == ("normal", "anomaly", "normal")
        body = {"inputs": [{"name": n, "datatype": "FP32", "shape": [1, 1], "data": [v]} for n, v in strange.items()]}
        over_v2 = {t["name"]: t["data"] for t in server.post(f"/v2/models/{package.name}/infer", body)["outputs"]}
        assert over_v2["label"] == ["anomaly"] and over_v2["probabilities"][0] == pytest.approx(far["probabilities"]["anomaly"], abs=1e-5)
        request = pb.ModelInferRequest(model_name=package.name)
        for name, value in strange.items():
            request.inputs.add(name=name, datatype="FP32", shape=[1, 1]).contents.fp32_contents.append(value)
        with grpc.insecure_channel(server.grpc) as channel:
            ask = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelInferResponse.FromString,
            )
            answer = ask(request, timeout=20)
        assert next(o for o in answer.outputs if o.name == "label").contents.bytes_contents == [b"anomaly"]
