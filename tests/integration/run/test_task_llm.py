"""A prompt from its project through a canary, against an endpoint that wants a key: the key is in nothing that the runs write or say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.support.capitals import CAPITALS, said
from tests.support.endpoint import Scripted
from tests.tools.long import long

pytestmark = pytest.mark.timeout(600)
KEY = "sk-never-written-0987654321"
ASKED = ("", ", please", ", quickly", ", in a word", "?")


def written(folder: Path, url: str) -> Path:
    folder.mkdir()
    project = {
        "name": "capitals",
        "task": "llm",
        "data": {"source": "golden.jsonl", "columns": {"label": "answer"}},
        "model": {"endpoint": {"url": url, "model": "played", "key_env": "CAPITALS_KEY", "retries": 0}},
        "rollout": {"steps": [50], "minimum_requests": 40, "shadow": {"requests": 10}},
    }
    (folder / "sluice.yaml").write_bytes(orjson.dumps(project))
    (folder / "golden.jsonl").write_bytes(
        b"\n".join(orjson.dumps({"country": c + a, "answer": v}) for c, v in CAPITALS.items() for a in ASKED)
    )
    return folder


def prompt(folder: Path, word: str) -> None:
    (folder / "prompt.yaml").write_text(
        f"user: '{word} of {{{{ country }}}}?'\nvariables: {{country: {{}}}}\nparameters: {{temperature: 0}}\n"
    )


@long
def test_two_runs_and_a_canary_write_and_say_no_key(tmp_path: Path) -> None:
    with Scripted(answer=said).serving() as endpoint:
        folder, home = written(tmp_path / "capitals", endpoint.url), tmp_path / "home"
        for word in ("Capital", "The capital"):
            prompt(folder, word)
            done = subprocess.run(
                [sys.executable, "-m", "sluice", "run", str(folder), "--home", str(home)],
                env={**os.environ, "CAPITALS_KEY": KEY},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert KEY not in done.stdout + done.stderr
        without = subprocess.run(
            [sys.executable, "-m", "sluice", "run", str(folder), "--home", str(home)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert without.returncode == 2 and "CAPITALS_KEY" in without.stdout + without.stderr
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) > 50 and KEY in str(endpoint.headers), "it was used"
    assert not [p for p in files if KEY.encode() in p.read_bytes()]
