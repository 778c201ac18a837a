"""The task of generation: which pictures it takes, at what size, and what it says of those it cannot learn from."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sluice.core.errors import DataError, ProjectError, SluiceError
from sluice.core.png import png
from sluice.data.prepare import load_canonical, validate_project_data
from sluice.fields.exemplar import pictures
from sluice.project import parse
from sluice.tasks import load_task


def pictured(seed: int, height: int = 6, width: int = 5, channels: int = 1) -> bytes:
    return png(np.random.default_rng(seed).integers(0, 256, (height, width, channels)))


def table(found: list[bytes | None], labels: list[str] | None = None) -> pa.Table:
    return pa.table({"image": pa.array(found, pa.binary()), **({"label": labels} if labels else {})})


def canonical(found: pa.Table, **model: Any) -> tuple[dict[str, str], pa.Table]:
    task = load_task(parse({"name": "g", "task": "generate", "data": {"source": "x"}, "model": model}))
    return task.kinds(found), task.canonical(found)


def test_a_request_is_a_seed_and_the_class_where_there_is_one() -> None:
    kinds, rows = canonical(table([pictured(1), pictured(2)], ["a", "b"]))
    assert kinds == {"image": "exemplar", "seed": "seed", "class": "categorical"}
    assert rows.column("class").to_pylist() == ["a", "b"]
    assert pictures(rows.column("label")).shape == (2, 6, 5, 1)
    assert canonical(table([pictured(1), pictured(2)]))[0] == {"image": "exemplar", "seed": "seed"}
    assert "class" not in canonical(table([pictured(1), pictured(2)], ["a", "b"]), conditional=False)[0]


def test_a_pictures_seed_is_its_own_and_that_of_its_copy() -> None:
    _, rows = canonical(table([pictured(1), pictured(2), pictured(1)]))
    seeds = rows.column("seed").to_pylist()
    assert seeds[0] == seeds[2] != seeds[1]
    assert all(0 <= s < 2**48 for s in seeds)


@pytest.mark.parametrize(
    ("found", "shape"),
    [
        ([pictured(1, 6, 5), pictured(2, 6, 5), pictured(3, 8, 8)], (6, 5, 1)),
        ([pictured(1, 64, 128, 3), pictured(2, 64, 128, 3)], (16, 32, 3)),
        ([pictured(1, 9, 9, 3), pictured(2, 9, 9), pictured(3, 9, 9)], (9, 9, 1)),
    ],
)
def test_pictures_take_the_commonest_size_and_colour(found: list[bytes | None], shape: tuple[int, int, int]) -> None:
    _, rows = canonical(table(found))
    assert pictures(rows.column("label")).shape[1:] == shape


def test_a_file_that_is_no_picture_leaves_its_row_without_one() -> None:
    _, rows = canonical(table([pictured(1), b"\x89PNG\r\n\x1a\nbroken", None, pictured(2)]))
    assert rows.column("label").is_null().to_pylist() == [False, True, True, False]


@pytest.mark.parametrize("found", [[pictured(1)], [pictured(1), pictured(1)], [None], []])
def test_one_picture_teaches_nothing(found: list[bytes | None]) -> None:
    with pytest.raises(DataError) as told:
        canonical(table(found))
    assert told.value.field == "data.source" and told.value.fix


@pytest.mark.parametrize("model", [{"size": [2, 8]}, {"size": [65, 64], "channels": 3}, {"size": [1000, 1000]}])
def test_sizes_out_of_range_are_refused(model: dict[str, Any]) -> None:
    with pytest.raises(ProjectError) as told:
        canonical(table([pictured(1), pictured(2)]), **model)
    assert told.value.field == "model.size" and told.value.value == model["size"] and told.value.fix


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ({"model": {"noise": 0}}, "model.noise"),
        ({"model": {"noise": 1000}}, "model.noise"),
        ({"model": {"kind": "diffusion"}}, "model.kind"),
        ({"train": {"epochs": 0}}, "train.epochs"),
        ({"evaluate": {"metric": "accuracy2"}}, "evaluate.metric"),
    ],
)
def test_settings_out_of_range_name_their_field(section: dict[str, Any], field: str) -> None:
    with pytest.raises(ProjectError) as told:
        parse({"name": "g", "task": "generate", "data": {"source": "x"}, **section})
    assert field in str(told.value)


def test_classes_are_not_asked_for_where_there_are_none() -> None:
    with pytest.raises(DataError) as told:
        canonical(table([pictured(1), pictured(2)]), conditional=True)
    assert told.value.field == "model.conditional"


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[dict[str, bytes]], Any]:
    def build(files: dict[str, bytes]) -> Any:
        for name, data in files.items():
            (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "pictures" / name).write_bytes(data)
        return parse({"name": "g", "task": "generate", "data": {"source": "pictures", "checks": {"rows_min": 2}}})

    return build


def test_a_folder_may_hold_its_pictures_as_they_are(folder: Any, tmp_path: Path) -> None:
    project = folder({f"{i:03}.png": pictured(i) for i in range(60)})
    found, kinds, objective = load_canonical(project, tmp_path, load_task(project, tmp_path))
    assert (found.num_rows, objective) == (60, "synthesis")
    assert "class" not in kinds
    assert validate_project_data(project, tmp_path, load_task(project, tmp_path)).decision == "pass"


def test_a_folder_of_folders_has_classes_and_mixed_sizes_are_said(folder: Any, tmp_path: Path) -> None:
    grey = io.BytesIO()
    Image.new("L", (40, 40), 99).save(grey, "JPEG")
    project = folder({**{f"{'ab'[i % 2]}/{i}.png": pictured(i) for i in range(60)}, "a/large.jpg": grey.getvalue()})
    task = load_task(project, tmp_path)
    found, kinds, _ = load_canonical(project, tmp_path, task)
    assert kinds["class"] == "categorical" and set(found.column("class").to_pylist()) == {"a", "b"}
    line = next(c for c in validate_project_data(project, tmp_path, task).checks if c.name == "sizes")
    assert line.status == "warn" and "2 sizes" in line.message and "5x6" in line.message


@pytest.mark.parametrize("files", [{"note.txt": b"none"}, {"a/note.txt": b"none"}, {"1.png": b"no picture"}, {"1.png": b""}])
def test_folders_without_pictures_are_refused(folder: Any, tmp_path: Path, files: dict[str, bytes]) -> None:
    project = folder(files)
    with pytest.raises(SluiceError) as told:
        load_canonical(project, tmp_path, load_task(project, tmp_path))
    assert told.value.field and told.value.fix


def test_a_broken_picture_is_refused_by_its_file(folder: Any, tmp_path: Path) -> None:
    project = folder({**{f"{i}.png": pictured(i) for i in range(60)}, "bad.png": pictured(99)[:40]})
    report = validate_project_data(project, tmp_path, load_task(project, tmp_path))
    assert report.decision == "refuse"
    assert any("bad.png" in example for c in report.checks for example in c.examples)


@pytest.mark.parametrize("names", [["{}.png"], ["a/{}.png", "b/{}.png"]])
def test_a_project_is_begun_from_a_folder(tmp_path: Path, names: list[str]) -> None:
    from sluice.commands.starter import draft

    for i in range(60):
        path = tmp_path / "pictures" / names[i % len(names)].format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictured(i))
    made = draft(tmp_path / "pictures", tmp_path / "project", name="g", task="generate", label=None, ask=None)
    assert made.raw["task"] == "generate" and made.report is not None and made.report.decision == "pass"
    assert parse({**made.raw, "data": {**made.raw["data"], "source": "x"}}).task == "generate"
