"""`sluice init --task generate`, on a folder of pictures: run to promoted, and asked over every protocol."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import orjson
import pytest
from PIL import Image

from serving.runtime.protocols.protos import open_inference_pb2 as pb
from sluice.core.png import png
from tests.integration.serving.server import serving
from tests.tools.run import promoted

pytestmark = pytest.mark.timeout(900)
QUICK = (
    "data.source=pictures",
    "model={kind: vae, noise: 4, width: 6, parts: 6}",
    "train.epochs=20",
    "train.batch_size=16",
    "export.formats=[fp32]",
    "rollout.minimum_requests=60",
    "evaluate.baselines.on_no_better=warn",
    "evaluate.margin=5",
)


def drawn(folder: Path, rows: int) -> None:
    """A bright line each, across or down, on a ground that is more or less dim."""
    rng = np.random.default_rng(5)
    for i in range(rows):
        kind = ("across", "down")[i % 2]
        picture = rng.integers(0, 40) + np.zeros((6, 6), np.int64)
        line = picture[rng.integers(6)] if kind == "across" else picture[:, rng.integers(6)]
        line += rng.integers(150, 220)
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / f"{i:03}.png").write_bytes(png(picture))


def gate(home: Path, outcome: dict, step: str) -> dict:
    found: dict = orjson.loads((home / "runs" / outcome["run"] / "gates" / f"{step}.json").read_bytes())
    return found


def pixels(told: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(told))) as picture:
        return np.asarray(picture) / 255


def test_from_a_folder_of_pictures_to_new_ones(tmp_path: Path) -> None:
    root = tmp_path / "lines"
    begun = [sys.executable, "-m", "sluice", "init", str(root), "--task", "generate"]
    subprocess.run(begun, check=True, capture_output=True, timeout=60)
    drawn(root / "pictures", 400)
    outcome, package = promoted(root, *QUICK)
    home = root / "home"
    found = gate(home, outcome, "evaluate")["evidence"]
    evaluation = found["evaluation"]
    assert evaluation["metric"] == "kernel_distance" and evaluation["low"] < evaluation["value"] < evaluation["high"]
    assert {"frechet_distance", "precision", "recall"} < set(evaluation["metrics"])
    assert "Gaussian" in found["floor"]["trivial"]["name"]
    assert Path(outcome["report"]).read_text().count("data:image/png;base64,") >= 2

    with serving(tmp_path / "log", package.root, "--grpc-port", "0") as server:
        name = package.name
        rows = [{"seed": 7, "class": "across"}, {"seed": 7, "class": "down"}, {"seed": 8}, {"seed": 7, "class": "across"}]
        told = server.predict(name, *rows)
        made = [pixels(t["png"]) for t in told]
        assert told[0] == told[3] and told[0] != told[1]
        body = {"inputs": [{"name": "seed", "datatype": "INT64", "shape": [2, 1], "data": [7, 8]}]}
        body["inputs"].append({"name": "class", "datatype": "BYTES", "shape": [2, 1], "data": ["across", "down"]})
        over_v2 = {t["name"]: t for t in server.post(f"/v2/models/{name}/infer", body)["outputs"]}
        assert over_v2["png"]["data"][0] == told[0]["png"] and over_v2["image"]["shape"] == [2, 36]
        assert np.array(over_v2["image"]["data"][:36]).reshape(6, 6) == pytest.approx(made[0], abs=0.51 / 255)
        request = pb.ModelInferRequest(model_name=name)
        tensor = request.inputs.add(name="seed", datatype="INT64", shape=[1, 1])
        tensor.contents.int64_contents.append(8)
        with grpc.insecure_channel(server.grpc) as channel:
            ask = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelInferResponse.FromString,
            )
            answer = ask(request, timeout=20)
        image = next(o for o in answer.outputs if o.name == "image")
        assert list(image.shape) == [1, 36]
        assert np.array(image.contents.fp32_contents).reshape(6, 6) == pytest.approx(made[2], abs=0.51 / 255)
        for wrong in ({"seed": -1}, {"class": "down"}, {"seed": 1.5}, {"seed": 7, "klass": "down"}):
            status, _, refused = server.request("POST", f"/v1/models/{name}:predict", {"instances": [wrong]})
            assert status == 400 and b"rows[0]." in refused
