"""Shards of WebDataset's own layout: a key a sample, its label in a file beside it, several archives, named with braces."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sluice import project as projects
from sluice.core.errors import DataError
from sluice.data.dataset import Dataset
from sluice.data.locations import find, spread_out
from sluice.data.prepare import prepare, validate_project_data
from sluice.tasks import load_task

SHARDS, ROWS = 3, 20
MODEL = {"channels": 1, "size": [8, 8]}


def picture(number: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8), np.uint8)).save(out, "PNG")
    return out.getvalue()


def shards(base: Path, *beside: str, folder: str = "") -> None:
    for shard in range(SHARDS):
        with tarfile.open(base / f"train-{shard:06d}.tar", "w") as archive:
            for row in range(ROWS):
                number = shard * ROWS + row
                label = "odd" if number % 2 else "even"
                said = {"cls": label, "txt": f" {label}\n", "json": json.dumps({"label": label, "place": number % 3, "box": [1, 2]})}
                for ending, data in [("png", picture(number)), *((e, said[e].encode()) for e in beside)]:
                    info = tarfile.TarInfo(f"{folder and label + '/'}{row:06d}.{ending}")  # a key is one in its shard alone
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))


def dataset(base: Path, source: str, **data: Any) -> Dataset:
    raw = {"name": "shards", "task": "image", "model": MODEL, "data": {"source": source, "checks": {"rows_min": 10}, **data}}
    project = projects.parse(raw, base_dir=base)
    assert validate_project_data(project, base, load_task(project, base)).decision == "pass"
    return prepare(project, base, load_task(project, base), base / f"dataset-{data.get('engine', 'auto')}-{len(list(base.iterdir()))}")


@pytest.mark.parametrize("beside", [("cls",), ("txt",), ("json",), ("cls", "json", "txt")])
def test_every_sample_of_every_shard_is_read_with_the_label_beside_it(tmp_path: Path, beside: tuple[str, ...]) -> None:
    shards(tmp_path, *beside)
    made = dataset(tmp_path, "train-*.tar")
    rows = {row["image"]: row["label"] for s in ("train", "validation", "test") for row in made.read(s, ["image", "label"]).to_pylist()}
    assert rows == {picture(n): "odd" if n % 2 else "even" for n in range(SHARDS * ROWS)}
    for source, more in (("train-{000000..000002}.tar", {}), ("train-*.tar", {"engine": "local"})):
        assert dataset(tmp_path, source, **more).digest == made.digest


def test_archives_with_a_folder_a_label_are_read_one_behind_the_other(tmp_path: Path) -> None:
    shards(tmp_path, folder="labels")
    made = dataset(tmp_path, "train-*.tar")
    assert sum(made.rows(s) for s in ("train", "validation", "test")) == SHARDS * ROWS
    assert dataset(tmp_path, "train-*.tar", engine="local").digest == made.digest


def test_what_stands_in_json_beside_the_label_can_part_the_split(tmp_path: Path) -> None:
    shards(tmp_path, "json")
    made = dataset(tmp_path, "train-*.tar", split={"by": "group", "column": "place", "test": 0.3, "validation": 0.3})
    groups = [set(made.read(s, ["__group"]).column("__group").to_pylist()) for s in ("train", "validation", "test")]
    assert set.union(*groups) == {"0", "1", "2"}
    assert sum(map(len, groups)) == 3


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.png": b"", "a.jpg": b"", "a.cls": b"x"}, "a.png: has the key of a.jpg"),
        ({"a.png": b"", "a.json": b"[1]"}, "a.json: is no JSON object"),
        ({"a.png": b"", "a.json": b"{"}, "a.json: is not JSON"),
        ({"a.png": b"", "a.json": b'{"class": "x"}'}, "says no 'label' of any sample"),
        ({"a.png": b"", "a.cls": b"\xff"}, "a.cls: is not UTF-8 text"),
        ({"a.png": b""}, "0001.cls beside 0001.jpg"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data or picture(1))
            archive.addfile(info, io.BytesIO(data or picture(1)))
    with pytest.raises(DataError) as e:
        dataset(tmp_path, "s.tar")
    assert said in str(e.value)


def test_braces_stand_for_names_and_each_has_to_be_there(tmp_path: Path) -> None:
    assert spread_out("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert spread_out("{a,b}/{1..2}.csv") == ["a/1.csv", "a/2.csv", "b/1.csv", "b/2.csv"]
    assert spread_out("plain{x}.csv") == ["plain{x}.csv"]
    for name in ("p0.csv", "p2.csv", "p{0..1}.csv"):
        (tmp_path / name).touch()
    assert [f.where for f in find("p{2,0}.csv", tmp_path)] == ["p2.csv", "p0.csv"]
    assert [f.where for f in find("p{0..1}.csv", tmp_path)] == ["p{0..1}.csv"]  # a file that is called so
    with pytest.raises(DataError, match=r"no such file.*p1\.csv"):
        find("p{0..2}.csv", tmp_path)
    with pytest.raises(DataError, match="stands for 0 files"):
        find("p{3..2}.csv", tmp_path)


def test_a_folder_of_archives_says_how_they_are_named(tmp_path: Path) -> None:
    shards(tmp_path, "cls")
    with pytest.raises(DataError, match=r"name the archives: \./\*\.tar"):
        dataset(tmp_path, ".")
