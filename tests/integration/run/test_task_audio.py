"""Sounds from `sluice init` to a promoted model that is asked for labels of WAV and FLAC bytes over V1, V2 and gRPC."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sluice.data.sounds import KINDS, RATE, Caller
from sluice.engines.predictor import Predictor
from tests.integration.serving.server import serving
from tests.integration.serving.test_conformance import labels, remote, request
from tests.tools.run import promoted

pytestmark = pytest.mark.timeout(600)


def test_from_init_to_promoted_and_asked_for_labels_over_every_protocol(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sluice", "init", str(tmp_path), "--task", "audio"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    outcome, package = promoted(tmp_path, "train.epochs=5", "evaluate.minimum=0.5", "rollout.minimum_requests=30")
    assert package.preprocess["kind"] == "audio" and package.preprocess["sample_rate"] == RATE
    page = Path(outcome["report"]).read_text()
    assert package.metrics["accuracy"] > 0.5 and "units (caller)" in page and "what the answers come from" in page

    caller = Caller(np.random.default_rng(5))
    sounds = [caller.recording([caller.call(kind)]) for kind in KINDS]
    asked = Predictor(package)
    said = [package.labels[i] for i in asked.codes(asked.predict(sounds))]
    wave, rate = soundfile.read(io.BytesIO(sounds[0]))
    out = io.BytesIO()
    soundfile.write(out, wave, rate, format="FLAC", subtype="PCM_16")

    with serving(tmp_path / "log", package.root, "--grpc-port", "0") as server:
        name = outcome["project"]
        told = [p["label"] for p in server.predict(name, *({"b64": base64.b64encode(s).decode()} for s in sounds))]
        assert told == said
        assert server.predict(name, {"b64": base64.b64encode(out.getvalue()).decode()})[0]["label"] == said[0]
        v2 = {"inputs": [{"name": "audio", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(sounds[1]).decode()]}]}
        answer = server.post(f"/v2/models/{name}/infer", v2)
        assert next(o for o in answer["outputs"] if o["name"] == "label")["data"] == [said[1]]
        raw = np.array([sounds[2]], dtype=object)
        assert labels(remote(server, request(name, "audio", raw, "BYTES", binary=True))) == [said[2]]
        for body, says in ((b"", "WAV"), (b"RIFF", "WAV")):
            status, _, found = server.request(
                "POST", f"/v1/models/{name}:predict", {"instances": [{"b64": base64.b64encode(body).decode()}]}
            )
            assert status == 400 and says in found.decode(), found
