"""Transcripts from `sluice init` to a promoted model that is asked for texts of WAV bytes over V1, V2 and gRPC, and a list of files that begins a project."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sluice.data.sounds import RATE, Caller, wav
from sluice.engines.predictor import Predictor
from sluice.problems.problem import problem
from tests.integration.serving.server import serving
from tests.integration.serving.test_conformance import remote, request
from tests.tools.run import promoted

pytestmark = pytest.mark.timeout(600)
QUOTED = '"Go left, please."'


def sluice(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "sluice", *words], capture_output=True, text=True, timeout=300, check=False)


def test_from_init_to_promoted_and_asked_for_texts_over_every_protocol(tmp_path: Path) -> None:
    done = sluice("init", str(tmp_path), "--task", "transcribe")
    assert done.returncode == 0, done.stderr
    few = ("train.epochs=2", "evaluate.minimum=2", "evaluate.baselines.on_no_better=warn", "rollout.minimum_requests=30")
    outcome, package = promoted(tmp_path, *few)
    assert package.objective == "transcription" and package.metrics["word_error_rate"] <= 1.5
    assert "units (caller)" in Path(outcome["report"]).read_text() and "transcripts without an error" in Path(outcome["report"]).read_text()

    caller = Caller(np.random.default_rng(5))
    songs = [caller.recording([caller.call(kind) for kind in kinds]) for kinds in (["rise"], ["trill", "flat", "rise"])]
    told = problem(package.objective).told(Predictor(package).predict(songs), package.labels)["text"].tolist()
    with serving(tmp_path / "log", package.root, "--grpc-port", "0") as server:
        name = outcome["project"]
        first = server.predict(name, *({"b64": base64.b64encode(s).decode()} for s in songs))
        assert [set(f) for f in first] == [{"text", "confidence"}] * 2
        assert [f["text"] for f in first] == told
        v2 = {"inputs": [{"name": "audio", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(songs[1]).decode()]}]}
        answer = {o["name"]: o for o in server.post(f"/v2/models/{name}/infer", v2)["outputs"]}
        assert answer["text"]["data"] == [told[1]] and answer["symbols"]["shape"] == [1, 512, 2]
        reply = remote(server, request(name, "audio", np.array([songs[0]], dtype=object), "BYTES", binary=True))
        (said,) = next(o for o in reply.outputs if o.name == "text").as_numpy().ravel().tolist()
        assert (said.decode() if isinstance(said, bytes) else said) == told[0]
        status, _, found = server.request(
            "POST", f"/v1/models/{name}:predict", {"instances": [{"b64": base64.b64encode(b"RIFF").decode()}]}
        )
        assert status == 400 and b"WAV" in found


def test_a_list_of_files_and_sentences_begins_a_project_and_says_what_is_wrong(tmp_path: Path) -> None:
    rng, lines = np.random.default_rng(0), ["path,sentence"]
    for i in range(40):
        (tmp_path / f"{i}.wav").write_bytes(
            wav(0.1 * np.sin(np.arange(RATE // 2 + i) * (0.1 + i / 100)) + rng.normal(0, 1e-3, RATE // 2 + i))
        )
        lines.append(f"{i}.wav,{QUOTED if i % 2 else 'Stop!'}")
    (tmp_path / "said.csv").write_text("\n".join([*lines, ""]))
    made = sluice("init", str(tmp_path / "p"), "--data", str(tmp_path / "said.csv"), "--task", "transcribe", "--label", "sentence")
    assert made.returncode == 0, made.stderr
    checked = sluice("data", "check", str(tmp_path / "p" / "sluice.yaml"))
    assert checked.returncode == 0 and "4 symbols" in checked.stdout + checked.stderr, checked.stdout + checked.stderr
    (tmp_path / "said.csv").write_text("\n".join([*lines[:-1], "39.wav," + "la " * 30, ""]))
    refused = sluice("data", "check", str(tmp_path / "p" / "sluice.yaml"))
    assert refused.returncode == 3 and "12.5 a second" in refused.stdout + refused.stderr, refused.stdout + refused.stderr
