"""What is found by name, and what a name that is not there is answered with."""

from __future__ import annotations

import os
import sys
from importlib import metadata

import pytest

from sluice.core.errors import ProjectError
from sluice.core.registry import Registry

SHAPES = Registry("shape", {"circle": "math:pi", "square": "tests_of_registry_that_is_not_there:Square"})


class Entry:
    """An entry point of another distribution."""

    name, value = "triangle", "math:tau"


@pytest.fixture(autouse=True)
def other_distribution(monkeypatch):
    looks = []

    def entry_points(*, group):
        looks.append(group)
        return [Entry] if group == "sluice.shapes" else []

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    return looks


def test_a_built_in_name_is_imported_when_it_is_asked_for():
    assert SHAPES.get("circle") == pytest.approx(3.14159, abs=1e-5)
    assert "tests_of_registry_that_is_not_there" not in sys.modules


def test_other_distributions_bring_names_of_their_own_after_ours():
    assert SHAPES.names() == ["circle", "square", "triangle"]
    assert SHAPES.get("triangle") == pytest.approx(6.28318, abs=1e-5)


def test_what_is_installed_is_looked_through_once_until_the_search_path_changes(other_distribution, monkeypatch, tmp_path):
    metals = Registry("metal", {})  # a name that no other test has asked for
    for _ in range(3):
        assert metals.names() == [] and "iron" not in metals
    assert other_distribution == ["sluice.metals"]
    monkeypatch.syspath_prepend(str(tmp_path))
    assert metals.names() == []
    (tmp_path / "ores-1.dist-info").mkdir()
    os.utime(tmp_path, ns=(1, 1))
    assert metals.names() == []
    assert other_distribution == ["sluice.metals"] * 3, "a folder that was put before the others, and one in which something was installed"


def test_an_unknown_name_is_answered_with_the_nearest_and_with_all():
    with pytest.raises(ProjectError) as told:
        SHAPES.get("circel", field="drawing.shape")
    assert told.value.field == "drawing.shape" and told.value.value == "circel"
    assert "did you mean 'circle'?" in str(told.value) and "triangle" in str(told.value) and "module:" in str(told.value)


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        ("", "registry_a:Missing", "has no Missing"),
        ("import nothing_of_that_name\n", "registry_b:X", "cannot import registry_b"),
        ("1 / 0\n", "registry_c:X", "ZeroDivisionError"),
    ],
)
def test_what_cannot_be_imported_says_why(tmp_path, source, name, said):
    (tmp_path / f"{name.partition(':')[0]}.py").write_text(source)
    with pytest.raises(ProjectError, match=said) as told:
        SHAPES.get(name, beside=tmp_path)
    assert told.value.field == "shape" and told.value.value == name and told.value.fix


def test_a_module_beside_the_project_comes_before_one_of_that_name_from_another_project(tmp_path):
    for value in (1, 2, 1):
        folder = tmp_path / str(value)
        folder.mkdir(exist_ok=True)
        (folder / "registry_d.py").write_text(f"SIZE = {value}\n")
        assert SHAPES.get("registry_d:SIZE", beside=folder) == value


def test_a_name_like_none_that_there_is_is_answered_with_all_of_them():
    with pytest.raises(ProjectError, match="unknown shape") as e:
        SHAPES.get("zzz")
    assert e.value.fix == "there are circle, square, triangle; your own: my_module:MyClass"
