"""`sluice init --task`: the project that a task brings to start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.commands.project import template
from sluice.core.errors import ProjectError
from sluice.tasks.base import TASKS


@pytest.mark.parametrize("task", TASKS.built_in)
def test_every_built_in_task_brings_a_project(task: str) -> None:
    assert f"task: {task}" in (template(task) / "sluice.yaml").read_text()


def test_a_task_of_ones_own_brings_its_project_beside_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_starter_task.py").write_text(
        "from sluice.tasks.text import TextTask\nclass Mine(TextTask):\n    starter = 'mine'\nclass Bare(TextTask): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ProjectError, match="missing from this installation"):
        template("own_starter_task:Mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sluice.yaml").write_text("name: mine\n")
    assert template("own_starter_task:Mine") == tmp_path / "mine"
    with pytest.raises(ProjectError, match="brings no project to start from"):
        template("own_starter_task:Bare")


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(ProjectError, match=r"--task.*txt") as caught:
        template("txt")
    assert "did you mean 'text'?" in (caught.value.fix or "")
