"""Which class a project's `task:` names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sluice.core.errors import ProjectError
from sluice.project import parse
from sluice.tasks import TASKS, State, load_task

BASE = {"name": "t", "data": {"source": "x.csv"}}
#: What the `model:` of a task cannot do without.
NEEDED = {"llm": {"model": {"endpoint": {"url": "http://127.0.0.1:9/v1", "model": "m"}}}}


@pytest.mark.parametrize("name", TASKS.names())
def test_built_in_tasks_load_by_name(name):
    task = load_task(parse({**BASE, "task": name, **NEEDED.get(name, {})}))
    assert task.name == name
    assert isinstance(task.project.model, (task.Model, *task.sections()[1].values()))


def test_a_class_of_the_user_s_own_lies_beside_the_project_file(tmp_path):
    (tmp_path / "own_task_a.py").write_text("from sluice.tasks.image import ImageTask\nclass Mine(ImageTask):\n    name = 'mine'\n")
    project = parse({**BASE, "task": "own_task_a:Mine"}, base_dir=tmp_path)
    assert load_task(project, tmp_path).name == "mine"


def test_two_projects_with_modules_of_one_name_each_get_their_own(tmp_path):
    for name in ("one", "two", "one"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "own_task_d.py").write_text(f"from sluice.tasks.image import ImageTask\nclass Mine(ImageTask):\n    name = '{name}'\n")
        project = parse({**BASE, "task": "own_task_d:Mine"}, base_dir=folder)
        assert load_task(project, folder).name == name


def test_a_class_that_leaves_methods_out_is_told_which(tmp_path):
    (tmp_path / "own_task_b.py").write_text(
        "from sluice.core.section import Section\nfrom sluice.learners.torch.task import TorchTask\nclass Half(TorchTask):\n    name = 'half'\n    Model = Section\n    def kinds(self, table): ...\n"
    )
    project = parse({**BASE, "task": "own_task_b:Half"}, base_dir=tmp_path)
    with pytest.raises(ProjectError, match="does not define build, canonical, fit"):
        load_task(project, tmp_path)


@pytest.mark.parametrize(
    ("imported", "base", "fix"),
    [
        (
            "from sluice.tasks.base import State, Task",
            "Task",
            "from sluice.learners.torch.task import TorchTask; class Old(TorchTask): ...",
        ),
        ("from sluice.tasks.text import TextTask", "TextTask", "network = MyNetwork"),
    ],
)
def test_a_task_that_brings_a_network_as_tasks_did_before_is_told_the_line_to_change(tmp_path, imported, base, fix):
    module = f"own_task_{base.lower()}"
    (tmp_path / f"{module}.py").write_text(
        f"{imported}\nclass Old({base}):\n    def build(self, state): ...\n    def loss(self, *_): ...\n"
    )
    if base == "Task":
        with (tmp_path / f"{module}.py").open("a") as f:
            f.write("    from sluice.core.section import Section as Model\n")
    project = parse({**BASE, "task": f"{module}:Old"}, base_dir=tmp_path)
    with pytest.raises(ProjectError, match=r"defines build\(\), loss\(\), which the torch learner looks for") as caught:
        load_task(project, tmp_path)
    assert fix in (caught.value.fix or "")


def test_a_class_that_is_no_task_is_refused(tmp_path):
    (tmp_path / "own_task_c.py").write_text("from sluice.core.section import Section\nclass Other:\n    Model = Section\n")
    project = parse({**BASE, "task": "own_task_c:Other"}, base_dir=tmp_path)
    with pytest.raises(ProjectError, match="does not derive from"):
        load_task(project, tmp_path)


def test_reading_data_needs_no_torch():
    code = """
import sys, pyarrow as pa
from sluice.project import parse
from sluice.tasks import load_task
base = {"name": "t", "data": {"source": "x.csv"}}
load_task(parse({**base, "task": "text"})).canonical(pa.table({"text": ["a"], "label": ["b"]}))
load_task(parse({**base, "task": "image"})).kinds(pa.table({"image": [b"a"], "label": ["b"]}))
load_task(parse({**base, "task": "tabular"})).canonical(pa.table({"x": [1.0], "label": ["b"]}))
sys.exit("torch" in sys.modules or "transformers" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_state_comes_back_as_it_was_saved(tmp_path):
    state = State("classification", ["a", "b"], {"kind": "text"}, {"tokenizer.json": b"{}"}, {"mean": [0.5]})
    state.save(tmp_path)
    assert State.load(tmp_path) == state


def test_a_state_that_is_not_there_or_damaged_says_so(tmp_path):
    from sluice.core.errors import DataError

    with pytest.raises(DataError, match="cannot be read"):
        State.load(tmp_path)
    (tmp_path / "state.json").write_text('{"format": "sluice.state/v1"}')
    with pytest.raises(DataError, match="is not a fitted state"):
        State.load(tmp_path)
