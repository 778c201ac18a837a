"""The compiled pipeline: the golden file is what the code compiles to, and it is bounded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pipelines.compiler import GOLDEN, compile_pipeline, compile_project
from pipelines.training import training_pipeline
from sluice import project


@pytest.fixture(scope="module")
def compiled() -> str:
    return compile_pipeline(training_pipeline)


def test_the_golden_file_is_up_to_date(compiled: str) -> None:
    assert (GOLDEN / "training.yaml").read_text() == compiled, "run `make golden` and look at the difference"


def test_every_step_runs_in_a_pinned_image_and_installs_nothing(compiled: str) -> None:
    images = set(re.findall(r"image: (\S+)", compiled))
    assert images
    assert not [i for i in images if i.endswith(":latest") or ":" not in i]
    assert "pip install" not in compiled


def test_every_parameter_has_a_description_and_a_default(compiled: str) -> None:
    spec = next(iter(yaml.safe_load_all(compiled)))
    for name, parameter in spec["root"]["inputDefinitions"]["parameters"].items():
        assert parameter.get("description"), name
        assert parameter.get("isOptional"), name


def test_a_step_that_reads_or_moves_the_world_is_never_cached(compiled: str) -> None:
    spec = next(iter(yaml.safe_load_all(compiled)))
    tasks = dict(spec["root"]["dag"]["tasks"])
    for component in spec["components"].values():
        tasks |= component.get("dag", {}).get("tasks", {})
    for name in ("validate-data", "preprocess", "evaluate", "register", "rollout"):
        assert not tasks[name].get("cachingOptions", {}).get("enableCache"), name


def test_the_default_project_is_one_that_is_accepted(compiled: str) -> None:
    spec = next(iter(yaml.safe_load_all(compiled)))
    text = spec["root"]["inputDefinitions"]["parameters"]["project"]["defaultValue"]
    assert project.parse(project.read_text(text, "default")).name == "digits"


def test_a_project_is_baked_in_as_the_default_and_equal_projects_compile_alike(tmp_path: Path) -> None:
    text = "{name: mine, task: text, data: {source: 's3://bucket/x.csv'}}"
    settings = project.parse(project.read_text(text, "text"))
    one = compile_project(settings, tmp_path / "a.yaml", text=text)
    two = compile_project(settings, tmp_path / "b.yaml", text=text)
    assert one["sha256"] == two["sha256"]
    spec = next(iter(yaml.safe_load_all((tmp_path / "a.yaml").read_text())))
    assert spec["root"]["inputDefinitions"]["parameters"]["project"]["defaultValue"] == text
