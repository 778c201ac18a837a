"""The project file is put together from its sections: each belongs to what it configures, and reading one costs little."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from sluice import project
from sluice.core.errors import ProjectError

DATA = {"source": "x.csv"}
OWN = """
    from sluice.core.section import Section
    from sluice.learners.base import Learner
    from sluice.learners.config import TrainSection
    from sluice.tasks.tabular import TabularTask

    class Train(TrainSection):
        rounds: int = 3

    class Rounds(Learner):
        name, Train = "rounds", Train

    class Mine(TabularTask):
        class Model(Section):
            depth: int = 2

        @classmethod
        def learnt_by(cls, model):
            return "own_learner_here:Rounds"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own_learner_here.py").write_text(textwrap.dedent(OWN))
    return tmp_path


def raw(**more: Any) -> dict[str, Any]:
    return {"name": "a", "task": "own_learner_here:Mine", "data": DATA, **more}


def test_a_learner_brings_its_section_and_a_task_its_own(folder: Path) -> None:
    made = project.parse(raw(train={"rounds": 7}, model={"depth": 4}), base_dir=folder)
    assert isinstance(made, project.Project)
    assert (made.train.rounds, made.train.seed, made.model.depth) == (7, 17, 4)  # type: ignore[attr-defined]
    assert made.digest != project.parse(raw(train={"rounds": 8}, model={"depth": 4}), base_dir=folder).digest
    assert made.model_dump()["train"] == {"seed": 17, "folds": None, "fold_groups": None, "rounds": 7}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"train": {"round": 7}}, "train.round: unknown key.*\n.*did you mean 'rounds'"),
        ({"train": {"epochs": 7}}, "train.epochs: unknown key"),
        ({"train": {"rounds": "x"}}, "train.rounds"),
        ({"rounds": 7}, "rounds: unknown key.*\n.*did you mean 'train.rounds'"),
        ({"model": {"deph": 7}}, "model.deph: unknown key.*\n.*did you mean 'depth'"),
        ({"train": {"round": 7}, "evaluate": {"minimun": 1}}, "2 faults"),
    ],
)
def test_a_wrong_key_of_a_learners_section_is_told_like_any_other(folder: Path, more: dict[str, Any], says: str) -> None:
    with pytest.raises(ProjectError, match=says):
        project.parse(raw(**more), base_dir=folder)


@pytest.mark.parametrize(("model", "has"), [({"hidden": [8]}, True), ({"estimator": "random_forest"}, False)])
def test_who_learns_decides_which_section_train_is(model: dict[str, Any], has: bool) -> None:
    made = project.parse({"name": "a", "task": "tabular", "data": DATA, "model": model})
    assert hasattr(made.train, "epochs") is has and hasattr(made.train, "seed")


def test_every_section_is_where_it_is_said_to_be_and_in_the_schema() -> None:
    properties = project.schema()["properties"]
    assert set(properties) == {"name", "task", "model", "train", "steps", *project.SECTIONS}
    assert set(project.Project.model_fields) == set(properties)


def test_the_project_file_imports_no_packages_settings() -> None:
    tree = ast.parse(Path(str(project.__file__)).read_text())
    named = {n.module for n in tree.body if isinstance(n, ast.ImportFrom) and n.module}
    assert not {m for m in named if m.endswith((".config", ".spec", ".serve"))}


def test_reading_a_project_imports_nothing_heavy() -> None:
    code = "import sys; from sluice import project; project.parse({'name': 'a', 'task': 'text', 'data': {'source': 'x.csv'}});"
    code += "print(*{'numpy', 'pyarrow', 'torch', 'onnx', 'sklearn', 'kfp', 'mlflow', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == ""
