"""Dockerfiles, scripts and YAML against the tools that know them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
DOCKERFILES = sorted((ROOT / "images").glob("Dockerfile.*"))
OVERLAYS = sorted((ROOT / "manifests" / "overlays").iterdir())


def run(*command: str | Path) -> None:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint() -> None:
    assert len(DOCKERFILES) == 3
    # DL3006: bases are build arguments; DL3059: layers of the last stage
    run(BIN / "hadolint", "--ignore", "DL3006", "--ignore", "DL3059", "--ignore", "DL3003", *DOCKERFILES)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_an_image_runs_as_a_numeric_user_on_a_base_the_site_can_choose(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"(?m)^USER (.*)$", text)[-1] == "65532:65532"
    assert all(re.fullmatch(r"\$\{\w+\}( AS \w+)?", base) for base in re.findall(r"(?m)^FROM (.*)$", text))
    assert "--require-hashes" in text and "latest" not in text


def test_shellcheck() -> None:
    scripts = [p for p in sorted((ROOT / "make").iterdir()) if p.suffix != ".mk"]
    assert len(scripts) >= 6
    run(BIN / "shellcheck", "-x", "-e", "SC1091", *scripts, "images/lock", ".ci/run")


def test_yamllint() -> None:
    rules = "{extends: relaxed, rules: {line-length: disable, indentation: disable, commas: disable, braces: disable}}"
    charts = sorted((ROOT / "charts").rglob("files/**/*.yaml"))
    run(
        BIN / "yamllint",
        "-s",
        "-d",
        rules,
        "kind-config.yaml",
        "manifests",
        "charts/sluice/values.yaml",
        "charts/sluice/Chart.yaml",
        *charts,
        *sorted((ROOT / "examples").rglob("*.yaml")),
        *sorted((ROOT / "examples/ci").glob("*.yml")),
        *sorted((ROOT / ".github").rglob("*.yml")),
    )


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda p: p.name)
def test_an_overlay_has_a_namespace_of_its_own_and_what_it_names_is_there(overlay: Path) -> None:
    found = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    names = {o.name: yaml.safe_load((o / "kustomization.yaml").read_text())["namespace"] for o in OVERLAYS}
    if upon := [r for r in found["resources"] if r.removeprefix("../") in names]:  # the same environment, another store
        assert found["namespace"] == names[upon[0].removeprefix("../")]
    else:
        assert [n for n, s in names.items() if s == found["namespace"]] == sorted(
            {overlay.name, *(n for n in names if n.startswith(f"{overlay.name}-"))}
        )
    for named in [*found["resources"], *found.get("components", [])]:
        assert (overlay / named).exists(), named


@pytest.mark.parametrize(("lock", "needs"), [("runtime", set()), ("controller", {"pyarrow"})])
def test_small_images_lock_nothing_large(lock: str, needs: set[str]) -> None:
    names = set(re.findall(r"(?m)^([a-z0-9-]+)==", (ROOT / f"requirements/{lock}.txt").read_text()))
    assert names and names & {"torch", "transformers", "kfp", "pandas", "mlflow", "pyarrow", "scipy"} == needs  # a monitor reads Parquet


@pytest.mark.parametrize("lock", ["runtime", "controller", "pipeline", "build", "runtime-log"])
def test_locks_agree_with_the_environments(lock: str) -> None:
    def versions(path: Path) -> dict[str, str]:
        return dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", path.read_text()))

    everything, found = versions(ROOT / "requirements/dev.txt"), versions(ROOT / f"requirements/{lock}.txt")
    assert found and {n: v for n, v in found.items() if everything.get(n, v) != v} == {}
