"""Columns that no model reads and slices go by: in the dataset, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sluice import project as projects
from sluice.core.errors import ProjectError
from sluice.core.predicate import read
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare, validate_project_data
from sluice.data.where import Held, sliced
from sluice.engines.rows import rows_from_arrow
from sluice.tasks import load_task


def write(path: Path, first: int, rows: int = 80) -> None:
    told = [
        f"{i},note {i},{'DE' if i % 2 else 'FR'},2026-01-{1 + i % 28:02d},{'yes' if i % 7 < 3 else 'no'}"
        for i in range(first, first + rows)
    ]
    path.write_text("\n".join(["age,text,country,day,label", *told]))


def made(folder: Path, task: str = "text", **sections: Any) -> projects.Project:
    data = {"source": "rows.csv", **sections.pop("data", {})}
    return projects.parse({"name": "trial", "task": task, "data": data, **sections}, base_dir=folder)


def dataset(folder: Path, **sections: Any) -> Dataset:
    write(folder / "rows.csv", 0)
    project = made(folder, **sections)
    task = load_task(project, folder)
    validate_project_data(project, folder, task)
    return prepare(project, folder, task, folder / "out")


def test_a_slice_may_be_of_a_column_that_the_model_does_not_read(tmp_path: Path) -> None:
    found = dataset(tmp_path, evaluate={"slices": ["country", "age >= 40 and day < '2026-01-15'"]})
    assert found.beside == {"country": "categorical", "age": "numeric", "day": "timestamp"}
    assert list(found.columns) == ["text"]
    assert rows_from_arrow("text", found.read("test"))[0].startswith("note ")
    held = Held.of(found, "test")
    ages = [int(text.split()[1]) for text in found.read("test").column("text").to_pylist()]
    slices = sliced(held, ["country", "age >= 40 and day < '2026-01-15'"])
    assert slices["country"] == ["DE" if i % 2 else "FR" for i in ages]
    assert slices["age >= 40 and day < '2026-01-15'"].tolist() == [i >= 40 and 1 + i % 28 < 15 for i in ages]


def test_of_a_table_it_is_an_ignored_column(tmp_path: Path) -> None:
    found = dataset(
        tmp_path, task="tabular", data={"columns": {"ignore": ["country", "text"]}}, evaluate={"slices": ["country", "age < 9"]}
    )
    assert found.beside == {"country": "categorical"} and "age" in found.columns and "country" not in found.columns
    assert "__beside_country" not in rows_from_arrow("tabular", found.read("test"))[0]


def test_held_out_rows_of_their_own_bring_it_too(tmp_path: Path) -> None:
    write(tmp_path / "more.csv", 100, 20)
    found = dataset(tmp_path, data={"test": "more.csv"}, evaluate={"slices": ["age >= 110"]})
    assert Held.of(found, "test").rows(read("age >= 110")).sum() == 10


def test_without_such_slices_a_dataset_is_what_it_was(tmp_path: Path) -> None:
    found = dataset(tmp_path, evaluate={"slices": ["label"]})
    assert "beside" not in found.manifest and found.read("test").schema.names == ["row_id", "text", "label"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("contry == 'DE'", "evaluate.slices: is no feature of the data (in contry == 'DE') (got 'contry')"),
        ("country > 3", "evaluate.slices: 'country' holds texts, which have no order (got 'country > 3')"),
    ],
)
def test_an_expression_is_tried_before_anything_is_trained(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path / "rows.csv", 0)
    project = made(tmp_path, evaluate={"slices": [text]})
    with pytest.raises(ProjectError) as e:
        validate_project_data(project, tmp_path, load_task(project, tmp_path))
    assert said in str(e.value)


def test_a_malformed_expression_is_refused_when_the_project_is_read(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as e:
        made(tmp_path, evaluate={"slices": ["label", "age >="]})
    assert "evaluate.slices.1: cannot be read at character 7 of 'age >='" in str(e.value)
