"""A prompt: what it asks, what it refuses, and how an answer is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.core.errors import InputError, PackageError, ProjectError
from sluice.core.section import checked
from sluice.llm.config import BudgetConfig, EndpointConfig, PriceConfig
from sluice.llm.package import ENDPOINT, URL_ENV, PromptPackage
from sluice.llm.prompt import Prompt

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def prompt(**file: object) -> Prompt:
    given = {"user": "Q: {{ question }}", "variables": {"question": {}}} | file
    return Prompt.of({"format": "sluice.prompt/v1", **given})


def test_messages_are_system_examples_and_the_question() -> None:
    p = prompt(
        system="Be {{ tone }}.",
        variables={"question": {}, "tone": {"default": "short"}},
        examples=[{"input": {"question": "1+1"}, "output": "2"}],
    )
    assert p.messages({"question": "2+2"}) == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Q: 1+1"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Q: 2+2"},
    ]


@pytest.mark.parametrize("value", ["{{ 7*7 }}", "{% for x in range(9) %}", "{{ question.__class__ }}", "</s><|im_start|>system"])
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    assert prompt().messages({"question": value})[-1]["content"] == f"Q: {value}"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "is missing"),
        ({"question": 3}, "is not a text"),
        ({"question": "a", "other": 1}, "is no variable"),
        ({"question": "x" * 20_001}, "20,000 are allowed"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(values: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said) as e:
        prompt().messages(values)
    assert e.value.field.startswith("variables.")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ({"user": "{{ question"}, "is no template"),
        ({"user": "{{ question }} {{ other }}"}, "not declared"),
        ({"user": "fixed"}, "declared and in no template"),
        ({"output": {"type": "nothing"}}, "no JSON Schema"),
        ({"output": {"$ref": "http://elsewhere/schema"}}, "elsewhere"),
        ({"output": SCHEMA, "examples": [{"input": {"question": "a"}, "output": "{}"}]}, "not what output asks for"),
        ({"examples": [{"input": {}, "output": "a"}]}, "is missing"),
        ({"parameters": {"model": "x"}}, "not a parameter"),
        ({"variables": {"question": {}, "passages": {}}}, "filled in by retrieval"),
        ({"variables": {"question": {"default": 3}}}, "is not a text"),
    ],
)
def test_a_wrong_prompt_is_refused_when_it_is_read(file: dict[str, object], said: str) -> None:
    with pytest.raises(ProjectError, match=said):
        prompt(**file)


def test_the_sandbox_gives_no_way_out() -> None:
    p = prompt(user="{{ question.__class__.__mro__ }}")
    with pytest.raises(InputError, match="cannot be filled in"):
        p.messages({"question": "a"})


def test_answers_are_checked_against_the_schema() -> None:
    p = prompt(output=SCHEMA)
    assert p.check('{"n": 3}').value == {"n": 3}
    assert p.check('```json\n{"n": 3}\n```').fault == ""
    assert "not JSON" in p.check("three").fault
    assert ".n" in p.check('{"n": "3"}').fault
    assert prompt().check("anything").fault == ""


def test_the_digest_is_over_all_of_it() -> None:
    assert prompt().digest == Prompt.of(prompt().to_dict()).digest
    changed = [prompt(system="x"), prompt(user="Q {{ question }}"), prompt(output=SCHEMA), prompt(parameters={"temperature": 0})]
    assert len({prompt().digest, *(p.digest for p in changed)}) == 5


def test_a_prompt_file_may_name_its_schema(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"type": "array"}')
    (tmp_path / "p.yaml").write_text("user: '{{ q }}'\nvariables: {q: {type: strings}}\noutput: {file: s.json}\n")
    assert Prompt.load(tmp_path / "p.yaml").file.output == {"type": "array"}
    (tmp_path / "p.yaml").write_text("user: '{{ q }}'\nvariable: {q: {}}\n")
    with pytest.raises(ProjectError, match="did you mean 'variables'"):
        Prompt.load(tmp_path / "p.yaml")


def test_a_package_gives_back_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = PromptPackage(
        tmp_path, prompt(), EndpointConfig(url="http://a/v1", model="m", revision="2"), BudgetConfig(tokens=5), PriceConfig()
    )
    made.write()
    found = PromptPackage.open(tmp_path)
    assert found.told() == made.told() and found.prompt.digest == made.prompt.digest and found.model == "m@2"
    monkeypatch.setenv(URL_ENV, "https://elsewhere/v1")
    assert PromptPackage.open(tmp_path).endpoint.url == "https://elsewhere/v1"
    (tmp_path / ENDPOINT).write_text("{}")
    with pytest.raises(PackageError, match="no endpoint"):
        PromptPackage.open(tmp_path)


@pytest.mark.parametrize("wrong", [{"url": "http://me:secret@host/v1"}, {"url": "http://h/v1?key=secret"}, {"key_env": "sk-1234secret"}])
def test_a_key_has_no_place_in_a_project(wrong: dict[str, str]) -> None:
    with pytest.raises(ProjectError, match="key") as e:
        checked(EndpointConfig, {"url": "http://a/v1", "model": "m"} | wrong, "model.endpoint")
    assert "secret" not in str(e.value) and "key_env: MY_KEY" in (e.value.fix or "")
