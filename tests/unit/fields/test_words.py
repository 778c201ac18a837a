"""No code outside `sluice/fields` compares the word for a kind of data: it asks the field, or the processor."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.fields import FIELDS

ROOT = Path(__file__).parents[3]
WORDS = {*FIELDS.names(), "tabular", "tensor"}
#: Words that mean something else there: what columns of times are called; a type of an expression's value; a parameter of an endpoint; a part of OpenAI's messages.
OTHERS = {
    "sluice/data/timestamps.py": {"timestamp"},
    "sluice/data/truth.py": {"text"},
    "sluice/llm/asking.py": {"seed"},
    "sluice/llm/items.py": {"text"},
    "serving/runtime/prompts/model.py": {"text"},
}


def compared(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, word) wherever a word is compared, looked up in a collection of such words, matched, or is a key that is looked up by a kind."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
            sides = [k for k in node.value.keys if k is not None]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Dict):
            sides = [k for k in node.func.value.keys if k is not None]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("frozenset", "set") and node.args:
            sides = [node.args[0]]
        else:
            continue
        for side in sides:
            for inner in side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]:
                if isinstance(inner, ast.Constant) and inner.value in WORDS:
                    yield node.lineno, str(inner.value)


def test_the_words_are_compared_in_no_other_folder() -> None:
    found = []
    for folder in ("sluice", "components", "pipelines", "serving"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("sluice/fields/"):
                found += [
                    f"{name}:{line}: {word!r}" for line, word in compared(ast.parse(path.read_text())) if word not in OTHERS.get(name, ())
                ]
    assert not found, "ask the field (sluice/fields/field.py) instead of:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "code",
    [
        "if kind == 'text': pass",
        "if 'image' != kind: pass",
        "x = kind in ('numeric', 'categorical')",
        "x = {'text': 1}[kind]",
        "x = {'audio': 1}.get(kind)",
        "match kind:\n  case 'timestamp': pass",
        "KINDS = frozenset({'tabular'})",
    ],
)
def test_each_way_to_compare_them_is_seen(code: str) -> None:
    assert list(compared(ast.parse(code)))


def test_other_uses_of_the_words_are_none_of_it() -> None:
    assert not list(compared(ast.parse("emit({'kind': 'note', 'text': 'x'}); t = table['text']; name = 'image'; f(x='tensor')")))
