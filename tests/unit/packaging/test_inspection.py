"""What `inspect` and `diff` say of packages."""

from __future__ import annotations

from pathlib import Path

import orjson

from sluice.package.inspection import diff, inspect


def test_inspect_tells_the_graph_the_files_and_where_it_came_from(sealed):
    p = sealed("tabular")
    found = inspect(p)
    assert (found["digest"], found["task"], found["provenance"]) == (p.digest, "tabular", {"seed": 17})
    assert found["graph"]["operators"] == {"Add": 1, "Squeeze": 1, "ai.onnx.ml.LabelEncoder": 1}
    assert (found["graph"]["nodes"], found["graph"]["parameters"], found["graph"]["opsets"]) == (3, 1, {"ai.onnx": 18, "ai.onnx.ml": 3})
    assert found["bytes"] == sum(f.stat().st_size for f in p.root.iterdir())
    assert orjson.loads(orjson.dumps(found)) == found


def test_diff_of_a_package_with_itself_is_empty(sealed):
    a = sealed("text")
    found = diff(a, a)
    assert found["same"] is True
    assert (found["fields"], found["labels"], found["files"]) == (
        {},
        {"added": [], "removed": []},
        {"added": [], "removed": [], "changed": []},
    )
    assert found["metrics"] == {"value": {"a": 0.9, "b": 0.9, "change": 0}}


def test_diff_names_what_changed(sealed):
    a = sealed("text")
    b = sealed("text", labels=["good", "awful"], metrics={"value": 0.95, "f1": None}, provenance={"seed": 18, "data": "x"})
    found = diff(a, b)
    assert found["same"] is False
    assert found["fields"] == {"provenance.seed": [17, 18], "provenance.data": [None, "x"]}
    assert found["labels"] == {"added": ["awful"], "removed": ["bad"]}
    assert abs(found["metrics"]["value"]["change"] - 0.05) < 1e-12
    assert found["metrics"]["f1"] == {"a": None, "b": None, "change": None}


def test_diff_of_two_kinds_lists_files_and_tensors(sealed):
    found = diff(sealed("text"), sealed("tabular"))
    assert found["files"] == {"added": [], "removed": ["tokenizer.json"], "changed": ["model.onnx"]}
    assert found["bytes"]["change"] == found["bytes"]["b"] - found["bytes"]["a"] != 0
    assert found["fields"]["task"] == ["text", "tabular"]
    assert "inputs" in found["fields"]


def test_the_example_of_the_documentation_runs(sealed, monkeypatch, capsys):
    p = sealed("text")
    p.root.rename(p.root.with_name("package"))
    monkeypatch.chdir(p.root.parent)
    text = (Path(__file__).parents[3] / "docs" / "packaging.md").read_text()
    blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    exec(next(b for b in blocks if "package.read(" in b), {})
    assert p.digest in capsys.readouterr().out
