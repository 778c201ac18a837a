"""`sluice promote` and `sluice rollback` where an environment has no cluster: aliases, conditions, the record, the way back."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from sluice.audit.log import open_log, records
from sluice.audit.record import Entry
from sluice.audit.verify import verify
from sluice.cli import main
from sluice.core.home import Home
from sluice.package.store import default_store
from sluice.registry.environments import GATES, put_in, standing
from sluice.registry.versions import Registry
from tests.unit.serving.builders import classifier

PASSED = {"validate_data": "pass", "train": "pass", "evaluate": "pass"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions, each promoted in dev after the other; moved away, so that each copy's own store is the one that is read."""
    root = tmp_path_factory.mktemp("template")
    home = Home(root / "home").create()
    registry, store = Registry(home.tracking_uri), default_store(home)
    for i in range(3):
        kept = store.add(classifier(root / str(i), "points", scale=1.0 + i))
        made = registry.register("points", kept.digest, store.uri(kept.digest), metrics={}, tags={GATES: json.dumps(PASSED)}, run_id=None)
        put_in(registry, made, "dev", "the rollout said so")
    return home.root.rename(root / "kept")


@pytest.fixture
def place(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SLUICE_USER", "ada")
    return Home(shutil.copytree(template, tmp_path / "home"))


def stands(home: Home, environment: str = "dev") -> tuple[str | None, str | None]:
    found = standing(Registry(home.tracking_uri).versions("points"), environment)
    return (found.champion and found.champion.number, found.previous and found.previous.number)


def ask(home: Home, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main([*words, "--json", "--home", str(home.root)])
    return code, orjson.loads(capsys.readouterr().out)


def kinds(home: Home) -> list[str]:
    return [r.entry.kind for r in records(open_log(home))]


def test_a_run_leaves_champion_and_previous_under_their_old_names(place: Home) -> None:
    assert stands(place) == ("3", "2")
    by = {v.number: v for v in Registry(place.tracking_uri).versions("points")}
    assert by["3"].aliases == ("champion",) and by["2"].aliases == ("previous",) and by["2"].tags["sluice.replaced_by"] == "3"


def test_a_champion_goes_to_production_and_the_next_one_leaves_it_as_previous(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = ask(place, capsys, "promote", "points@2", "--to", "production", "--dry-run")
    assert (code, told["outcome"]) == (0, "would_promote") and stands(place, "production") == (None, None)
    code, told = ask(place, capsys, "promote", "points@2", "--to", "production", "--reason", "first")
    assert (code, told["outcome"], told["from"], told["replaced"]) == (0, "promoted", "dev", None)
    code, told = ask(place, capsys, "promote", "points", "--to", "production", "--reason", "better")
    assert (code, told["version"]) == (0, "3") and stands(place, "production") == ("3", "2") and stands(place) == ("3", "2")
    found = records(open_log(place))
    assert [(r.entry.kind, r.entry.user, r.entry.environment, r.entry.reason) for r in found] == [
        ("promotion", "ada", "production", "first"),
        ("promotion", "ada", "production", "better"),
    ]
    assert found[1].entry.data["replaced"] == told["replaced"]
    assert main(["audit", "verify", "--home", str(place.root)]) == 0
    assert "2 are named by the registry" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "condition", "why"),
    [
        (lambda r: r.tag("points", "3", {GATES: json.dumps(PASSED | {"evaluate": "refuse"})}), "gates", "evaluate: refuse"),
        (lambda r: r.tag("points", "3", {GATES: "{}"}), "gates", "no gates are on record"),
        (lambda r: r.tag("points", "3", {GATES: '{"train": "pass"}'}), "gates", "evaluate: not on record"),
        (
            lambda r: r.tag("points", "3", {"sluice.rollout": "rolled_back", "sluice.rollout.reason": "slow"}),
            "source",
            "rolled back in dev: slow",
        ),
        (lambda r: r.tag("points", "3", {"sluice.production.rollout": "rolled_back"}), "rejected", "rolled back in production"),
    ],
)
def test_each_condition_refuses_says_why_and_can_be_overridden_with_a_reason(
    place: Home, capsys: pytest.CaptureFixture[str], spoil: Any, condition: str, why: str
) -> None:
    spoil(Registry(place.tracking_uri))
    code, told = ask(place, capsys, "promote", "points", "--to", "production")
    assert (code, told["outcome"]) == (3, "refused") and any(r.startswith(condition) and why in r for r in told["reasons"]), told
    assert stands(place, "production") == (None, None)
    code, told = ask(place, capsys, "promote", "points", "--to", "production", "--override")
    assert code == 2 and told["field"] == "--override"
    code, told = ask(place, capsys, "promote", "points", "--to", "production", "--override", "--reason", "the fair is today")
    assert (code, told["outcome"], told["overridden"]) == (0, "promoted", [condition])
    assert kinds(place) == ["refusal", "override", "promotion"] and stands(place, "production") == ("3", None)
    override = records(open_log(place))[1].entry
    assert override.user == "ada" and "the fair is today" in override.reason and why in override.reason


def test_a_package_that_was_tampered_with_goes_nowhere_whoever_overrides(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    champion = standing(Registry(place.tracking_uri).versions("points")).champion
    assert champion is not None
    graph = next((place.store / "sha256" / champion.digest).rglob("*.onnx"))
    graph.chmod(0o644)
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    code, told = ask(place, capsys, "promote", "points", "--to", "production", "--override", "--reason", "now")
    assert code == 3 and any(r.startswith("package: ") for r in told["reasons"])
    assert stands(place, "production") == (None, None)


def test_an_override_is_offered_only_where_it_can_set_aside_what_refused(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    registry, asked = Registry(place.tracking_uri), ["promote", "points", "--to", "production", "--home", str(place.root)]
    registry.tag("points", "3", {GATES: "{}"})
    assert main(asked) == 3 and "--override --reason TEXT" in capsys.readouterr().out
    package = place.root / "store" / "sha256" / registry.by_alias("points", "champion").digest
    package.chmod(0o755)
    (package / "model.onnx").chmod(0o644)
    (package / "model.onnx").write_bytes(b"another")
    assert main([*asked, "--override", "--reason", "now"]) == 3
    said = capsys.readouterr().out
    assert "no override sets aside what speaks against it: package" in said and "--override" not in said


def test_the_platforms_file_says_where_from_and_who(
    place: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.root / "environments.yaml").write_text(
        "environments: {staging: {from: [dev]}, production: {from: [staging], approvers: [grace], gates: [evaluate]}}\n"
    )
    code, told = ask(place, capsys, "promote", "points", "--to", "production")
    assert code == 2 and "no champion in staging" in told["message"]
    assert ask(place, capsys, "promote", "points", "--to", "production", "--from", "dev")[0] == 2
    assert ask(place, capsys, "promote", "points", "--to", "staging")[0] == 0
    code, told = ask(place, capsys, "promote", "points", "--to", "production", "--override", "--reason", "I must")
    assert code == 3 and "ada is none of those who may: grace" in told["reasons"][0]
    monkeypatch.setenv("SLUICE_USER", "grace")
    assert ask(place, capsys, "promote", "points", "--to", "production")[0] == 0
    assert stands(place, "production") == ("3", None)
    assert ask(place, capsys, "promote", "points", "--to", "prod")[1]["fix"].startswith("there is dev, staging, production")
    (place.root / "environments.yaml").write_text("environments: {production: {aprovers: [x]}}\n")
    assert "approvers" in ask(place, capsys, "promote", "points", "--to", "production")[1]["fix"]


def test_the_record_of_both_is_compared_and_the_worse_one_refused(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    log, registry = open_log(place), Registry(place.tracking_uri)
    by = {v.number: v for v in registry.versions("points")}

    def judged(number: str, low: float, value: float, high: float, **more: Any) -> None:
        run = {"run": f"r{number}-{value}"}
        evaluation = {"metric": "accuracy", "value": value, "low": low, "high": high, "direction": "higher"}
        log.append(Entry("gate", "points", data={**run, "step": "evaluate", "evidence": {"evaluation": evaluation, **more}}))
        log.append(Entry("registration", "points", by[number].digest, data=run))

    judged("2", 0.9, 0.92, 0.94)
    judged("3", 0.8, 0.82, 0.84)
    assert ask(place, capsys, "promote", "points@2", "--to", "production", "--from", "dev")[0] == 0
    code, told = ask(place, capsys, "promote", "points@3", "--to", "production")
    assert code == 3 and "on record it is worse than version 2: accuracy 0.82 (0.8 to 0.84) against 0.92" in told["reasons"][0]
    judged("3", 0.8, 0.85, 0.9, comparison={"champion_digest": by["2"].digest, "verdict": "no_worse"})
    code, told = ask(place, capsys, "promote", "points@3", "--to", "production")
    assert code == 0 and any("compared it with" in c["said"] and "no worse" in c["said"] for c in told["conditions"])
    code, told = ask(place, capsys, "promote", "points@3", "--to", "production")
    assert code == 3 and "champion of production already" in told["reasons"][0]


# -- the way back ------------------------------------------------------------------------------------


def test_a_rollback_puts_the_one_before_back_and_the_next_asks_first(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(place, capsys, "rollback", "points")[1]["field"] == "--reason"
    code, told = ask(place, capsys, "rollback", "points", "--reason", "odd answers", "--dry-run")
    assert (code, told["outcome"]) == (0, "would_roll_back") and stands(place) == ("3", "2")
    code, told = ask(place, capsys, "rollback", "points", "--reason", "odd answers")
    assert (code, told["outcome"]) == (0, "rolled_back") and told["seconds"] < 10
    assert stands(place) == ("2", "1")
    by = {v.number: v for v in Registry(place.tracking_uri).versions("points")}
    assert by["3"].tags["sluice.rollout"] == "rolled_back" and by["3"].tags["sluice.rollout.reason"] == "odd answers (ada)"
    code, told = ask(place, capsys, "rollback", "points", "--reason", "again?")
    assert (code, told["outcome"]) == (3, "refused") and stands(place) == ("2", "1")
    assert "version 3 was rolled back already" in told["reasons"][0] and "--again would put version 1" in told["reasons"][0]
    code, told = ask(place, capsys, "rollback", "points", "--reason", "worse still", "--again")
    assert code == 0 and stands(place) == ("1", None)
    assert ask(place, capsys, "rollback", "points", "--reason", "more", "--again")[0] == 2
    assert ask(place, capsys, "rollback", "points", "--reason", "more", "--to", "3")[0] == 3  # what was rejected stays so
    assert [(r.entry.kind, r.entry.reason) for r in records(open_log(place))] == [("rollback", "odd answers"), ("rollback", "worse still")]
    assert verify(*open_log(place).read()) == []


def test_after_a_rollback_the_next_promotion_can_be_rolled_back_again(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(place, capsys, "rollback", "points", "--reason", "x")[0] == 0
    registry = Registry(place.tracking_uri)
    put_in(registry, next(v for v in registry.versions("points") if v.number == "1"), "dev", "tried again")
    assert stands(place) == ("1", "2")
    assert ask(place, capsys, "rollback", "points", "--reason", "y")[0] == 0
    assert stands(place)[0] == "2"


def test_rollbacks_at_once_take_one_back(place: Home) -> None:
    def one(i: int) -> int:
        return main(["rollback", "points", "--reason", f"me {i}", "--json", "--home", str(place.root)])

    with ThreadPoolExecutor(4) as pool:
        codes = sorted(pool.map(one, range(4)))
    assert codes == [0, 3, 3, 3] and stands(place) == ("2", "1")
    assert kinds(place) == ["rollback"]


def test_a_log_that_cannot_be_written_stops_a_promotion_and_no_rollback(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (place.root / "audit").write_text("in the way")
    assert main(["promote", "points", "--to", "production", "--home", str(place.root)]) == 1
    assert stands(place, "production") == (None, None)
    assert main(["rollback", "points", "--reason", "bad", "--home", str(place.root)]) == 0
    assert "it is not in the audit log" in capsys.readouterr().err and stands(place) == ("2", "1")
