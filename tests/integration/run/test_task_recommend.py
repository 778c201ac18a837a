"""`sluice init --task recommend`, run to promoted, a second model through comparison and canary, and both protocols asked."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import orjson
import pytest

from serving.runtime.protocols.protos import open_inference_pb2 as pb
from sluice.data.scheme import Found
from sluice.prediction.files import predict_file
from tests.integration.serving.server import serving
from tests.tools.interactions import TASTES
from tests.tools.run import promoted

pytestmark = pytest.mark.timeout(600)
#: What is settled by hand, so that nothing is searched for.
QUICK = ("model.regularisation=200", "rollout.minimum_requests=60")


def gate(home: Path, outcome: dict, step: str) -> dict:
    found: dict = orjson.loads((home / "runs" / outcome["run"] / "gates" / f"{step}.json").read_bytes())
    return found


def test_from_interactions_to_lists_that_beat_what_is_popular(tmp_path: Path) -> None:
    begun = [sys.executable, "-m", "sluice", "init", str(tmp_path / "shop"), "--task", "recommend"]
    subprocess.run(begun, check=True, capture_output=True, timeout=60)
    outcome, package = promoted(tmp_path / "shop", *QUICK)
    home = tmp_path / "shop" / "home"
    found = gate(home, outcome, "evaluate")["evidence"]
    floor, evaluation = found["floor"]["trivial"], found["evaluation"]
    assert floor["name"] == "the most popular items" and floor["low"] > 0
    assert (evaluation["metric"], evaluation["unit"]) == ("ndcg_10", "user") and evaluation["low"] > 0.2
    assert 0 < evaluation["metrics"]["coverage"]["low"] < evaluation["metrics"]["coverage"]["high"] <= 1
    assert evaluation["ranking"]["histories"][0]["history"] == "new users: 0"
    assert "By the length of the history" in Path(outcome["report"]).read_text()

    (tmp_path / "asked.csv").write_text('name,history\nbob,"[""crime-02"", ""space-03""]"\nann,\n')
    predict_file(package, Found(tmp_path / "asked.csv", "asked.csv"), tmp_path / "told.csv")
    bob, ann = list(csv.DictReader((tmp_path / "told.csv").open()))
    assert (bob["name"], ann["history"], len(orjson.loads(ann["items"]))) == ("bob", "", 20)
    assert "crime-02" not in orjson.loads(bob["items"]) and len(orjson.loads(bob["scores"])) == 20

    with serving(tmp_path / "log", package.root, "--grpc-port", "0") as server:
        name = package.name
        history = ["crime-02", "crime-18", "space-03", "no such item"]
        told, new = server.predict(name, {"history": history}, {"history": []})
        assert len(told["items"]) == len(told["scores"]) == 20 and not set(told["items"]) & set(history)
        assert sum(item.partition("-")[0] in ("crime", "space") for item in told["items"][:5]) >= 4
        assert len({item.partition("-")[0] for item in new["items"]}) == len(TASTES)
        assert told["scores"] == sorted(told["scores"], reverse=True)
        body = {"inputs": [{"name": "history", "datatype": "BYTES", "shape": [1, 4], "data": history}]}
        over_v2 = {t["name"]: t["data"] for t in server.post(f"/v2/models/{name}/infer", body)["outputs"]}
        assert over_v2["items"] == told["items"] and over_v2["unknown"] == [1]
        request = pb.ModelInferRequest(model_name=name)
        tensor = request.inputs.add(name="history", datatype="BYTES", shape=[1, 4])
        tensor.contents.bytes_contents.extend(h.encode() for h in history)
        with grpc.insecure_channel(server.grpc) as channel:
            ask = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelInferResponse.FromString,
            )
            answer = ask(request, timeout=20)
        ranking = next(i for i, o in enumerate(answer.outputs) if o.name == "ranking")
        assert list(answer.outputs[ranking].shape) == [1, 20, 2]
        lists = np.array(answer.outputs[ranking].contents.fp32_contents).reshape(20, 2)
        assert [package.labels[int(i)] for i in lists[:, 0]] == told["items"]
        status, _, refused = server.request("POST", f"/v1/models/{name}:predict", {"instances": [{"history": "crime-02"}]})
        assert status == 400 and b"rows[0].history" in refused and b"send a list of names" in refused
