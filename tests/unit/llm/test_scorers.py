"""Scorers: each says what it should of answers right, wrong and strange."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sluice.core.errors import ProjectError
from sluice.llm.asking import Asker, Reply
from sluice.llm.config import BudgetConfig, EndpointConfig, PriceConfig
from sluice.llm.package import PromptPackage
from sluice.llm.prompt import Prompt, PromptFile, Variable
from sluice.llm.protocol import Completion
from sluice.llm.retrieval import Passage
from sluice.llm.scorers.base import Item, scorers_of
from sluice.llm.scorers.judge import agreement, doubt
from sluice.llm.scorers.values import number

PASSAGES = (Passage("rules.md", 0, "The pool opens at 7. It closes at 21. Dogs are not allowed."),)


def score(
    name: str, section: dict[str, Any], text: str, expected: str = "", value: Any = None, fault: str = "", **more: Any
) -> float | None:
    ((_, scorer),) = scorers_of({name: section}, Path())
    return scorer.score(Item("1", {"q": "?"}, expected, more), Reply(text, value, fault, passages=PASSAGES)).value


@pytest.mark.parametrize(
    ("name", "section", "text", "expected", "found"),
    [
        ("exact", {}, " Paris\n", "Paris", 1),
        ("exact", {}, "paris", "Paris", 0),
        ("exact", {}, "paris", "", None),
        ("normalised", {}, "The  PARIS!", "paris", 1),
        ("normalised", {}, "Straße", "STRASSE", 1),
        ("contains", {}, "It is Paris, of course.", "paris", 1),
        ("contains", {}, "Parisian", "paris", 0),
        ("regex", {"pattern": r"^\d+$"}, "42", "", 1),
        ("forbidden", {"patterns": ["as an ai"]}, "As an AI model", "", 0),
        ("forbidden", {"kinds": ["e-mail", "card"]}, "write to jo@example.org", "", 0),
        ("forbidden", {"kinds": ["card"]}, "4111 1111 1111 1112 is no card", "", 1),
        ("numeric", {"tolerance": 0.5}, "That makes 1,234.4 in all.", "1234", 1),
        ("numeric", {"relative": 0.01}, "about 98", "100", 0),
        ("numeric", {}, "none", "100", 0),
        ("numeric", {}, "none", "none", None),
        ("citation", {}, "At 7 [rules].", "", 1),
        ("citation", {}, "At 7 [1].", "", 1),
        ("citation", {}, "At 7 [rules, other].", "", 0.5),
        ("citation", {}, "At 7.", "", 0),
        ("grounded", {}, "The pool opens at 7.", "", 1),
        ("grounded", {}, "The pool opens at 7. It has a sauna.", "", 0.5),
        ("grounded", {}, "The pool opens at 9.", "", 0),
        ("similarity", {}, "the pool opens", "pool opens", 1),
    ],
)
def test_scores(name: str, section: dict[str, Any], text: str, expected: str, found: float | None) -> None:
    assert score(name, section, text, expected) == found


def test_a_column_gives_each_item_its_own() -> None:
    assert score("regex", {"column": "pattern"}, "abc", pattern="b") == 1
    assert score("regex", {"column": "pattern"}, "abc", pattern=None) is None
    assert score("citation", {"column": "right"}, "see [a]", right="a, b") == 1
    assert score("grounded", {"column": "source"}, "It closes at 21.", source="It closes at 20.") == 0


def test_a_schema_may_ask_for_the_expected_value_too(tmp_path: Path) -> None:
    assert score("json_schema", {"equal": True}, '{"n": 1}', '{"n": 1.0}', {"n": 1}) == 1
    assert score("json_schema", {"equal": True}, '{"n": 2}', '{"n": 1}', {"n": 2}) == 0
    assert score("json_schema", {}, "x", fault="is not JSON") == 0
    with pytest.raises(ProjectError, match="cannot be read"):
        scorers_of({"json_schema": {"file": "none.json"}}, tmp_path)


def test_a_scorer_of_ones_own_stands_beside_the_project(tmp_path: Path) -> None:
    (tmp_path / "my_scorers.py").write_text(
        "from sluice.llm.scorers.base import Scorer, Score\n\n\nclass Short(Scorer):\n    name = 'short'\n\n"
        "    def score(self, item, reply):\n        return Score(float(len(reply.text) < 5))\n"
    )
    ((_, scorer),) = scorers_of({"my_scorers:Short": None}, tmp_path)
    assert scorer.score(Item("1", {}, "", {}), Reply("abc")).value == 1


def test_numbers() -> None:
    assert [number(t) for t in ("−3", "1.5e3", "12 of 15", "no", "1 234")] == [-3, 1500, 15, None, 1234]


def test_agreement_with_people() -> None:
    assert agreement([(1, 1.0), (0, 0.0), (1, 1.0), (0, 1.0)]) == {"rows": 4, "agrees": 0.75, "kappa": pytest.approx(0.5)}
    assert agreement([(1, 1.0)])["kappa"] is None and agreement([])["agrees"] is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"agreement": 0.95, "kappa": 0.7, "rows": 40}, ""),
        ({"agreement": None}, ""),
        ({"agreement": 0.5}, "changes with the order of the two answers on 50% of the items"),
        ({"agreement": 0.95, "kappa": 0.1, "rows": 40}, "by a kappa of 0.10 on 40 answers"),
    ],
)
def test_a_judge_that_is_none_is_doubted(found: dict[str, Any], words: str) -> None:
    assert words in doubt(found).get("doubt", "") and bool(doubt(found)) == bool(words)


def judged(said: Callable[[str], str], text: str, expected: str, tmp_path: Path) -> float | None:
    """A judge's score, where `said` answers what the judge asks."""

    def complete(messages: list[dict[str, str]], parameters: Any) -> Completion:
        return Completion(said(messages[-1]["content"]), 1, 1, 0.0, 0.1, None, "m", "stop")

    prompt = Prompt(PromptFile(user="{{ q }}", variables={"q": Variable()}))
    package = PromptPackage(tmp_path, prompt, EndpointConfig(url="http://h/v1", model="m"), BudgetConfig(), PriceConfig())
    ((_, scorer),) = scorers_of({"judge": {}}, tmp_path)
    scorer.asks(Asker(package, complete=complete))
    return scorer.score(Item("1", {"q": "?"}, expected, {}), Reply(text)).value


def test_a_judge_is_asked_in_both_orders(tmp_path: Path) -> None:
    def prefers(word: str) -> Callable[[str], str]:
        return lambda asked: "1" if word in asked.split("Answer 2:")[0] else "2"

    assert judged(prefers("good"), "good", "bad", tmp_path) == 1
    assert judged(prefers("good"), "bad", "good", tmp_path) == 0
    assert judged(lambda asked: "1", "good", "bad", tmp_path) == 0.5
    assert judged(lambda asked: "SAME", "good", "bad", tmp_path) == 1
    assert judged(lambda asked: "well...", "good", "bad", tmp_path) is None
    assert judged(lambda asked: "1", "good", "", tmp_path) is None
