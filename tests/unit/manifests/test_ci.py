"""Workflows: well formed, pinned, narrow in rights; and the one for users changes one digest."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
USERS = ROOT / "examples/ci/retrain.yml"
WORKFLOWS = [*sorted((ROOT / ".github/workflows").glob("*.yml")), USERS]
OLD, NEW = "a" * 64, "b" * 64


def read(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text())
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [s for job in read(path)["jobs"].values() for s in job["steps"]]


def test_actionlint() -> None:
    tool = shutil.which("actionlint") or shutil.which(str(ROOT / "build/tools/usr/bin/actionlint"))
    if not tool:
        pytest.skip("actionlint is not on PATH, and `make tools` could not build it: that takes go")
    shellcheck = shutil.which("shellcheck") or str(ROOT / ".venv/bin/shellcheck")
    done = subprocess.run(
        [tool, "-shellcheck", shellcheck, "-pyflakes=", *WORKFLOWS], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_a_workflow_is_pinned_bounded_and_may_little(path: Path) -> None:
    found = read(path)
    assert found["permissions"] == {"contents": "read"}
    assert all(1 <= job["timeout-minutes"] <= 360 for job in found["jobs"].values())
    assert all(not re.search(r"latest", str(job["runs-on"])) for job in found["jobs"].values())
    for step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
        # what an outsider writes gets into a script through its environment only
        assert "${{" not in step.get("run", ""), step["run"]


def test_make_targets_of_the_workflow_exist() -> None:
    asked = {t for s in steps(ROOT / ".github/workflows/ci.yml") for t in re.findall(r"(?m)^ *make ([a-z0-9-]+)", s.get("run", ""))}
    text = (ROOT / "Makefile").read_text() + (ROOT / "make/cluster.mk").read_text()
    assert asked >= {"lint", "test", "kind-up", "e2e", "golden", "sbom"}
    assert not {t for t in asked if not re.search(rf"(?m)^{t}:", text)}


def change(folder: Path, text: str, digest: str = NEW) -> subprocess.CompletedProcess[str]:
    """Run the step that changes the digest as a runner would."""
    (folder / "deploy").mkdir()
    (folder / "deploy/rollout.yaml").write_text(text)
    script = next(s["run"] for s in steps(USERS) if s.get("id") == "change")
    env = {
        "PATH": os.environ["PATH"],
        "DIGEST": digest,
        "ROLLOUT": read(USERS)["env"]["ROLLOUT"],
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
    }
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=30, check=False
    )


def test_the_pull_request_changes_one_digest_and_nothing_else(tmp_path: Path) -> None:
    before = (ROOT / "manifests/examples/digits.yaml").read_text().replace("DIGEST\n", f"{OLD}\n")
    done = change(tmp_path, before)
    assert done.returncode == 0, done.stderr
    after = (tmp_path / "deploy/rollout.yaml").read_text()
    assert after == before.replace(OLD, NEW) and after != before
    assert yaml.safe_load(after)["spec"]["model"]["digest"] == NEW
    assert (tmp_path / "output").read_text() == "changed=true\n"


def test_the_model_in_production_is_not_proposed_again(tmp_path: Path) -> None:
    text = f"spec:\n  model:\n    digest: sha256:{NEW}\n"
    assert change(tmp_path, text).returncode == 0
    assert (tmp_path / "deploy/rollout.yaml").read_text() == text
    assert (tmp_path / "output").read_text() == "changed=false\n"


@pytest.mark.parametrize(
    ("text", "digest", "said"),
    [
        (f"digest: {OLD}\n", "", "is no package digest"),
        (f"digest: {OLD}\n", "b" * 63 + "/", "is no package digest"),
        ("digest: DIGEST\n", NEW, "has to name one digest"),
        (f"a:\n  digest: {OLD}\nb:\n  digest: {'c' * 64}\n", NEW, "has to name one digest"),
    ],
)
def test_what_is_no_digest_changes_nothing(tmp_path: Path, text: str, digest: str, said: str) -> None:
    done = change(tmp_path, text, digest)
    assert done.returncode == 1 and said in done.stderr
    assert (tmp_path / "deploy/rollout.yaml").read_text() == text
