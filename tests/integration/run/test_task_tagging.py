"""Words with tags from `sluice init` to a promoted model that tells spans over V1, V2 and gRPC."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from tests.integration.serving.server import serving
from tests.integration.serving.test_conformance import remote, request
from tests.tools.run import promoted

pytestmark = pytest.mark.timeout(600)
TEXT = "Please send 30 boxes of copper wire to Olga Haas in Lyon by Friday."


def test_from_init_to_promoted_and_asked_for_spans_over_every_protocol(tmp_path: Path) -> None:
    made = [sys.executable, "-m", "sluice", "init", str(tmp_path), "--task", "tagging"]
    done = subprocess.run(made, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    outcome, package = promoted(tmp_path, "train.epochs=6", "rollout.minimum_requests=30")
    page = Path(outcome["report"]).read_text()
    assert package.metrics["span_f1"] > 0.7 and "Each kind of span by itself" in page and "tag that is commonest for each word" in page

    with serving(tmp_path / "log", package.root, "--grpc-port", "0") as server:
        name = outcome["project"]
        told = orjson.loads(server.predict(name, TEXT)[0]["spans"])
        assert {"30": "quantity", "Lyon": "place", "Friday": "date"}.items() <= {
            TEXT[s["start"] : s["end"]]: s["label"] for s in told
        }.items()
        v2 = {"inputs": [{"name": "sentence", "shape": [1], "datatype": "BYTES", "data": [TEXT]}]}
        answer = server.post(f"/v2/models/{name}/infer", v2)
        assert orjson.loads(next(o for o in answer["outputs"] if o["name"] == "spans")["data"][0]) == told
        over_grpc = remote(server, request(name, "sentence", np.array([TEXT.encode()], dtype=object), "BYTES", binary=True))
        assert orjson.loads(next(o for o in over_grpc.outputs if o.name == "spans").as_numpy().ravel()[0]) == told
        status, _, found = server.request("POST", f"/v1/models/{name}:predict", {"instances": ["  "]})
        assert status == 400 and b"blank" in found
