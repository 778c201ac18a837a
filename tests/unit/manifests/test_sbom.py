"""Bills of materials: whole, the same for the same lock, and in the image."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def sbom(into: Path, *names: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SBOM_DIR": str(into), "SBOM_INDEX": "https://packages.example.com/simple"}
    return subprocess.run([ROOT / "make/sbom", *names], capture_output=True, text=True, timeout=120, check=False, env=env)


@pytest.mark.parametrize("name", ["runtime", "build"])
def test_every_locked_package_is_in_it_with_its_digests(tmp_path: Path, name: str) -> None:
    done = sbom(tmp_path, name)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / f"{name}.cdx.json").read_text()
    found = json.loads(text)
    locked = dict(re.findall(r"(?m)^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / f"requirements/{name}.txt").read_text()))
    assert {c["name"]: c["version"] for c in found["components"]} == locked
    assert all(c["externalReferences"][0]["hashes"] for c in found["components"])
    assert found["bomFormat"] == "CycloneDX" and found["specVersion"] == "1.6"
    assert found["metadata"]["component"]["name"] == "sluice-ml"
    assert sbom(tmp_path, name).returncode == 0
    assert (tmp_path / f"{name}.cdx.json").read_text() == text


def test_an_unknown_lock_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    done = sbom(tmp_path, "nonsense")
    assert done.returncode == 2 and "requirements/nonsense.txt" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["runtime", "controller", "pipeline"])
def test_an_image_carries_its_lock_and_its_bill(name: str) -> None:
    text = (ROOT / f"images/Dockerfile.{name}").read_text()
    last = text[text.rindex("\nFROM ") :]
    assert f"COPY requirements/{name}.txt build/sbom/{name}.cdx.jso[n] /opt/sluice/sbom/" in last
    assert "!build/sbom" in (ROOT / ".dockerignore").read_text().splitlines()
