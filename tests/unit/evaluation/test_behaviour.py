"""The behaviour gate: its file is read strictly, its cases are asked of the model, and what fails refuses with the cases shown."""

from __future__ import annotations

import io
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sluice.core.errors import ProjectError
from sluice.fields.changes import parse_change
from sluice.gates.behaviour.check import Behaviour, decide
from sluice.gates.behaviour.fitting import check_suite
from sluice.gates.behaviour.running import run
from sluice.gates.behaviour.suite import read_suite
from sluice.problems.problem import problem
from sluice.project import parse

TEXT = {"text": "text"}
TABLE = {"income": "numeric", "plan": "categorical"}


def written(folder: Path, text: str) -> Path:
    path = folder / "behaviour.yaml"
    path.write_text(text)
    return path


def ran(monkeypatch, path: Path, predict: Any, kinds: dict[str, str], labels: list[str], sensitive: tuple[str, ...] = ()) -> dict[str, Any]:
    """The file's cases asked of a function of rows."""
    codes = lambda p: p.argmax(axis=1)  # noqa: E731
    monkeypatch.setattr("sluice.engines.predictor.Predictor", lambda package: SimpleNamespace(predict=predict, codes=codes))
    asked = problem("classification" if labels else "regression")
    facts = SimpleNamespace(
        dataset=SimpleNamespace(columns=kinds, problem=asked),
        labels=labels,
        package=None,
        project=SimpleNamespace(data=SimpleNamespace(sensitive=sensitive)),
    )
    return run(facts, path)


def of_words(rows: list[str]) -> np.ndarray:
    """Says yes to what holds ``please``, as it is spelt."""
    p = np.array([0.9 if "please" in r else 0.2 for r in rows])
    return np.stack([1 - p, p], axis=1)


SUITE = """
tests:
  - {name: polite, type: minimum, template: "{a} {b}", slots: {a: [please, now], b: [go, stop]}, expect: "yes", pass_rate: 0.5}
  - name: names
    type: invariance
    inputs: [please greet Anna, greet Ben, hello]
    change: {replace: {Anna: [Ahmed, Mei], Ben: Li}}
  - {name: shouting, type: invariance, inputs: [please go, go], change: {case: upper}, pass_rate: 0.9}
  - {name: asking, type: direction, inputs: [go, stop], change: {append: " please"}, of: "yes", moves: rises, by: 0.5}
"""


def test_cases_are_asked_and_those_that_fail_are_shown(tmp_path, monkeypatch):
    found = ran(monkeypatch, written(tmp_path, SUITE), of_words, TEXT, ["no", "yes"])
    assert {t["name"]: (t["cases"], t["passed"], t["verdict"]) for t in found["tests"]} == {
        "polite": (4, 2, "passed"),
        "names": (3, 3, "passed"),
        "shouting": (2, 1, "failed"),
        "asking": (2, 2, "passed"),
    }
    said = decide(found)
    assert said.decision == "refuse" and said.reasons == (
        "behaviour: shouting: 1 of 2 cases pass (50.0%), 90.0% must; 'please go' changed to 'PLEASE GO' is answered 'yes' before and 'no' after, the same is expected",
    )
    page = Behaviour().section(said)
    assert "PLEASE GO" in page and "cases that fail" in page and "8 of 11 cases pass" in page


def test_all_together_have_a_rate_of_their_own(tmp_path, monkeypatch):
    text = "pass_rate: 0.99\ntests: [{name: a, type: minimum, inputs: [please, go], expect: 'yes', pass_rate: 0.5}]"
    said = decide(ran(monkeypatch, written(tmp_path, text), of_words, TEXT, ["no", "yes"]))
    assert said.decision == "refuse" and said.reasons == ("behaviour in all: 1 of 2 cases pass (50.0%), 99.0% must",)


def test_rows_of_a_table_are_changed_by_column_and_what_is_sensitive_is_not_shown(tmp_path, monkeypatch):
    text = """
tests:
  - {name: richer, type: direction, inputs: [{income: 10, plan: pro}, {plan: pro}], change: {income: {add: 5}}, moves: rises}
  - {name: doubled, type: invariance, inputs: [{income: 10, plan: pro}], change: {income: {scale: 2}, plan: {set: basic}}, within: 1}
  - {name: known, type: minimum, cases: [{input: {income: 3, plan: a}, expect: 3.4}, {input: {income: 9, plan: a}, expect: 3}], within: 0.5}
"""
    value = lambda rows: np.array([float(r["income"]) for r in rows])  # noqa: E731
    found = ran(monkeypatch, written(tmp_path, text), value, TABLE, [], ("plan",))
    assert [(t["cases"], t["passed"]) for t in found["tests"]] == [(1, 1), (1, 0), (2, 1)]
    failure = found["tests"][1]["failures"][0]
    assert failure["changed"] == "income: 20, plan: (sensitive)" and failure["input"] == "income: 10, plan: (sensitive)"
    assert (failure["before"], failure["after"]) == ("10", "20")


def test_pictures_stand_beside_the_file_and_in_the_report(tmp_path, monkeypatch):
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "a.png")
    bright = lambda rows: np.stack([1 - (p := np.array([np.asarray(Image.open(io.BytesIO(r))).mean() / 255 for r in rows])), p], axis=1)  # noqa: E731
    text = "tests: [{name: darker, type: invariance, inputs: [a.png], change: {brightness: 0.3}}, {name: moved, type: invariance, inputs: [a.png], change: {shift: [1, 0], noise: 0.01}}]"
    found = ran(monkeypatch, written(tmp_path, text), bright, {"image": "image"}, ["dark", "light"])
    assert [t["verdict"] for t in found["tests"]] == ["failed", "passed"]
    assert "data:image/png;base64," in Behaviour().section(decide(found))


def test_a_change_that_applies_to_nothing_is_said(tmp_path, monkeypatch):
    text = "tests: [{name: a, type: invariance, inputs: [hello], change: {replace: {Anna: Mei}}}]"
    said = decide(ran(monkeypatch, written(tmp_path, text), of_words, TEXT, ["no", "yes"]))
    assert said.decision == "pass" and "a has no case" in said.cautions[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tests:\n  - name: a\n    type: minimum\n    inputs: [x]\n    expects: yes", "behaviour.yaml:5: tests.0.expects"),
        ("tests:\n  - name: a\n    type: invariance\n    inputs: [x]\n    change:\n      typoos: 1", "behaviour.yaml:5: tests.0.change"),
        ("tests:\n  - {name: a, type: invariance, inputs: [x], change: {typos: many}}", "typos: takes how many"),
        ("tests:\n  - {name: a, type: direct, inputs: [x]}", "behaviour.yaml:2: tests.0"),
        (
            "tests:\n  - {name: a, type: minimum, template: '{x}', slots: {y: [1]}, expect: b}",
            "the template has the slots ['x'], slots: has ['y']",
        ),
        (
            "tests:\n  - {name: a, type: minimum, inputs: [x], rows: 3, expect: b}",
            "takes one of inputs, template, rows, cases, not inputs and rows",
        ),
        (
            "tests:\n  - {name: a, type: minimum, inputs: [x], expect: b}\n  - {name: a, type: minimum, inputs: [x], expect: b}",
            "is the name of two tests",
        ),
        ("tests: [", "is not YAML"),
        ("tests: []", "tests"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_its_line_when_the_project_is_read(tmp_path, text, said):
    written(tmp_path, text)
    with pytest.raises(ProjectError) as e:
        parse({"name": "a", "task": "text", "data": {"source": "x.csv"}, "evaluate": {"behaviour": "behaviour.yaml"}}, base_dir=tmp_path)
    assert said in str(e.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ProjectError, match=r"evaluate.behaviour: cannot be read: No such file"):
        parse({"name": "a", "task": "text", "data": {"source": "x.csv"}, "evaluate": {"behaviour": "other.yaml"}}, base_dir=tmp_path)


@pytest.mark.parametrize(
    ("kinds", "test", "said"),
    [
        (TEXT, "type: minimum, inputs: [x], expect: maybe", "is no label of the data"),
        (TEXT, "type: minimum, inputs: [x], expect: [maybe]", "is no label"),
        (TEXT, "type: direction, inputs: [x], change: {typos: 1}, of: {a: 1}, moves: rises", "is no label"),
        (TEXT, "type: minimum, inputs: [{a: 1}], expect: 'yes'", "is a row, but a row of these data is text alone"),
        (TEXT, "type: invariance, inputs: [x], change: {add: 1}", "changes numbers, and a row is text"),
        (TEXT, "type: direction, inputs: [x], change: {typos: 1}, moves: rises", "says of no label that its probability moves"),
        (TABLE, "type: invariance, inputs: [{incme: 1}], change: {income: {add: 1}}", "did you mean 'income'?"),
        (TABLE, "type: invariance, rows: 5, change: {add: 1}", "does not say which column is changed"),
        (TABLE, "type: invariance, rows: 5, change: {plan: {add: 1}}", "changes numbers, and plan is categorical"),
        ({"image": "image"}, "type: minimum, inputs: [none.png], expect: 'yes'", "no such file"),
    ],
)
def test_what_does_not_fit_the_data_is_told_before_anything_is_trained(tmp_path, kinds, test, said):
    path = written(tmp_path, f"tests: [{{name: a, {test}}}]")
    with pytest.raises(ProjectError) as e:
        check_suite(path, kinds, problem("classification"), ["no", "yes"])
    assert said in str(e.value)


def test_templates_fill_rows_and_keep_the_kind_of_a_slot(tmp_path):
    text = "tests: [{name: a, type: minimum, template: {income: '{i}', plan: 'x-{p}'}, slots: {i: [1, 2], p: [a]}, expect: 'yes'}]"
    assert read_suite(written(tmp_path, text))[0].tests[0].written() == [{"income": 1, "plan": "x-a"}, {"income": 2, "plan": "x-a"}]


@pytest.mark.parametrize(
    ("raw", "value", "expected"),
    [
        ({"replace": {"anna": ["Mei", "Li"]}}, "Anna, Annabel", ["Mei, Annabel", "Li, Annabel"]),
        ({"case": "lower"}, "ABC", ["abc"]),
        ({"case": "lower"}, "abc", []),
        ({"prepend": ["Oh, ", "So "]}, "x", ["Oh, x", "So x"]),
        ({"scale": 2}, 3, [6.0]),
        ({"set": ["a", "b", None]}, "a", ["b", None]),
    ],
)
def test_changes_make_each_variant(raw, value, expected):
    [(column, change)] = parse_change(raw)
    assert column == "" and change.variants(value, random.Random(1)) == expected


def test_typos_are_as_many_as_asked_and_the_same_each_time():
    [(_, change)] = parse_change({"typos": 2})
    made = [change.variants("transfer money", random.Random(f"17:{i}")) for i in range(20)]
    assert made == [change.variants("transfer money", random.Random(f"17:{i}")) for i in range(20)]
    assert all(m != ["transfer money"] and abs(len(m[0]) - 14) <= 2 for m in made if m)
