"""A format's word stands in `sluice/formats`, and what opens a graph in `sluice/engines`: nowhere else."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.formats.base import FORMATS

ROOT = Path(__file__).parents[3]
#: Packages of v1 name their precision by a closed list; `train.precision` is what is calculated with while training; a trial that was ended is pruned too.
NOT_FORMATS = (
    "sluice/formats/",
    "sluice/package/v1.py",
    "sluice/learners/torch/config.py",
    "sluice/learners/torch/precision.py",
    "components/tune/logic.py",
)
OPENED = ("InferenceSession", "SessionOptions", "SkipLayerNormFusion", "disabled_optimizers")


@functools.cache
def sources() -> list[tuple[str, ast.AST]]:
    """(name from the root, tree) of every module that is shipped."""
    paths = [p for folder in ("sluice", "components", "pipelines", "serving") for p in sorted((ROOT / folder).rglob("*.py"))]
    return [(p.relative_to(ROOT).as_posix(), ast.parse(p.read_text(encoding="utf-8"))) for p in paths]


def words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every string, and of every name that is read of an object."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.Attribute):
            yield node.lineno, f".{node.attr}"


def test_the_words_for_formats_stand_in_their_folder() -> None:
    names = set(FORMATS.names())
    found = [f"{n}:{line}: {w!r}" for n, tree in sources() if not n.startswith(NOT_FORMATS) for line, w in words(tree) if w in names]
    assert not found, "ask the format (sluice/formats/base.py) instead of:\n" + "\n".join(found)


def test_only_the_engine_makes_a_session_of_onnx_runtime() -> None:
    of_engines = {f".{w}" for w in OPENED} | set(OPENED)
    allowed = {"sluice/engines/onnxruntime.py", "sluice/formats/int8.py", "sluice/package/v1.py"}
    found = {n for n, tree in sources() for _, w in words(tree) if w in of_engines}
    assert found == allowed
    sessions = {n for n, tree in sources() for _, w in words(tree) if w == ".InferenceSession"}
    assert sessions == {"sluice/engines/onnxruntime.py"}


@pytest.mark.parametrize("code", ["x = p.precision == 'int8'", "x = {'fp32': 1}", "names = ['fp16']", "def f(x='int8'): ..."])
def test_each_way_to_name_a_format_is_seen(code: str) -> None:
    assert set(FORMATS.names()) & {w for _, w in words(ast.parse(code))}
