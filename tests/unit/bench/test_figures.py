"""The figures of `make figures` count what they say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.tools import drawing, figures

MODULE = '''
class Shape:
    """A shape."""

    def area(self):
        return 0

    def _hidden(self):
        return 0


class Square(Shape):
    """A square."""

    def area(self):
        return 1


def told():
    """Told."""


def bare():
    def inner():
        pass
    return inner


def _private():
    pass
'''


def test_public_names_without_a_docstring_are_found_and_overriding_methods_are_not():
    tree = ast.parse(MODULE)
    assert [name for name, _ in figures.undocumented(tree)] == ["Shape.area", "bare"]
    assert figures.public(tree) == 5  # Shape, its area, Square, told, bare


def test_a_function_is_as_long_as_it_stands():
    found = {name: n for name, n, _ in figures.functions(ast.parse(MODULE))}
    assert found["bare"] == 4 and found["inner"] == 2 and found["told"] == 2


IMPORTS = """
from typing import TYPE_CHECKING
import a
from b import thing
from c import d
if TYPE_CHECKING:
    import e
try:
    import f
except ImportError:
    import g
def late():
    import h
"""


def test_imports_for_types_and_inside_functions_make_no_circle():
    known = dict.fromkeys(["a", "b", "c", "c.d", "e", "f", "g", "h", "me"])
    assert figures.imports(ast.parse(IMPORTS), "me", known) == {"a", "b", "c.d", "f", "g"}


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}, "c": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"e"}, "e": {"d"}}, [["a", "b", "c"], ["d", "e"]]),
    ],
)
def test_circles(graph, found):
    assert figures.circles(graph) == found


def test_a_package_is_named_by_its_folder():
    assert figures.module_name(Path("sluice/core/__init__.py")) == "sluice.core"
    assert figures.module_name(Path("sluice/core/files.py")) == "sluice.core.files"


def test_no_two_modules_of_the_project_import_each_other():
    trees = {p: ast.parse(t) for p, t in figures.sources(figures.ROOT, figures.CODE).items()}
    modules = {figures.module_name(p): p for p in trees}
    assert figures.circles({m: figures.imports(trees[p], m, modules) for m, p in modules.items()}) == []


def test_the_drawing_has_each_package_once_and_tells_what_goes_up():
    edges = {"top": {"middle", "bottom"}, "middle": {"bottom", "core"}, "bottom": {"core"}, "core": {"middle"}}
    at, up = drawing.layers(edges)
    assert up == {("core", "middle")}
    assert [at[r] for r in ("core", "bottom", "middle", "top")] == [0, 1, 2, 3]
    picture = drawing.svg(dict.fromkeys(edges, 2), edges)
    assert all(picture.count(f">{r}</text>") == 1 for r in edges)
    assert picture.count('class="up"') == 1 and picture.count("<path") == 1 + 3  # top imports bottom over middle


@pytest.mark.parametrize(
    ("module", "found"),
    [
        ("sluice.core.files", "core"),
        ("sluice.project", "project"),
        ("serving.runtime.http.server", "serving.runtime"),
        ("pipelines.local", "pipelines"),
    ],
)
def test_the_room_of_a_module(module, found):
    assert drawing.room(module) == found
