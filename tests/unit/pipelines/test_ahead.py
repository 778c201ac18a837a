"""What the steps of a local run have imported ahead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from pipelines import ahead
from sluice.commands.project import template
from sluice.core.warm import start
from sluice.core.warm.start import Plan
from sluice.project import load

IMPORT = """
import importlib, os, sys
for name in sys.argv[1:]:
    module, _, function = name.partition(":")
    found = importlib.import_module(module)
    if function:
        getattr(found, function)()
threads = [open(f"/proc/self/task/{t}/comm").read().strip() for t in os.listdir("/proc/self/task")]
print(threads[1:], "components" in sys.modules, "onnxruntime" in sys.modules)
"""


def plan_of(task: str, tmp_path: Path, text: str | None = None) -> Plan:
    path = template(task) / "sluice.yaml"
    if text is not None:
        path = tmp_path / "sluice.yaml"
        path.write_text(text)
    return ahead.plan(load(path), path.parent)


def names_of(plan: Plan) -> list[str]:
    return [*plan.shared, *(name for s in plan.sets.values() for name in s.modules)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks are used on Linux alone")
@pytest.mark.timeout(300)
def test_every_name_is_there_and_none_starts_a_thread_or_runs_anything(tmp_path: Path) -> None:
    plan = plan_of("image", tmp_path)
    env = {**os.environ, **plan.env, **start._ONE}
    done = subprocess.run([sys.executable, "-c", IMPORT, *names_of(plan)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[] False False\n"


def test_every_step_takes_a_set_there_is(tmp_path: Path) -> None:
    plan = plan_of("image", tmp_path)
    assert set(plan.steps.values()) <= set(plan.sets)
    assert {s.on for s in plan.sets.values()} - {None} <= set(plan.sets)
    orjson.dumps(plan)


def test_nobody_waits_for_torch_where_it_learns_nothing(tmp_path: Path) -> None:
    text = "name: x\ntask: tabular\ndata: {source: 'sklearn://wine'}\nmodel: {estimator: random_forest}\n"
    assert not [n for n in names_of(plan_of("tabular", tmp_path, text)) if n == "torch"]
    assert "torch" in names_of(plan_of("image", tmp_path))
