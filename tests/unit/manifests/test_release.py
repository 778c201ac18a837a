"""A release: one version everywhere, and a chart that names its images by digest."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
DIGESTS = {name: f"sha256:{letter * 64}" for name, letter in (("runtime", "a"), ("controller", "b"), ("pipeline", "c"))}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "CHANGELOG.md", "sluice/__init__.py", "make/cluster.mk", "make/release"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "charts", tmp_path / "charts")
    return tmp_path


def release(folder: Path, *words: str, path: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    return subprocess.run([str(folder / "make/release"), *words], capture_output=True, text=True, timeout=60, env=env, check=False)


def test_every_place_names_one_version(copy: Path) -> None:
    assert release(copy, "check").returncode == 0
    file = copy / "charts/sluice/Chart.yaml"
    file.write_text(file.read_text().replace("appVersion: 0.1.0", "appVersion: 0.0.9"))
    done = release(copy, "check")
    assert done.returncode == 1 and "charts/sluice/Chart.yaml says '0.0.9'" in done.stderr


def test_a_tag_needs_its_version_and_a_changelog_with_nothing_left_over(copy: Path) -> None:
    assert "the tag says '9.9.9'" in release(copy, "check", "v9.9.9").stderr
    (copy / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- new\n\n## 0.1.0\n\n- old\n")
    assert "lines under Unreleased" in release(copy, "check", "v0.1.0").stderr
    (copy / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 0.1.0\n\n- old\n")
    assert release(copy, "check", "v0.1.0").returncode == 0


def test_the_chart_that_is_published_names_images_by_digest(copy: Path) -> None:
    helm = copy / "bin/helm"
    helm.parent.mkdir()
    helm.write_text('#!/bin/sh\ncp "$2/values.yaml" "$4/values.yaml"\n')
    helm.chmod(0o755)
    done = release(copy, "chart", "ghcr.io/me/sluice", *(f"{k}={v}" for k, v in DIGESTS.items()), path=str(helm.parent))
    assert done.returncode == 0, done.stderr
    before, after = (yaml.safe_load(p.read_text()) for p in (copy / "charts/sluice/values.yaml", copy / "dist/values.yaml"))
    for name, digest in DIGESTS.items():
        assert after["images"].pop(name) == {"repository": f"ghcr.io/me/sluice/{name}", "tag": "0.1.0", "digest": digest}
        del before["images"][name]
    assert before == after, "nothing else is changed"
    assert release(copy, "chart", "r", "runtime=latest", path=str(helm.parent)).returncode == 2


def test_the_newcomer_types_six_commands_at_most() -> None:
    script = (ROOT / "tests/e2e/newcomer.sh").read_text()
    typed = [line for line in script.splitlines() if line.startswith("type_ ")]
    assert 1 <= len(typed) <= 6 and any("sluice serve" in line for line in typed)
