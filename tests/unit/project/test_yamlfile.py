"""What is read from a project's text is what was written, and a hostile text costs nothing."""

from __future__ import annotations

import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice import project
from sluice.core import files, yamlfile
from sluice.core.errors import DataError, ProjectError, shown
from sluice.steps.execute import open_project

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@given(
    st.dictionaries(
        TEXT, st.one_of(TEXT, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.none(), st.lists(TEXT, max_size=3)), max_size=5
    )
)
@settings(max_examples=300, deadline=None)
def test_json_gives_back_every_character(raw: dict) -> None:
    assert yamlfile.load(files.canonical_json(raw).decode(), "x") == raw
    assert yamlfile.load(json.dumps(raw), "x") == raw
    assert project.read_text(project.write_text(raw), "x") == raw


@pytest.mark.parametrize("name", ["customer\x92s choice", "customer\x85s", "a\u2028b", "tab\there", "nul\x00", "\x7f"])
def test_a_column_name_survives_the_way_to_a_step(name: str) -> None:
    raw = {"name": "moji", "task": "tabular", "data": {"source": "d.csv", "columns": {"label": name}}}
    made = project.parse(raw)
    found, _ = open_project(files.canonical_json(raw).decode(), ".")
    assert found.data.columns.label == name and found.digest == made.digest


@pytest.mark.parametrize("code", [0x92, 0x85, 0x2028, 0x01, 0x7F])
def test_a_character_that_yaml_would_change_is_refused_with_its_place_and_spelling(code: int) -> None:
    text = f'name: x\ndata: {{source: "a{chr(code)}b"}}\n'
    with pytest.raises(ProjectError, match=rf"p.yaml:2:18: holds the control character U\+{code:04X}") as e:
        yamlfile.load(text, "p.yaml")
    spelled = str(e.value.fix).split('and "')[1].split('"')[0]
    assert yamlfile.load(text.replace(chr(code), spelled), "p.yaml")["data"]["source"] == f"a{chr(code)}b"


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"a": 1, "a": 2}', "x: a: stands twice"),
        ('{"a": NaN}', "is no number of JSON"),
        ('{"a": "\\ud800"}', "lone surrogate"),
        ('a: "\\ud800"', "lone surrogate"),
        ('{"a": 99999999999999999999}', "more than 64 bits"),
        (f"a: {'9' * 5000}", "is not YAML: Exceeds the limit"),
        ("[" * 100_000, "nested more than 64 deep"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested more than 64 deep"),
        ("\n".join(" " * i + "a:" for i in range(200)), "nested more than 64 deep"),
        ("&a [*a]", "an alias stands inside what it names"),
        ("a: " + "x" * 300_000, "has 300,003 characters"),
        ('{"a": "' + "x" * 5_000_000 + '"}', "has 5,000,009 characters"),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, message: str) -> None:
    started = time.process_time()
    with pytest.raises(ProjectError, match=message):
        yamlfile.load(text, "x")
    assert time.process_time() - started < 5.0


def test_a_key_is_a_name_whatever_it_looks_like() -> None:
    assert yamlfile.load("w: {0: 1.5, 1.0: 2, true: 3, no: 4}", "x") == {"w": {"0": 1.5, "1.0": 2, "true": 3, "no": 4}}
    with pytest.raises(ProjectError, match="a key is a word"):
        yamlfile.load("{[1]: 2}", "x")


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    return "\n".join([*lines, *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels))])


@pytest.mark.parametrize(
    "text",
    [
        bomb(9),
        bomb(30),
        "a: &a {k: 1, l: 2, m: 3}\n"
        + "\n".join(f"{chr(98 + i)}: &{chr(98 + i)} {{<<: [{', '.join(['*' + chr(97 + i)] * 9)}]}}" for i in range(8)),
    ],
    ids=["nine", "thirty", "merges"],
)
def test_a_bomb_of_aliases_costs_nothing(text: str) -> None:
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(ProjectError, match="holds more than 50,000 values"):
        project.read_text(text, "x")
    assert time.process_time() - started < 0.5 and tracemalloc.get_traced_memory()[1] < 5 << 20
    tracemalloc.stop()


def test_aliases_and_merges_of_a_usual_size_work() -> None:
    assert yamlfile.load("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]", "x") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": [{"x": 1}, {"x": 1}],
    }


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.binary(max_size=9)),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4), st.tuples(inner)),
    ),
    st.integers(10, 200),
)
@settings(max_examples=300, deadline=None)
def test_a_value_is_shown_as_its_repr_cut_short(value: object, most: int) -> None:
    whole = repr(value)
    assert shown(value, most) == (whole if len(whole) <= most else whole[: most - 3] + "...")


def test_an_error_never_builds_the_whole_repr_of_a_big_value() -> None:
    big = ["x" * 1000] * 10
    for _ in range(8):
        big = [big] * 10  # type: ignore[list-item]
    values = (big, {"a": big}, (big,), "y" * 10**7, b"z" * 10**7, 10**10**5, {1: {2: big}})
    tracemalloc.start()
    for value in values:
        error = DataError("is wrong", value=value)
        assert len(str(error)) < 200 and len(error.to_dict()["value"]) <= 500
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("text", ["08", "-08", "1e5", "5E-3", "1.e5", "007", "no", "null", "2024-01-01", "a\x85b", "\u2028"])
def test_a_text_that_looks_like_something_else_is_written_as_a_text(text: str) -> None:
    for flow in (False, True):
        assert yamlfile.load(yamlfile.dump({text: [text, 8, 1e5, True]}, flow=flow), "x") == {text: [text, 8, 1e5, True]}
