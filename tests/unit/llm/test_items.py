"""Items of a prompt from the forms in which people keep conversations and instructions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.core.errors import DataError, ProjectError
from sluice.llm.items import ANSWER, Items, items_of, key_of
from sluice.llm.prompt import Prompt, PromptFile, Variable
from sluice.llm.proposal import judged


def file(tmp_path: Path, rows: list[dict[str, Any]], name: str = "x.jsonl") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(r) + "\n" for r in rows))
    return path


def of(tmp_path: Path, rows: list[dict[str, Any]], label: str | None = None, *, sure: bool = True) -> Items:
    found = items_of(file(tmp_path, rows), label, sure=sure)
    assert found is not None
    return found


def sent(items: Items, i: int) -> list[tuple[str, str]]:
    """What a model is sent of an item, through the prompt that would be written."""
    variables = {n: Variable(required=n not in items.optional) for n in items.variables}
    prompt = Prompt(PromptFile(system=items.system, user=items.user, variables=variables))
    values = {n: v for n, v in items.rows[i].items() if n != ANSWER and v is not None}
    return [(m["role"], m["content"]) for m in prompt.messages(values)]


def chat(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def test_a_conversation_asks_its_last_question_behind_what_was_said(tmp_path: Path) -> None:
    rows = [
        chat(("system", "Be {brief}."), ("user", "Hi"), ("assistant", "Hello"), ("user", "2 + 2?"), ("assistant", "4")),
        chat(("system", "Be {brief}."), ("user", [{"type": "text", "text": "3 + 3?"}]), ("assistant", "6")),
    ]
    items = of(tmp_path, rows)
    assert [row[ANSWER] for row in items.rows] == ["4", "6"]
    assert sent(items, 0) == [("system", "Be {brief}."), ("user", "user: Hi\nassistant: Hello\n2 + 2?")]
    assert sent(items, 1) == [("system", "Be {brief}."), ("user", "3 + 3?")]


def test_systems_that_differ_are_a_variable(tmp_path: Path) -> None:
    items = of(tmp_path, [chat(("system", "A"), ("user", "q"), ("assistant", "a")), chat(("user", "q"), ("assistant", "a"))])
    assert sent(items, 0) == [("system", "A"), ("user", "q")] and sent(items, 1) == [("user", "q")]


def test_the_same_conversation_in_other_forms(tmp_path: Path) -> None:
    user, assistant = {"role": "user", "content": "capital of Peru?"}, {"role": "assistant", "content": "Lima"}
    forms: list[dict[str, Any]] = [
        {"messages": [user, assistant]},
        {"id": "7", "conversations": [{"from": "human", "value": "capital of Peru?"}, {"from": "gpt", "value": "Lima"}]},
        {"prompt": [user], "completion": [assistant]},
        {"prompt": [user], "chosen": [assistant], "rejected": [{"role": "assistant", "content": "Cusco"}]},
        {"chosen": [user, assistant], "rejected": [user, {"role": "assistant", "content": "Cusco"}]},
        {"input": [user], "ideal": "Lima"},
    ]
    for form in forms:
        items = of(tmp_path, [form] * 3)
        assert items.rows[0] == {"question": "capital of Peru?", ANSWER: "Lima"}, form
        assert sent(items, 0) == [("user", "capital of Peru?")]


def test_what_makes_no_item_is_counted_by_its_reason(tmp_path: Path) -> None:
    good = [chat(("user", f"q{i}"), ("assistant", "a")) for i in range(30)]
    tools = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]}
    picture = chat(("user", [{"type": "image_url", "image_url": {"url": "x"}}]), ("assistant", "a"))
    items = of(tmp_path, [*good, tools, picture, chat(("narrator", "q"), ("assistant", "a")), chat(("assistant", "a"))])
    assert len(items.rows) == 30
    assert items.left == {
        "call tools": 1,
        "have a part that is no text": 1,
        "have a role 'narrator'": 1,
        "have no question before the last answer": 1,
    }
    with pytest.raises(DataError, match=r"holds no item: 2 call tools") as e:
        of(tmp_path, [tools, tools])
    assert e.value.fix


def test_instructions_with_and_without_an_input(tmp_path: Path) -> None:
    rows = [{"instruction": "Add.", "input": "2 and 2", "output": "4"}, {"instruction": "Say hi.", "input": "", "output": "hi"}]
    items = of(tmp_path, rows)
    assert sent(items, 0) == [("user", "Add.\n\n2 and 2")] and sent(items, 1) == [("user", "Say hi.")]
    assert [row[ANSWER] for row in items.rows] == ["4", "hi"]


def test_a_question_stands_behind_its_context_and_of_several_answers_the_first_is_wanted(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "context": "Lima is in Peru.", "question": "Where is Lima?", "answers": {"text": ["Peru", "in Peru"], "start": [11]}}
    ]
    items = of(tmp_path, rows, sure=False)
    assert sent(items, 0) == [("user", "Lima is in Peru.\n\nWhere is Lima?")] and items.rows[0][ANSWER] == "Peru"
    assert items_of(file(tmp_path, rows), sure=True) is None  # a table of texts may be meant


def test_other_columns_are_variables_of_a_named_answer(tmp_path: Path) -> None:
    rows = [{"Product Name": "Kettle", "stars": 2, "reply": "Sorry!"}, {"Product Name": "Lamp", "stars": None, "reply": "Thanks!"}]
    items = of(tmp_path, rows, "reply", sure=False)
    assert sent(items, 0) == [("user", "product_name: Kettle\nstars: 2")] and sent(items, 1) == [("user", "product_name: Lamp\n")]


def test_values_are_never_read_as_templates(tmp_path: Path) -> None:
    items = of(tmp_path, [chat(("system", "{{ 7 * 7 }} {% if x %}"), ("user", "{{ question }}"), ("assistant", "a"))])
    assert sent(items, 0) == [("system", "{{ 7 * 7 }} {% if x %}"), ("user", "{{ question }}")]


def test_other_files_hold_the_same(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{i}", "completion": f"a{i}"} for i in range(5)]
    lines = of(tmp_path, rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("prompt,completion\n" + "".join(f"q{i},a{i}\n" for i in range(5)))
    for path in (file(tmp_path, rows, "x.json"), tmp_path / "x.parquet", tmp_path / "x.csv"):
        assert items_of(path) == lines


@pytest.mark.parametrize(
    "row",
    [
        {"text": "good", "label": "a"},
        {"prompt": "x", "age": 3},
        {"a": 1, "b": [1, 2]},
        {"question": "x", "answer": "y"},
        {"messages": "x", "y": 1},
    ],
)
def test_other_tables_are_not_taken_for_items(tmp_path: Path, row: dict[str, Any]) -> None:
    assert items_of(file(tmp_path, [row] * 9), sure=True) is None


def test_bad_files_are_refused_by_name_and_line(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"--label: is no column of the file.*got 'nope'") as e:
        items_of(file(tmp_path, [{"prompt": "q", "completion": "a"}]), "nope")
    assert e.value.fix == "columns: prompt, completion"
    with pytest.raises(ProjectError, match=r"--label: which column holds the answer wanted cannot be told") as e:
        items_of(file(tmp_path, [{"ticket": 1, "customer": "q", "agent": "a"}]))
    assert e.value.fix == "name one of the columns: ticket, customer, agent"
    (tmp_path / "y.jsonl").write_text('{"prompt": "q", "completion": "a"}\n{"prompt"\n')
    with pytest.raises(DataError, match=r"y.jsonl:2: is not JSON"):
        items_of(tmp_path / "y.jsonl")


def test_a_key_knows_case_and_white_space_of_an_item_by_nothing() -> None:
    assert key_of({"b": 1, "a": " Hi  there"}) == key_of({"a": "hi there", "b": 1, "c": None}) != key_of({"a": "hi", "b": 1})


@pytest.mark.parametrize(
    "answers, scorer",
    [
        (["42", "-7", "$1,200", "3.5 km", "12 %", "€ 4.", "1 000 000"], "numeric"),
        (["yes", "No", "yes"] * 9, "normalised"),
        (["Lima", "Paris", "Ulan Bator"], "contains"),
        (["B12", "a7", "v2", "4th"], "contains"),
        (['{"name": "x", "age": 3}', '{"name": "y", "age": null}'], "json_schema"),
        (["It depends on what the tariff says about that, so ask the office that wrote it."] * 2 + ["x"], "similarity"),
    ],
)
def test_answers_are_judged_by_what_they_look_like(answers: list[str], scorer: str) -> None:
    found = judged(answers)
    assert list(found.scorers) == [scorer] and found.note and found.tokens >= max(map(len, answers)) / 4
    if found.output is not None:
        import jsonschema

        for answer in answers:
            jsonschema.validate(json.loads(answer), found.output)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"name": 3}, found.output)
