"""`sluice init --data` on a table with texts, gaps, times and many shops, run to promoted with nothing set, and asked in raw rows over each protocol."""

from __future__ import annotations

import random
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
from tests.tools.written import holding

pytestmark = pytest.mark.timeout(600)
PLANTED = "zanzibar"
GOOD, BAD = ["arrived early", "works well", "lovely colour"], ["arrived broken", "does not work", "never came"]


def write(path: Path, rows: int = 420) -> None:
    """Orders that are sent back or not: a sentence tells most of it, the shop some, the amount little; the id and what was paid back are no features,
    and neither is the address, which is sensitive."""
    rng = random.Random(3)
    careless = {f"S{i:03d}": rng.gauss(0, 1.5) for i in range(90)}
    lines = ["id,amount,shop,ordered,said,paid_back,mail,back"]
    for i in range(rows):
        shop, upset = rng.choice(list(careless)), rng.random() < 0.45
        amount, said = round(rng.lognormvariate(3, 1), 2), f"The parcel {rng.choice(BAD if upset else GOOD)} on day {rng.randint(1, 40)}"
        back = 3 * (upset - 0.5) + 0.5 * careless[shop] + rng.gauss(0, 0.6) > 0
        paid = amount if back else 0
        cells = [i, "" if rng.random() < 0.1 else amount, shop, f"2024-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"]
        lines.append(
            ",".join(map(str, [*cells, "" if rng.random() < 0.05 else said, paid, f"{PLANTED}-{i}@example.org", "yes" if back else "no"]))
        )
    path.write_text("\n".join(lines) + "\n")


def test_a_stranger_s_table_becomes_a_model_that_reads_its_texts(tmp_path: Path) -> None:
    write(tmp_path / "orders.csv")
    begun = [sys.executable, "-m", "sluice", "init", str(tmp_path / "p"), "--data", str(tmp_path / "orders.csv"), "--label", "back"]
    subprocess.run(begun, check=True, capture_output=True, timeout=200)
    written = (tmp_path / "p" / "sluice.yaml").read_text()
    assert "model: {estimator: auto}" in written
    left_out = written.split("ignore:")[1].split("checks:")[0]
    assert "- id" in left_out and "- paid_back" in left_out and "gives the label away" in left_out and "- said" not in left_out

    outcome, package = promoted(tmp_path / "p", "rollout.minimum_requests=60", "evaluate.metric=roc_auc", "data.sensitive=[mail]")
    assert holding(tmp_path / "p", PLANTED) == [], "a value of a sensitive column stands in a file that the run wrote"
    gates = tmp_path / "p" / "home" / "runs" / outcome["run"] / "gates"
    judged: dict[str, Any] = orjson.loads((gates / "evaluate.json").read_bytes())["evidence"]
    assert judged["evaluation"]["value"] > 0.85 and judged["floor"]["verdict"] != "worse"
    assert "logistic regression" in orjson.loads((gates / "train.json").read_bytes())["reasons"][0]

    rows = [
        {"amount": 20.5, "shop": "S001", "ordered": "2024-05-01", "said": "It arrived broken, and never came back to life"},
        {"amount": None, "shop": "unheard of", "ordered": None, "said": "Lovely colour! WORKS WELL"},
        {"shop": "S002"},
    ]
    with serving(tmp_path / "log", package.root, "--grpc-port", "0") as server:
        told = server.predict(package.name, *rows)
        assert [t["label"] for t in told[:2]] == ["yes", "no"]
        names, kinds = ("amount", "shop", "ordered", "said"), ("FP64", "BYTES", "BYTES", "BYTES")
        inputs = [{"name": n, "datatype": k, "shape": [1, 1], "data": [rows[0][n]]} for n, k in zip(names, kinds, strict=True)]
        over_v2 = {t["name"]: t["data"] for t in server.post(f"/v2/models/{package.name}/infer", {"inputs": inputs})["outputs"]}
        assert over_v2["label"] == ["yes"]
        request = pb.ModelInferRequest(model_name=package.name)
        for name, kind in zip(names, kinds, strict=True):
            tensor = request.inputs.add(name=name, datatype=kind, shape=[1, 1])
            if kind == "FP64":
                tensor.contents.fp64_contents.append(rows[0][name])
            else:
                tensor.contents.bytes_contents.append(str(rows[0][name]).encode())
        with grpc.insecure_channel(server.grpc) as channel:
            ask = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelInferResponse.FromString,
            )
            answer = ask(request, timeout=20)
        shown = next(o for o in answer.outputs if o.name == "probabilities")
        assert list(shown.contents.fp32_contents) == pytest.approx(over_v2["probabilities"], abs=1e-6)
        status, _, refused = server.request("POST", f"/v1/models/{package.name}:predict", {"instances": [{"said": ["a", "list"]}]})
        assert status == 400 and b"rows[0].said" in refused and b"is not a text" in refused
