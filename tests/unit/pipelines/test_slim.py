"""What a step carries to a cluster is its code, not its docstring; what the page says of it stays."""

from __future__ import annotations

import ast

import pytest
import yaml

from pipelines.compiler import golden
from pipelines.slim import without_docstring


def test_the_docstring_goes_and_the_code_stays() -> None:
    source = '\nimport kfp\n\ndef step(a: int) -> int:\n    """Add.\n\n    Args:\n        a: a number.\n    """\n    b = """kept"""\n    return a + 1\n'
    assert without_docstring(source) == '\nimport kfp\n\ndef step(a: int) -> int:\n    b = """kept"""\n    return a + 1\n'


@pytest.mark.parametrize("source", ["", "python -m x '", 'def only():\n    """Nothing else."""\n', "def bare():\n    return 1\n"])
def test_what_has_none_to_lose_is_left_alone(source: str) -> None:
    assert without_docstring(source) == source


def test_no_compiled_step_carries_one_and_each_keeps_its_descriptions() -> None:
    for text in golden().values():
        spec = next(d for d in yaml.safe_load_all(text) if "deploymentSpec" in d)
        for name, executor in spec["deploymentSpec"]["executors"].items():
            functions = [n for n in ast.parse(executor["container"]["command"][-1]).body if isinstance(n, ast.FunctionDef)]
            assert functions and not any(map(ast.get_docstring, functions)), name
        described = [c for n, c in spec["components"].items() if "executorLabel" in c and c.get("inputDefinitions", {}).get("parameters")]
        assert described and all(any(p.get("description") for p in c["inputDefinitions"]["parameters"].values()) for c in described)
