"""Who learns a table where the project does not say: trees and a linear model mixed, unless a setting is one that only the network has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sluice.core.errors import ProjectError
from sluice.project import Project, load, parse
from sluice.tasks import load_task

EXAMPLES = Path(__file__).parents[3] / "examples"
SPACE = {"type": "float", "low": 1e-4, "high": 1e-1}


def made(**sections: Any) -> Project:
    return parse({"name": "p", "task": "tabular", "data": {"source": "x.csv", "columns": {"label": "y"}}, **sections})


def learner(**sections: Any) -> str:
    return load_task(made(**sections)).learner().name


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"model": None},
        {"model": {}},
        {"model": {"objective": "regression"}},
        {"model": {"monotone": {"size": "increasing"}}},
        {"train": {"seed": 3, "class_weights": "balanced", "folds": 5}},
        {"tune": {"space": {"model.learning_rate": SPACE}}},
    ],
    ids=str,
)
def test_nothing_that_asks_for_a_network_gets_trees_and_a_linear_model(sections: dict[str, Any]) -> None:
    assert learner(**sections) == "estimators"
    assert made(**sections).model.estimator == "auto"


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"hidden": [8]}},
        {"model": {"objective": "regression", "members": 2}},
        {"train": {"epochs": 3}},
        {"train": {"seed": 3, "early_stopping": {"patience": 2}}},
        {"tune": {"space": {"train.learning_rate": SPACE}}},
    ],
    ids=str,
)
def test_a_network_s_setting_gets_the_network_as_ever(sections: dict[str, Any]) -> None:
    assert learner(**sections) == "torch"


def test_what_is_misspelt_is_told_as_it_was() -> None:
    with pytest.raises(ProjectError, match="did you mean 'epochs'"):
        made(train={"epoch": 3})
    with pytest.raises(ProjectError, match="did you mean 'hidden'"):
        made(model={"hiden": [8]})
    with pytest.raises(ProjectError, match="model"):
        made(model=["auto"])


def test_the_other_tasks_of_tables_and_the_example_keep_who_learnt_them() -> None:
    assert parse({"name": "p", "task": "anomaly", "data": {"source": "x.csv"}}).model.__class__.__name__ != "AutoModel"
    assert load_task(load(EXAMPLES / "breast_cancer" / "sluice.yaml")).learner().name == "torch"


OWN = """
from typing import ClassVar
from sluice.core.section import Section
from sluice.tasks.tabular import TabularTask

class Mine(Section):
    width: int = 3

class Own(TabularTask):
    name: ClassVar[str] = "own"
    Model: ClassVar[type[Section]] = Mine

class Wide(TabularTask):
    name: ClassVar[str] = "wide"
    network: ClassVar[str] = "own_table:Network"
"""


def test_a_task_derived_from_tables_with_a_network_of_its_own_has_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_table.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    for task in ("own_table:Own", "own_table:Wide"):
        found = parse({"name": "p", "task": task, "data": {"source": "x.csv"}}, base_dir=tmp_path)
        assert not hasattr(found.model, "estimator")


def test_reading_such_a_project_imports_no_numpy() -> None:
    script = "import sys; from sluice.project import parse; parse({'name': 'p', 'task': 'tabular', 'data': {'source': 'x.csv'}}); print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120).stdout.strip() == "False"
