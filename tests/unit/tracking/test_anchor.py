"""The ledger and the anchor over a real MLflow SQLite store: written once, read by everybody, moved for a reason that is kept."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.evaluate import standing as met
from components.evaluate.standing import standing
from sluice.audit.log import open_log, records
from sluice.cli import main
from sluice.core.errors import PackageError
from sluice.core.home import Home
from sluice.gates.ledger import HeldOut, Ledger, Line
from sluice.registry import anchor, ledger
from sluice.registry.serving import OUTCOME
from sluice.registry.versions import ANCHOR, CHAMPION, Registry, Version

ROWS = HeldOut.of(np.arange(300, dtype=np.uint64))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}")


def add(registry: Registry, model: str, letter: str) -> Version:
    digest = letter * 64
    return registry.register(model, digest, f"file:///store/{digest}", metrics={}, tags={}, run_id=None)


def line(candidate: str, champion: str, best: str = "", verdict: str = "no_worse", anchored: str = "", at: int = 1) -> Line:
    return Line(at, ROWS, candidate * 64, champion * 64, best * 64, "accuracy", verdict, anchored)


def test_what_was_compared_is_read_by_the_next_and_never_written_over(registry: Registry) -> None:
    add(registry, "kept", "a")
    assert ledger.read(registry, "kept") == Ledger() == ledger.read(registry, "nobody")
    ledger.add(registry, "kept", line("b", "a"))
    ledger.add(registry, "kept", line("b", "a", verdict="better", at=9))
    ledger.add(registry, "kept", line("c", "a", "b", "better", "worse", at=2))
    registry.tag_model("kept", {"sluice.compared.by-hand": "{not json"})
    found = Ledger.of(ledger.read(Registry(registry.uri), "kept").lines)
    assert [x.verdict for x in found.lines] == ["no_worse", "better"] and found.lines[0].rows == ROWS
    assert found.before(ROWS, "d" * 64) == 2


def test_the_anchor_is_the_first_champion_until_one_is_found_better(registry: Registry) -> None:
    first, second, third = (add(registry, "moved", x) for x in "abc")
    found, said = anchor.settle(registry, "moved", first, Ledger())
    assert found.digest == first.digest and "the first champion" in said and registry.by_alias("moved", ANCHOR).number == "1"
    assert anchor.settle(registry, "moved", first, Ledger())[1] == said
    past = Ledger.of([line("b", "a", verdict="no_worse")])
    assert anchor.settle(registry, "moved", second, past)[0].digest == first.digest
    past = Ledger.of([*past.lines, line("c", "b", "a", "inconclusive", "better", at=2)])
    found, said = anchor.settle(registry, "moved", third, past)
    assert found.digest == third.digest and "found better than the anchor before it beyond doubt, by accuracy on 300 held-out rows" in said
    assert registry.by_alias("moved", ANCHOR).digest == third.digest
    assert [(r["before"], r["version"], r["by"]) for r in anchor.records(registry, "moved")] == [
        (None, "1", "sluice"),
        ("1", "3", "sluice"),
    ]


def test_an_anchor_that_was_rolled_back_gives_way_to_the_champion(registry: Registry) -> None:
    bad, good = add(registry, "bad", "a"), add(registry, "bad", "b")
    anchor.settle(registry, "bad", bad, Ledger())
    registry.tag("bad", bad.number, {OUTCOME: "rolled_back"})
    found, said = anchor.settle(registry, "bad", good, Ledger())
    assert found.digest == good.digest and "was rolled back" in said


def test_a_person_may_move_it_with_a_reason_that_stands_in_the_record(registry: Registry) -> None:
    one, two = add(registry, "person", "a"), add(registry, "person", "b")
    anchor.settle(registry, "person", one, Ledger())
    anchor.move(registry, "person", two, one, "the labels were cleaned", by="ada")
    assert anchor.settle(registry, "person", one, Ledger())[1].endswith("the labels were cleaned (said by ada)")
    registry.tag_model("person", {"sluice.anchored.9.2": "[]"})
    assert [r["why"] for r in anchor.records(registry, "person")][-1] == "the labels were cleaned"


def stood(registry: Registry, monkeypatch: pytest.MonkeyPatch, candidate: str, lost: str = "") -> Any:
    """What a candidate of the model ``stood`` meets; a package of digit `lost` is not in the store."""

    def get(digest: str) -> Any:
        if lost and digest.startswith(lost):
            raise PackageError("is not in the store", field="digest", value=digest)
        return SimpleNamespace(digest=digest)

    monkeypatch.setattr(met, "Registry", lambda uri: registry)
    monkeypatch.setattr(met, "tracking_uri", lambda *_: registry.uri)
    monkeypatch.setattr(met, "open_store", lambda *_: SimpleNamespace(get=get))
    monkeypatch.setattr(met, "HeldOut", SimpleNamespace(test_of=lambda dataset: ROWS))
    return standing(SimpleNamespace(name="stood"), Home(Path("/nowhere")), None, candidate * 64)  # type: ignore[arg-type]


def test_a_candidate_meets_champion_and_anchor_and_what_is_found_is_written_down(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stood(registry, monkeypatch, "a").champion is None
    first = add(registry, "stood", "a")
    registry.set_alias("stood", CHAMPION, first.number)
    second = stood(registry, monkeypatch, "b")
    assert second.champion.digest == first.digest and second.anchor is None and "version 1" in second.anchor_note
    second.keep("b" * 64, {"comparison": {"metric": "accuracy", "verdict": "no_worse"}, "anchor": {"note": ""}})
    registry.set_alias("stood", CHAMPION, add(registry, "stood", "b").number)
    third = stood(registry, monkeypatch, "c")
    assert (third.anchor.digest, third.champion.digest, third.before, third.refused) == ("a" * 64, "b" * 64, 1, 0)
    worse = {"verdict": "worse", "lost": "", "difference": -0.02, "low": -0.03, "high": -0.01, "confidence": 0.95}
    third.keep("c" * 64, {"comparison": {"metric": "accuracy", "verdict": "no_worse"}, "anchor": worse})
    kept = next(x for x in ledger.read(registry, "stood").lines if x.candidate == "c" * 64)
    assert kept.shift == pytest.approx(-3.92, abs=0.01) and Ledger((kept,)).decline("a" * 64, "d" * 64, HeldOut("new", 9, ())) > 1
    third.keep("b" * 64, {"comparison": {"metric": "accuracy", "verdict": "no_worse"}, "anchor": {"verdict": "worse", "lost": ""}})
    fourth = stood(registry, monkeypatch, "d")
    assert (fourth.before, fourth.refused) == (2, 1), "the champion compared with itself is no comparison"
    fourth.keep(
        "d" * 64, {"comparison": {"metric": "accuracy", "verdict": "better"}, "anchor": {"lost": "it has other labels; the champion is"}}
    )
    assert registry.by_alias("stood", ANCHOR).digest == "b" * 64
    assert anchor.records(registry, "stood")[-1]["why"] == "it has other labels"


def test_an_anchor_whose_package_is_lost_gives_way_to_the_champion_and_the_run_goes_on(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.set_alias("stood", ANCHOR, add(registry, "stood", "e").number)
    found = stood(registry, monkeypatch, "f", lost="e")
    assert found.anchor is None and "cannot be read: is not in the store" in found.anchor_note
    assert registry.by_alias("stood", ANCHOR).digest == found.champion.digest


def test_a_person_sees_the_anchor_and_moves_it_with_a_reason_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    home = ["--home", str(tmp_path)]
    add(registry, "seen", "a")
    assert main(["anchor", "seen", *home]) == 0 and "no anchor yet" in capsys.readouterr().out
    add(registry, "seen", "b")
    ledger.add(registry, "seen", line("b", "a"))
    for wrong, says in (
        (["anchor", "sene", *home], "no such model"),
        (["anchor", "seen", "--set", "2", *home], "--reason"),
        (["anchor", "seen", "--reason", "why", *home], "--set"),
        (["anchor", "seen", "--set", "2", "--reason", " ", *home], "is blank"),
        (["anchor", "seen", "--set", "7", "--reason", "x", *home], "no such version"),
    ):
        assert main(wrong) == 2 and says in capsys.readouterr().err
    monkeypatch.setenv("SLUICE_USER", "ada")
    assert main(["anchor", "seen", "--set", "2", "--reason", "labels were cleaned", *home]) == 0
    out = capsys.readouterr().out
    assert "the anchor is version 2 (bbbbbbbbbbbb), labels were cleaned, said by ada" in out and "would be comparison 2" in out
    assert main(["anchor", "seen", "--json", *home]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["anchor"]["version"] == "2" and told["moves"][0]["by"] == "ada" and told["comparisons"][0]["verdict"] == "no_worse"
    assert [(r.entry.kind, r.entry.reason) for r in records(open_log(Home(tmp_path)))] == [("override", "labels were cleaned")]
