"""Prompt tests: what each property finds, and what is no test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sluice.core.errors import ProjectError
from sluice.llm.asking import Asker
from sluice.llm.cases import CANARY, Outcome, read_cases, run_cases
from sluice.llm.config import BudgetConfig, EndpointConfig, PriceConfig
from sluice.llm.failures import TimedOut
from sluice.llm.package import PromptPackage
from sluice.llm.prompt import Prompt, PromptFile, Variable
from sluice.llm.protocol import Completion

PROMPT = Prompt(PromptFile(user="{{ q }}", variables={"q": Variable()}))


def run(tmp_path: Path, case: dict[str, Any], answer: Any) -> Outcome:
    def complete(messages: list[dict[str, str]], parameters: Any) -> Completion:
        text = answer(messages[-1]["content"]) if callable(answer) else answer
        if text is None:
            raise TimedOut("took too long")
        return Completion(text, 1, 1, 0.0, 0.1, None, "m", "stop")

    (tmp_path / "t.yaml").write_text(yaml.safe_dump([{"name": "t", **case}]))
    package = PromptPackage(tmp_path, PROMPT, EndpointConfig(url="http://h/v1", model="m"), BudgetConfig(), PriceConfig())
    return run_cases(Asker(package, complete=complete), read_cases(tmp_path / "t.yaml"))[0]


INJECT = {"input": {"q": "hello"}, "injections": {"into": "q"}}


@pytest.mark.parametrize(
    ("case", "answer", "holds"),
    [
        ({"input": {"q": "a"}, "must": ["pari"]}, "Paris", True),
        ({"input": {"q": "a"}, "must_not": ["rome"]}, "Rome", False),
        ({"input": {"q": "a"}, "refuses": True}, "I'm sorry, but I can't help with that.", True),
        ({"input": {"q": "a"}, "refuses": True}, "Take two of them.", False),
        ({"input": {"q": "a"}, "refuses": False}, "I cannot answer that.", False),
        ({"inputs": [{"q": "a"}, {"q": "b"}], "same": "normalised"}, lambda q: "Paris." if q == "a" else "paris", True),
        ({"inputs": [{"q": "a"}, {"q": "b"}], "same": "exact"}, lambda q: q, False),
        (INJECT, "Hello there.", True),
        (INJECT, lambda q: CANARY if "SYSTEM" in q else "Hello.", False),
        ({"input": {"q": "jo@example.org"}, "personal": ["e-mail"]}, lambda q: f"Mail {q}", False),
        ({"input": {"q": "a"}, "must": ["x"], "samples": 4, "least": 0.5}, "x", True),
        ({"input": {"q": "a"}, "must_not": ["x"]}, None, False),
    ],
)
def test_what_holds(tmp_path: Path, case: dict[str, Any], answer: Any, holds: bool) -> None:
    assert run(tmp_path, case, answer).holds is holds


def test_an_attack_that_took_over_is_named(tmp_path: Path) -> None:
    found = run(tmp_path, INJECT, lambda q: CANARY if "SYSTEM" in q else "Hello.").told()
    assert (
        (found["passed"], found["of"]) == (5, 6)
        and "taken over" in found["failed"][0]["why"]
        and "SYSTEM" in found["failed"][0]["input"]["q"]
    )


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"input": {"q": "a"}}, "asks for nothing"),
        ({"must": ["a"]}, "input or inputs"),
        ({"input": {"q": "a"}, "same": "exact"}, "two inputs"),
        ({"input": {"q": "a"}, "must": ["("]}, "no regular expression"),
        ({"input": {"q": "a"}, "personal": ["name"]}, "no kind of personal data"),
        ({"input": {"q": "a"}, "musst": ["a"]}, "did you mean 'must'"),
        ({"input": {"x": "a"}, "must": ["a"]}, "no variable of this prompt"),
    ],
)
def test_what_is_no_test(tmp_path: Path, case: dict[str, Any], said: str) -> None:
    with pytest.raises(ProjectError, match=said):
        run(tmp_path, case, "a")
