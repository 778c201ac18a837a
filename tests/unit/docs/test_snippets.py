"""What the documentation shows of a project file is what the schema takes; what it shows of a resource, what the CRD takes; its Python compiles."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from sluice.core import yamlfile
from sluice.project import schema

REPO = Path(__file__).resolve().parents[3]
PAGES = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
SCHEMA = schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)
OF_ROWS = set(SCHEMA["$defs"]["DataConfig"]["properties"])
CRDS = {
    c["spec"]["names"]["kind"]: c["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for c in (yaml.safe_load(p.read_text()) for p in (REPO / "manifests/crds").glob("*.yaml"))
    if c["kind"] == "CustomResourceDefinition"
}


def blocks(text: str, language: str) -> Iterator[str]:
    for found in re.finditer(rf"(?ms)^( *)```{language}\n(.*?)^\1```", text):
        yield textwrap.dedent(found[2])


def faults(document: Any) -> list[str]:
    """What is wrong with a document, where it is a project file's part or one of our resources; nothing for others."""
    if not isinstance(document, dict):
        return []
    if document.get("kind") in CRDS:
        spec = CRDS[document["kind"]]["properties"]["spec"]
        return [
            e.message for e in jsonschema.Draft202012Validator(_closed(spec)).iter_errors(document.get("spec", {})) if "'<" not in e.message
        ]
    if not document.keys() <= SCHEMA["properties"].keys() or (document.keys() == {"data"} and not OF_ROWS & set(document["data"])):
        return []  # a ConfigMap has `data` too
    # what these take hangs on the task
    document = {k: v for k, v in document.items() if k not in ("train", "model") or "task" in document}
    whole = {"name": "a", "task": "my_module:MyTask", **document}
    if isinstance(whole.get("data", {}), dict):
        whole["data"] = {"source": "rows.csv", **whole.get("data", {})}
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in CHECK.iter_errors(whole)]


def _closed(node: Any) -> Any:
    """A CRD's schema in which an unknown key is a fault, as kubectl's strict validation has it."""
    if isinstance(node, list):
        return [_closed(v) for v in node]
    if not isinstance(node, dict):
        return node
    made = {k: _closed(v) for k, v in node.items() if not k.startswith("x-kubernetes")}
    for word, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if made.get(word) is True:  # as OpenAPI 3.0 writes it
            made[word] = made.pop(limit)
    if (
        isinstance(made.get("properties"), dict)
        and "additionalProperties" not in made
        and not node.get("x-kubernetes-preserve-unknown-fields")
    ):
        made["additionalProperties"] = False
    return made


@pytest.mark.parametrize("document", PAGES, ids=lambda p: p.relative_to(REPO).as_posix())
def test_pieces_of_a_project_file_and_of_resources_are_taken(document: Path) -> None:
    wrong = []
    for block in blocks(document.read_text(), "yaml"):
        if "{{" in block or re.search(r"(?m)^\s*\.\.\.$", block):
            continue
        wrong += [f for part in re.split(r"(?m)^---$", block) for f in faults(yamlfile.load(part, "it"))]
    assert not wrong


@pytest.mark.parametrize("document", PAGES, ids=lambda p: p.relative_to(REPO).as_posix())
def test_python_in_the_documentation_compiles(document: Path) -> None:
    import ast

    for block in blocks(document.read_text(), "python"):
        compile(block, str(document), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_a_piece_that_is_not_taken_is_seen() -> None:
    assert not faults({"evaluate": {"minimum": 0.9}}) and not faults({"jobs": {}})
    assert faults({"evaluate": {"minimun": 0.9}}) and faults({"rollout": {"steps": "ten"}})
    assert faults({"kind": "ModelRollout", "spec": {"modle": {}}})
