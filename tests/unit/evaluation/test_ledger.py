"""The ledger: how many comparisons went before on the same rows, and what the next one pays for them."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sluice.gates import anchor, champion
from sluice.gates import theirs as others
from sluice.gates.config import EvaluateConfig
from sluice.gates.ledger import HeldOut, Ledger, Line, shift, told
from sluice.problems.comparison import Before, compare
from sluice.problems.problem import problem
from tests.bench import champion as bench

LABELS = ["a", "b"]


def held(first: int, n: int) -> HeldOut:
    """Rows whose ids are spread as digests are."""
    return HeldOut.of(np.arange(first, first + n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def line(
    at: int, candidate: str, rows: HeldOut, *, champ: str = "c", best: str = "", verdict: str = "no_worse", anchored: str = ""
) -> Line:
    return Line(at, rows, candidate, champ, best, "accuracy", verdict, anchored)


def test_the_same_rows_in_another_order_are_the_same_and_others_are_not() -> None:
    ids = np.arange(500, dtype=np.uint64)
    assert HeldOut.of(ids) == HeldOut.of(ids[::-1]) == HeldOut.of(np.repeat(ids, 2))
    assert HeldOut.of(ids).seen_in(HeldOut.of(ids)) == 1
    assert held(0, 1000).seen_in(held(5000, 1000)) == 0


@pytest.mark.parametrize(("n", "shift", "within"), [(50, 10, 0), (4000, 400, 0.12), (4000, 2000, 0.2), (100_000, 25_000, 0.2)])
def test_rows_that_two_test_sets_have_in_common_are_told(n: int, shift: int, within: float) -> None:
    assert held(shift, n).seen_in(held(0, n)) == pytest.approx(1 - shift / n, abs=within)


def test_a_small_test_set_inside_another_was_seen_whole_and_a_large_one_hardly() -> None:
    assert held(100, 40).seen_in(held(0, 60)) == 0 and held(10, 40).seen_in(held(0, 60)) == 1
    assert held(0, 40_000).seen_in(held(100, 40)) < 0.2


def test_other_candidates_on_these_rows_count_and_the_same_one_again_does_not() -> None:
    rows, half = held(0, 60), held(30, 60)
    ledger = Ledger.of([line(1, "x", rows), line(2, "y", rows), line(3, "y", rows, champ="d"), line(4, "z", half)])
    assert ledger.before(rows, "new") == pytest.approx(2.5)
    assert ledger.before(rows, "x") == pytest.approx(1.5)
    assert ledger.before(held(1000, 60), "new") == 0 and Ledger().before(rows, "new") == 0


def test_candidates_refused_in_a_row_against_one_anchor_count_until_one_is_not() -> None:
    rows = held(0, 60)
    bad = {"best": "a", "anchored": "worse"}
    some = [
        line(1, "p", rows, **bad),
        line(2, "q", rows, best="a", anchored="inconclusive"),
        line(3, "r", rows, **bad),
        line(4, "s", rows, **bad),
    ]
    assert Ledger.of(some).refused("a", "new") == 2
    assert Ledger.of(some).refused("b", "new") == 0
    assert Ledger.of(some).refused("a", "s") == 1, "the same model again has not been refused before itself"
    as_champion = [*some, line(5, "t", rows, champ="a", verdict="worse")]
    assert Ledger.of(as_champion).refused("a", "new") == 3, "the anchor was the champion then"


def test_candidates_on_new_rows_that_look_worse_together_are_a_decline_and_on_the_same_rows_are_not() -> None:
    def past(*rows: HeldOut, anchor: str = "a") -> Ledger:
        lines = [line(i, f"x{i}", r, **({"best": "a"} if i else {"champ": anchor})) for i, r in enumerate(rows)]
        return Ledger.of(dataclasses.replace(x, shift=-1.2) for x in lines)

    new, fresh = held(90_000, 60), [held(1000 * i, 60) for i in range(4)]
    assert past(*fresh).decline("a", "new", new) == pytest.approx(4 * 1.3 * (1.2 - 0.65))
    assert past(*fresh).decline("a", "x2", new) == past(*fresh[:3]).decline("a", "new", new), "the same model again"
    assert past(*fresh, anchor="b").decline("a", "new", new) < past(*fresh).decline("a", "new", new) and not past(*fresh).decline(
        "z", "new", new
    )
    assert past(*fresh[:1] * 4).decline("a", "new", new) == past(fresh[0]).decline("a", "new", new), "rows that were seen tell nothing more"
    assert past(*fresh[:1] * 4).decline("a", "new", fresh[0]) == 0
    assert past(fresh[0], held(30, 60)).decline("a", "new", new) == pytest.approx(1.5 * past(fresh[0]).decline("a", "new", new))


def test_a_difference_counts_in_its_standard_errors() -> None:
    c = pair(45, 20)
    assert shift(c) == pytest.approx(-25 / 65**0.5, rel=0.03) and shift({}) == shift(pair(0, 0) | {"low": 0.0, "high": 0.0}) == 0


def test_a_champion_is_proved_better_by_its_own_comparison_alone() -> None:
    rows = held(0, 60)
    ledger = Ledger.of(
        [
            line(1, "x", rows, best="a", anchored="better"),
            line(2, "y", rows, champ="a", verdict="better"),
            line(3, "z", rows, verdict="better"),
        ]
    )
    assert ledger.proved("x", "a") and ledger.proved("y", "a")
    assert not ledger.proved("z", "a") and not ledger.proved("x", "b")
    again = Ledger.of([*ledger.lines, line(4, "x", held(500, 60), best="a", anchored="inconclusive")])
    assert not again.proved("x", "a"), "the same model was compared again, on other rows"


def test_a_line_is_read_as_it_was_written_and_what_is_none_is_left() -> None:
    rows = held(0, 2000)
    one = dataclasses.replace(line(7, "x", rows, best="a", verdict="better", anchored="inconclusive"), shift=-1.25)
    kept, raw = HeldOut.read(json.loads(json.dumps(rows.to_dict()))), json.loads(json.dumps(one.to_dict()))
    assert kept == rows and Line.read(raw, {rows.digest: rows}) == one
    lone = Line.read(raw, {})
    assert lone and lone.rows.digest == rows.digest and rows.seen_in(lone.rows) == 1 and held(1, 2000).seen_in(lone.rows) == 0
    assert Line.read({k: v for k, v in raw.items() if k != "shift"}, {rows.digest: rows}) == dataclasses.replace(one, shift=0.0), (
        "one written before"
    )
    for wrong in (None, [], {}, "x", {**raw, "format": "sluice.compared/v9"}, {**raw, "at": "soon"}):
        assert Line.read(wrong, {}) is None
    assert HeldOut.read({"digest": "x", "rows": 3, "sample": "zz"}) is None
    assert len(json.dumps(one.to_dict())) < 5000 and len(json.dumps(rows.to_dict())) < 5000, "MLflow keeps no longer tags"


def pair(ours: int, theirs: int, n: int = 2000, before: Before = Before(), **settings: object) -> dict:
    y = np.arange(n) % 2
    first, second = y.copy(), y.copy()
    first[:ours] ^= 1
    second[ours : ours + theirs] ^= 1
    return compare(np.eye(2)[first], np.eye(2)[second], y, LABELS, LABELS, EvaluateConfig(**settings), before=before)


def test_claims_pay_for_comparisons_before_and_refusals_do_not() -> None:
    assert pair(20, 45)["verdict"] == "better"
    assert pair(20, 45, before=Before(on_rows=49))["verdict"] == "no_worse"
    assert pair(45, 20)["verdict"] == pair(45, 20, before=Before(on_rows=49))["verdict"] == "worse"
    assert pair(20, 20, margin=0.02)["verdict"] == "no_worse"
    fiftieth = pair(20, 20, margin=0.008, before=Before(on_rows=49))
    assert pair(20, 20, margin=0.008)["verdict"] == "no_worse" and fiftieth["verdict"] == "inconclusive"
    assert fiftieth["claims"]["level"] == pytest.approx(0.025 / 2450) and fiftieth["claims"]["low"] < fiftieth["low"]
    assert pair(20, 20) | {"claims": None} == pair(20, 20, before=Before(on_rows=9)) | {"claims": None}, "what is shown stays what it is"


def test_after_refused_candidates_a_worse_one_is_refused_sooner_and_a_better_one_never() -> None:
    assert pair(26, 20)["verdict"] == "inconclusive"
    assert pair(26, 20, before=Before(refused=4))["verdict"] == "worse"
    assert pair(20, 26, before=Before(refused=100))["verdict"] == "no_worse"
    assert pair(20, 20, before=Before(refused=100))["verdict"] == "inconclusive"


def test_it_is_said_which_comparison_on_these_rows_it_is_and_when_they_are_worn() -> None:
    config = EvaluateConfig()

    def decided(before: float):
        c = pair(20, 20, before=Before(before))
        return champion.decide({**c, "ledger": told(before, c), "refused": 0}, config)

    assert len(decided(0).reasons) == 1 and not decided(0).cautions
    third = decided(2)
    assert "comparison 3 on these held-out rows" in third.reasons[-1] and not third.cautions
    worn = decided(60)
    assert "the held-out rows are worn: comparison 61" in worn.cautions[0] and "data.test" in worn.cautions[0]


def test_the_margin_tells_how_many_rows_it_needs() -> None:
    c = pair(60, 55)
    again = pair(60 * c["margin_needs"] // 2000, 55 * c["margin_needs"] // 2000, n=c["margin_needs"])
    assert (again["high"] - again["low"]) / 2 == pytest.approx(0.005, rel=0.02)
    page = champion.Champion().section(champion.Decision("pass", evidence={"comparison": c}))
    assert "a margin of 0.005 needs about" in page and "2.5% are refused at most" in page
    assert pair(60, 55, margin=0.0)["margin_needs"] is None


def test_a_candidate_worse_than_the_anchor_is_refused_with_what_it_pays_for() -> None:
    c = pair(80, 40, before=Before(refused=2))
    decision = anchor.decide({**c, "refused": 2})
    assert decision.decision == "refuse"
    assert (
        "worse than the anchor, the best champion so far" in decision.reasons[0]
        and "15% are refused at most after 2 refused in a row" in decision.reasons[0]
    )
    assert anchor.decide({**pair(40, 40), "refused": 0}).reasons[0].startswith("not shown to be worse than the anchor")


def met(monkeypatch: pytest.MonkeyPatch, wrong: int, refused: int = 0, decline: float = 0.0, lost: str = "", **settings: object):
    """A candidate with 40 errors of 2,000 before an anchor with `wrong`; or one that can be compared no more."""
    y = np.arange(2000) % 2
    ours, theirs = y.copy(), y.copy()
    ours[:40] ^= 1
    theirs[40 : 40 + wrong] ^= 1
    monkeypatch.setattr(others, "asked", lambda *_: lost or others.Theirs(np.eye(2)[theirs], LABELS, None, "d" * 64))
    facts = SimpleNamespace(
        anchor=SimpleNamespace(digest="d" * 64),
        champion=SimpleNamespace(digest="c" * 64),
        anchor_note="the anchor is version 3",
        compared_before=0.0,
        refused_before=refused,
        decline=decline,
        outputs=np.eye(2)[ours],
        targets=y,
        labels=LABELS,
        package=SimpleNamespace(rule=None),
        positive=None,
        dataset=SimpleNamespace(problem=problem("classification")),
        units=None,
    )
    return anchor.Anchor().judge(facts, EvaluateConfig(**settings))  # type: ignore[arg-type]


def test_the_anchors_check_has_a_margin_of_its_own_and_says_which_the_anchor_is(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = met(monkeypatch, 5)
    assert refused.decision == "refuse" and "version 3" not in refused.reasons[0]
    page = anchor.Anchor().section(refused)
    assert "the anchor is version 3" in page and "candidate minus anchor" in page
    assert met(monkeypatch, 5, anchor_margin=0.05).decision == "pass" and met(monkeypatch, 5, margin=0.05).decision == "pass"
    assert met(monkeypatch, 5, margin=0.05, anchor_margin=0.0).decision == "refuse"
    assert met(monkeypatch, 32).decision == "pass" and met(monkeypatch, 32, refused=5).decision == "refuse"
    declined = met(monkeypatch, 43, decline=5.0)
    assert met(monkeypatch, 43).decision == "pass" and declined.decision == "refuse"
    assert (
        "90% are refused at most since what was compared with it before is 148 times likelier of models in decline" in declined.reasons[0]
    )
    assert "it has to look better" in declined.reasons[0] and met(monkeypatch, 60, decline=5.0).decision == "pass"
    assert anchor.share(0) == 0.5 and anchor.share(0.5) == 0.75 and anchor.share(7) == 1
    assert met(monkeypatch, 23).decision == "pass" and met(monkeypatch, 23, decline=0.7).decision == "refuse", (
        "beside the champion's, half of the level"
    )


def test_a_champion_that_cannot_be_asked_is_not_passed_over_in_silence() -> None:
    note = "the champion cannot read these rows, so nothing was compared: 'debt' is missing from the dataset"
    facts: Any = SimpleNamespace(
        champion=SimpleNamespace(digest="c" * 64),
        champion_note="",
        anchor=None,
        theirs=note,
        compared_before=0.0,
        refused_before=0,
        decline=0.0,
    )
    found = champion.Champion().judge(facts, EvaluateConfig())
    assert found.decision == "inconclusive" and note in found.reasons[0] and found.cautions == found.reasons
    assert found.evidence["champion_note"] == note and found.evidence["comparison"] is None
    assert champion.Champion().judge(facts, EvaluateConfig(on_inconclusive="refuse")).decision == "refuse"


def test_an_anchor_that_can_be_compared_no_more_is_said_and_refuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    decision = met(monkeypatch, 0, lost="the anchor cannot read these rows, so nothing was compared: no column a")
    assert decision.decision == "pass" and decision.cautions[0].endswith("the champion is the anchor from now on")
    assert decision.evidence["anchor"]["lost"] and "no column a" in anchor.Anchor().section(decision)
    monkeypatch.undo()
    none = SimpleNamespace(anchor=None, champion=None, anchor_note="")
    assert anchor.Anchor().judge(none, EvaluateConfig()) == champion.Decision("pass")  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "n"), [("classification", 376), ("classification", 4500), ("regression", 376), ("clustered", 376)])
def test_a_candidate_as_good_as_the_champion_is_seldom_refused(kind: str, n: int) -> None:
    assert bench.refused(kind, n, 0.0, bench.STRANGERS, 60) <= 0.1


def test_one_that_is_two_points_worse_is_refused() -> None:
    assert bench.refused("classification", 4500, 0.02, bench.STRANGERS, 40) >= 0.9


def test_releases_that_each_get_a_little_worse_do_not_creep_and_equal_ones_go_through() -> None:
    worse = [bench.chain(4500, 0.004, bench.ALIKE, 40, fresh=f, seed=s)[0] for f in (True, False) for s in range(2)]
    assert max(worse) <= 0.0081 and np.mean(worse) > 0, "without the anchor they lose 16 points"
    assert bench.chain(4500, 0.0, bench.ALIKE, 20, fresh=True, seed=1)[1] <= 0.15


def test_the_best_of_many_equal_candidates_is_no_better_one() -> None:
    spent, free = bench.called_better(400, 20, 20)
    assert spent <= 0.15 < free


def test_a_margin_of_the_anchor_below_nothing_is_no_margin() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        EvaluateConfig(anchor_margin=-0.1)
    assert "anchor_margin" not in EvaluateConfig().model_dump()
