"""A worse prompt meets replayed items behind two real servers, and is taken back for what its answers score."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pyarrow as pa
import pytest

from sluice.llm.replay import judges
from sluice.rollouts.load_generator import Request
from sluice.rollouts.local import run_local
from sluice.rollouts.spec import RolloutSpec
from tests.support.endpoint import Scripted
from tests.support.prompts import prompt_package

TABLE = pa.table({"row_id": [str(i) for i in range(20)], "question": [f"q{i}" for i in range(20)], "label": [f"a{i}" for i in range(20)]})
PROJECT: Any = SimpleNamespace(model=SimpleNamespace(scorers={"contains": {}}), base_dir=None)


def answer(asked: str) -> str:
    """Right, but where the second prompt asks: there every other item is wrong."""
    number = int(asked.rsplit("q", 1)[1])
    return "no idea" if asked.startswith("Tell") and number % 2 else f"It is a{number}."


@pytest.fixture
def packages(tmp_path: Path) -> Any:
    with Scripted(answer=answer).serving() as played:
        yield [
            prompt_package(tmp_path / name, played.url, name="asked", prompt={"user": f"{name} {{{{ question }}}}"})
            for name in ("Say", "Tell")
        ]


def test_items_are_judged_by_the_projects_scorers(packages: Any) -> None:
    first, second = judges(PROJECT, packages[0], TABLE)[:2]

    def body(text: str) -> bytes:
        return orjson.dumps({"predictions": [{"answer": text}]})

    assert (first(body("it is a0")), first(body("no")), second(body("a1"))) == (1.0, 0.0, 1.0)
    assert first(b"not JSON") == 0.0


def rolled(arms: Any, home: Path, **plan: Any) -> Any:
    stable, candidate = arms
    requests = [
        Request(orjson.dumps({"instances": [{"question": q}]}), "/v1/models/asked:predict", judge=judge)
        for q, judge in zip(TABLE.column("question").to_pylist(), judges(PROJECT, stable, TABLE), strict=True)
    ]
    settings = {"steps": [50], "minimum_requests": 100, "shadow": {"requests": 20}, "replay": {"rate": 60}, **plan}
    return run_local(
        "asked",
        RolloutSpec.model_validate(settings),
        stable=stable.root,
        candidate=candidate.root,
        server=[sys.executable, "-m", "serving.runtime"],
        requests=requests,
        home=home,
        on_event=lambda event: None,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="Envoy")
def test_a_prompt_that_answers_worse_is_taken_back(packages: Any, tmp_path: Path) -> None:
    result = rolled(packages, tmp_path / "home")
    assert result.outcome == "rolled_back" and any("wrong answers" in reason for reason in result.reasons), result.reasons


@pytest.mark.skipif(sys.platform != "linux", reason="Envoy")
def test_a_prompt_whose_answers_cost_twice_as_much_is_taken_back(tmp_path: Path) -> None:
    """By what the servers tell of each answer's cost; the answers themselves are as good."""
    with Scripted(answer=answer).serving() as played:
        prices = {"cheap": {"input": 10, "output": 20}, "dear": {"input": 20, "output": 40}}
        arms = [
            prompt_package(tmp_path / name, played.url, name="asked", price=price, prompt={"user": "Say {{ question }}"})
            for name, price in prices.items()
        ]
        result = rolled(arms, tmp_path / "home", cost={}, slow=None)
    assert result.outcome == "rolled_back" and any("cost of an answer" in r and "dearer" in r for r in result.reasons), result.reasons
