"""`sluice golden add` and `sluice prompt`: what a person sees, and what is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from sluice.cli import main
from tests.support import logged
from tests.support.endpoint import Scripted


def project(folder: Path, url: str = "http://127.0.0.1:9/v1") -> Path:
    folder.mkdir(exist_ok=True)
    model = {"endpoint": {"url": url, "model": "m", "retries": 0}, "tests": "tests.yaml"}
    given = {"name": "faq", "task": "llm", "data": {"source": "golden.jsonl", "columns": {"label": "answer"}}, "model": model}
    (folder / "sluice.yaml").write_bytes(orjson.dumps(given))
    (folder / "prompt.yaml").write_text("system: Be brief.\nuser: 'Q: {{ q }}'\nvariables: {q: {}}\n")
    (folder / "tests.yaml").write_text("- name: says Paris\n  input: {q: capital of France}\n  must: [paris]\n")
    (folder / "golden.jsonl").write_text('{"q": "Capital of Spain?", "answer": "Madrid"}\n')
    return folder / "sluice.yaml"


@pytest.fixture
def endpoint() -> Iterator[Scripted]:
    with Scripted(answer=lambda q: "Paris" if "France" in q else "?").serving() as found:
        yield found


def run(capsys: pytest.CaptureFixture[str], *args: Any) -> tuple[int, dict[str, Any]]:
    code = main([*map(str, args), "--json"])
    out = capsys.readouterr().out
    return code, orjson.loads(out) if out.strip() else {}


def test_corrected_answers_go_through_a_review_into_the_golden_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, log = project(tmp_path / "p"), tmp_path / "log"
    asked = ["Capital of Italy?", "capital of  spain?", "Capital of Peru?", "Capital of Chile?"]
    times = [1_700_000_000_000_000 + i for i in range(4)]
    logged.predictions(log, times, ids=["a", "b", "c", "d"], features={"q": asked}, model="faq")
    logged.feedback(log, times[:3], ids=["a", "b", "c"], labels=["Rome", "Madrid", "Lima"], model="faq")
    code, told = run(capsys, "golden", "add", file, "--log", log)
    review = Path(told["review"])
    lines = [orjson.loads(line) for line in review.read_bytes().splitlines()]
    assert (code, told["candidates"]) == (0, 2) and {(i["q"], i["answer"], i["accept"]) for i in lines} == {
        ("Capital of Italy?", "Rome", None),
        ("Capital of Peru?", "Lima", None),
    }
    assert run(capsys, "golden", "add", file, "--reviewed", review)[0] == 2  # nobody has said yes or no
    review.write_bytes(b"\n".join(orjson.dumps(i | {"accept": i["answer"] == "Rome"}) for i in lines))
    code, told = run(capsys, "golden", "add", file, "--reviewed", review)
    assert (code, told["added"], told["refused"]) == (0, 1, 1)
    assert (file.parent / "golden.jsonl").read_text().splitlines()[1:] == ['{"q":"Capital of Italy?","answer":"Rome"}']
    assert run(capsys, "golden", "add", file, "--reviewed", review)[1]["known"] == 1


def test_prompt_tests_end_with_3_where_one_does_not_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str], endpoint: Scripted) -> None:
    file = project(tmp_path / "p", endpoint.url)
    home = ("--home", tmp_path / "home")
    assert run(capsys, "prompt", "test", file, *home) == (
        0,
        {
            "outcome": "pass",
            "exit_code": 0,
            "calls": 1,
            "tests": [{"name": "says Paris", "passed": 1, "of": 1, "holds": True, "missing": 0, "failed": []}],
        },
    )
    assert run(capsys, "prompt", "test", file, *home)[1]["calls"] == 0
    (file.parent / "tests.yaml").write_text("- name: says Rome\n  input: {q: capital of Italy}\n  must: [rome]\n")
    code, told = run(capsys, "prompt", "test", file, *home)
    assert code == 3 and told["tests"][0]["failed"][0]["why"] == "'rome' is not found"


def test_what_is_sent_can_be_seen_without_asking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = project(tmp_path / "p")
    code, told = run(capsys, "prompt", "show", file, "--value", "q=Why?")
    assert code == 0 and [m["content"] for m in told["messages"]] == ["Be brief.", "Q: Why?"]
    assert run(capsys, "prompt", "show", file)[0] == 2
