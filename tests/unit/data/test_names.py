"""A name in the project file that is nowhere in the data is found before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest

from sluice import project as projects
from sluice.core.errors import DataError, ProjectError
from sluice.core.section import Named, Names, Section, names_in
from sluice.data.prepare import validate_project_data
from sluice.tasks import load_task


def check(folder: Path, task: str = "tabular", **sections: Any) -> str:
    """The error of checking a project on 60 rows; empty where there is none."""
    rows = [f"{i},{'ROB'[i % 3]},note {i},{'yes' if i % 7 < 3 else 'no'}" for i in range(60)]
    (folder / "rows.csv").write_text("\n".join(["age,town,text,label", *rows]))
    data = {"source": "rows.csv", **({"columns": {"ignore": ["text"]}} if task == "tabular" else {}), **sections.pop("data", {})}
    made = projects.parse({"name": "trial", "task": task, "data": data, **sections}, base_dir=folder)
    try:
        validate_project_data(made, folder, load_task(made, folder))
    except (ProjectError, DataError) as e:
        assert e.exit_code == 2
        return str(e)
    return ""


@pytest.mark.parametrize(
    "sections, message",
    [
        (
            {"evaluate": {"slices": ["twon"]}},
            "evaluate.slices: is no feature of the data (got 'twon')\n  fix: did you mean 'town'? features: age, town, label",
        ),
        ({"evaluate": {"slices": ["TOWN"]}}, "did you mean 'town'?"),
        (
            {"data": {"columns": {"ignore": ["text"]}, "checks": {"ranges": {"text": {"min": 0.0}}}}},
            "is a column of the source, but no feature",
        ),
        ({"train": {"folds": 3, "fold_groups": "label"}}, "train.fold_groups: is no feature of the data (got 'label')"),
        (
            {"train": {"class_weights": {"yess": 2.0}}},
            "train.class_weights: is no label of the data (got 'yess')\n  fix: did you mean 'yes'?",
        ),
        (
            {"evaluate": {"metric": "f1", "positive": "Yes"}},
            "evaluate.positive: is no label of the data (got 'Yes')\n  fix: did you mean 'yes'?",
        ),
        (
            {"data": {"columns": {"ignore": ["text"]}, "split": {"by": "group", "column": "towns"}}},
            "(got 'towns')\n  fix: did you mean 'town'?",
        ),
        (
            {"data": {"checks": {"ranges": {"aged": {"min": 0.0}}}}},
            "data.checks.ranges: is no feature of the data (got 'aged')\n  fix: did you mean 'age'?",
        ),
    ],
)
def test_a_wrong_name_is_named_with_its_setting_and_the_nearest_right_one(tmp_path: Path, sections: dict, message: str) -> None:
    assert message in check(tmp_path, **sections)


def test_all_wrong_names_are_named_at_once(tmp_path: Path) -> None:
    found = check(tmp_path, evaluate={"slices": ["twon", "label"]}, train={"folds": 3, "fold_groups": "ages"})
    assert "2 names that are not there" in found and "'twon'" in found and "train.fold_groups" in found


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"evaluate": {"slices": ["town", "label"]}},
        {"evaluate": {"slices": ["text", "age >= 30 and town == 'R'"]}},
        {"train": {"folds": 3, "fold_groups": "town"}},
        {"data": {"checks": {"ranges": {"age": {"min": 0.0}}}}},
    ],
)
def test_names_that_are_there_pass(tmp_path: Path, sections: dict) -> None:
    assert check(tmp_path, **sections) == ""


def test_files_are_looked_for_beside_the_project_and_ids_of_a_hub_are_not(tmp_path: Path) -> None:
    assert "model.pretrained: no such file (got './minilm')" in check(tmp_path, "text", model={"pretrained": "./minilm"})
    (tmp_path / "minilm").mkdir()
    assert check(tmp_path, "text", model={"pretrained": "./minilm"}) == ""
    assert check(tmp_path, "text", model={"pretrained": "sentence-transformers/all-MiniLM-L6-v2"}) == ""


def test_a_section_says_in_its_annotations_what_it_names() -> None:
    class Inner(Section):
        classes: Annotated[dict[str, float] | str | None, Names("class", ("balanced",))] = None

    class Outer(Section):
        inner: Inner = Inner()
        many: list[Inner] = []
        by: dict[str, Inner] = {}
        at: Annotated[str | None, Names("column")] = None

    made = Outer(
        inner=Inner(classes={"a": 1.0}), many=[Inner(classes="balanced"), Inner(classes="b")], by={"k": Inner(classes="c")}, at="day"
    )
    assert list(names_in(made)) == [
        Named("inner.classes", "class", "a"),
        Named("many.1.classes", "class", "b"),
        Named("by.k.classes", "class", "c"),
        Named("at", "column", "day"),
    ]
    assert list(names_in(Outer())) == []
