"""The rollout step where a controller decides: who says champion, what a person is told, what the next run is compared with."""

from __future__ import annotations

from typing import Any

import pytest

from components.evaluate import standing as evaluate
from components.rollout import logic
from sluice.monitor.config import MonitorConfig
from sluice.registry.versions import CANDIDATE, CHAMPION, Registry, Version
from sluice.rollouts.local import RolloutResult
from sluice.rollouts.manifest import Target
from sluice.rollouts.spec import RolloutSpec

ONE, TWO = "1" * 64, "2" * 64
WHERE = Target("ns")


class Shelf(Registry):
    """A registry in memory; what is written to it is noted."""

    def __init__(self, champion: str | None = ONE):
        self.uri, self.written = "http://mlflow:5000", []
        self.found = [
            Version("m", str(i + 1), d, f"s3://b/sha256/{d}", (CHAMPION,) if d == champion else (), {}, {}, None, 0)
            for i, d in enumerate((ONE, TWO))
        ]

    def versions(self, model: str) -> list[Version]:
        return self.found

    def set_alias(self, model: str, alias: str, number: str) -> None:
        self.written.append(("set", alias, number))

    def drop_alias(self, model: str, alias: str, number: str | None = None) -> None:
        self.written.append(("drop", alias, str(number)))

    def tag(self, model: str, number: str, tags: dict[str, str]) -> None:
        self.written.append(("tag", number, tags.get("sluice.rollout", "")))


def step(monkeypatch: pytest.MonkeyPatch, registry: Shelf, outcome: str, followed: dict[str, Any] | None) -> Any:
    evidence = {"registry": followed, "stable": ONE, "unchanged": False}
    monkeypatch.setattr(logic, "hand_over", lambda *_, **__: RolloutResult(outcome, ("why",), evidence))  # type: ignore[arg-type]
    settings = type("Settings", (), {"name": "m", "rollout": None, "monitor": MonitorConfig()})()
    return logic.handed_over(registry, settings, registry.found[1], WHERE)


@pytest.mark.parametrize("outcome", ["promoted", "rolled_back"])
def test_where_the_controller_follows_the_registry_the_step_says_nobody_is_champion(monkeypatch: pytest.MonkeyPatch, outcome: str) -> None:
    registry = Shelf(champion=TWO)
    gate = step(monkeypatch, registry, outcome, {"agrees": True, "message": ""})
    assert registry.written == [("drop", CANDIDATE, "2")]
    assert gate.evidence["outcome"] == outcome and gate.evidence["stable"] == ONE and not gate.evidence["cautions"]


def test_a_controller_without_a_registry_leaves_it_to_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Shelf()
    step(monkeypatch, registry, "promoted", None)
    assert ("set", CHAMPION, "2") in registry.written and ("tag", "2", "promoted") in registry.written


@pytest.mark.parametrize(
    ("agrees", "words"), [(None, "the controller sees to it"), (True, "give it and the steps one MLFLOW_TRACKING_URI")]
)
def test_a_registry_that_is_behind_or_another_is_a_caution(monkeypatch: pytest.MonkeyPatch, agrees: bool | None, words: str) -> None:
    gate = step(monkeypatch, Shelf(), "promoted", {"agrees": agrees, "message": "no answer"})
    assert gate.decision == "pass" and words in gate.evidence["cautions"][0] and "no answer" in gate.evidence["cautions"][0]


def test_a_run_on_a_cluster_is_compared_with_what_serves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    registry = Shelf()
    assert evaluate.champion_version(registry, "m").number == "1"
    monkeypatch.setattr(evaluate, "target", lambda: WHERE)
    for serves, number in ((TWO, "2"), (None, "1"), ("3" * 64, "1")):
        monkeypatch.setattr(evaluate, "serving", lambda *_, serves=serves: serves)
        assert evaluate.champion_version(registry, "m").number == number

    def away(*_: Any) -> None:
        raise evaluate.SluiceError("the API server does not answer")

    monkeypatch.setattr(evaluate, "serving", away)
    assert evaluate.champion_version(registry, "m").number == "1" and "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outcome", "monitor", "plan", "log", "seen"),
    [
        ("promoted", {"window": {"rows": 200}}, {}, "s3://b/log", True),
        ("rolled_back", {"window": {"rows": 200}}, {}, "s3://b/log", False),
        ("promoted", {"window": {"rows": 200}}, {"dry_run": True}, "s3://b/log", False),
        ("promoted", {"window": {"rows": 200}}, {}, "", False),
        ("promoted", {}, {}, "s3://b/log", False),
    ],
)
def test_a_model_that_serves_is_watched_as_its_project_says(
    monkeypatch: pytest.MonkeyPatch, outcome: Any, monitor: Any, plan: Any, log: str, seen: bool
) -> None:
    asked: list[Any] = []
    logged: list[bool] = []

    def hand_over(*_: Any, logged: bool, told: list[bool] = logged, **__: Any) -> RolloutResult:
        told.append(logged)
        return RolloutResult(outcome, ("why",), {"registry": None, "stable": ONE, "unchanged": False})

    def watch(*given: Any) -> tuple[str, ...]:
        asked.append(given)
        return ("ModelMonitor ns/m is not as it should be",)

    monkeypatch.setattr(logic, "hand_over", hand_over)
    monkeypatch.setattr(logic, "watch", watch)
    settings = type("Settings", (), {"name": "m", "rollout": RolloutSpec(**plan), "monitor": MonitorConfig(**monitor)})()
    where, registry = Target("ns", log=log), Shelf()
    gate = logic.handed_over(registry, settings, registry.found[1], where, "", "name: m")
    assert asked == ([("m", settings.monitor, "name: m", where)] if seen else []) and logged == [bool(log and monitor)]
    assert gate.evidence["cautions"] == (["ModelMonitor ns/m is not as it should be"] if seen else [])
    assert gate.decision == ("pass" if outcome == "promoted" else "refuse")
