"""What ``scheme://`` means before a source; sources of a user's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sluice.core.errors import DataError
from sluice.data.config import Columns
from sluice.data.locations import files_of
from sluice.data.prepare import prepare
from sluice.data.scheme import SOURCES, scheme_of
from sluice.data.sources import read_source
from sluice.project import parse
from sluice.tasks import load_task

PLUGIN = Path(__file__).parents[2] / "plugins" / "source_numbered.py"


@pytest.fixture
def folder(tmp_path):
    shutil.copy(PLUGIN, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [
        ("rows.csv", None),
        ("data/*.csv", None),
        ("s3://b/k", "s3"),
        ("S3://b/k", "S3"),
        ("sklearn://iris", "sklearn"),
        ("my_rows:daily://2026", "my_rows:daily"),
        ("pkg.my_rows:daily://2026", "pkg.my_rows:daily"),
        ("C:/rows.csv", None),
        ("a:b.csv", None),
    ],
)
def test_scheme_of(uri, scheme):
    assert scheme_of(uri) == scheme


def test_a_source_of_the_user_s_own_brings_a_table(folder):
    found = read_source("source_numbered:lines://40", "auto", folder, None, Columns())
    assert found.table.num_rows == 40 and found.table.column("label").to_pylist().count("low") == 20
    assert found.digest == read_source("source_numbered:lines://40", "auto", folder, None, Columns()).digest


def test_a_source_of_the_user_s_own_brings_files_which_are_read_as_any(folder):
    for name, text in (("b", "3,no\n"), ("a", "1.5,yes\n2,no\n")):
        (folder / f"{name}.txt").write_text(text)
    found = read_source(f"source_numbered:files://{folder}", "auto", folder, None, Columns())
    assert found.table.to_pydict() == {"x": [1.5, 2.0, 3.0], "label": ["yes", "no", "no"]}
    assert found.place(2) == f"{folder / 'b.txt'} row 1"


def test_its_rows_become_a_dataset(folder):
    project = parse({"name": "t", "task": "tabular", "data": {"source": "source_numbered:lines://200"}}, base_dir=folder)
    made = prepare(project, folder, load_task(project, folder), folder / "dataset")
    assert sum(made.rows(s) for s in ("train", "validation", "test")) == 200 and made.labels == ["high", "low"]


@pytest.mark.parametrize(
    ("uri", "said", "fix"),
    [
        ("source_numbered:lines://many", "is no number of rows", "for example"),
        ("source_numbered:nothing://1", "has no nothing", "name a class"),
        ("no_such_module_x:lines://1", "cannot import no_such_module_x", "beside sluice.yaml"),
        ("sklern://iris", "unknown scheme", "did you mean sklearn://?"),
        ("ftp://x/y.csv", "unknown scheme", "download the file"),
    ],
)
def test_what_a_source_cannot_bring_is_told_with_the_setting_and_the_fix(folder, uri, said, fix):
    with pytest.raises(DataError, match=said) as told:
        read_source(uri, "auto", folder, None, Columns())
    assert told.value.field == "data.source" and told.value.value == uri and fix in (told.value.fix or "")


def test_a_source_that_brings_nothing_is_told_so(folder):
    with pytest.raises(DataError, match="brings no file"):
        read_source(f"source_numbered:files://{folder / 'empty'}", "auto", folder, None, Columns())


def test_what_reads_files_alone_refuses_a_table(folder):
    with pytest.raises(DataError, match="names no file"), files_of("sklearn://iris", folder):
        pass


def test_every_built_in_scheme_is_there():
    assert all(callable(SOURCES.get(name)) for name in SOURCES.names())
