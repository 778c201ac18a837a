"""Pairs of texts from `sluice init` to a promoted model that gives a text's vector over V1, V2 and gRPC."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.integration.serving.server import serving
from tests.integration.serving.test_conformance import remote, request
from tests.tools.run import promoted

pytestmark = pytest.mark.timeout(600)
SAME, OTHER = ("wake me at seven tomorrow", "set an alarm for 7 in the morning"), "send twenty euros to my mother"


def test_from_init_to_promoted_and_asked_for_vectors_over_every_protocol(tmp_path: Path) -> None:
    made = [sys.executable, "-m", "sluice", "init", str(tmp_path), "--task", "similarity"]
    done = subprocess.run(made, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    outcome, package = promoted(tmp_path, "train.epochs=10", "rollout.minimum_requests=30")
    page = Path(outcome["report"]).read_text()
    assert package.metrics["spearman"] > 0.5 and "What tells pairs apart" in page and "the share of words in common" in page

    with serving(tmp_path / "log", package.root, "--grpc-port", "0") as server:
        name = outcome["project"]
        a, b, c = (np.array(p["vector"] if isinstance(p, dict) else p) for p in server.predict(name, *SAME, OTHER))
        assert a.shape == (128,) and np.linalg.norm(a) == pytest.approx(1, abs=1e-3) and a @ b > a @ c
        v2 = {"inputs": [{"name": "pair", "shape": [1], "datatype": "BYTES", "data": [OTHER]}]}
        answer = server.post(f"/v2/models/{name}/infer", v2)
        np.testing.assert_allclose(next(o for o in answer["outputs"] if o["name"] == "vector")["data"], c, atol=1e-5)
        over_grpc = remote(server, request(name, "pair", np.array([OTHER.encode()], dtype=object), "BYTES", binary=True))
        np.testing.assert_allclose(next(o for o in over_grpc.outputs if o.name == "vector").as_numpy().ravel(), c, atol=1e-5)
        status, _, found = server.request("POST", f"/v1/models/{name}:predict", {"instances": ["  "]})
        assert status == 400 and b"blank" in found
