"""Quality look by look: windows in the order in which labels were told keep their rows and numbers, however late, twice or corrected labels come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluice.monitor import diagnosis, losses, stream, told
from sluice.monitor.config import MonitorConfig, Quality, Window
from sluice.monitor.labels import joined
from sluice.monitor.page import Page
from tests.support import errors as streams
from tests.support import logged
from tests.unit.watching.test_quality import SECOND, judge

LABELS = ["no", "yes"]
START = 1_793_500_000 * SECOND


def world(root: Path, n: int, right: np.ndarray, first: int = 0) -> list[str]:
    """Predictions of which all answer yes; what is true of each."""
    ids = [f"r{first + i}" for i in range(n)]
    p = np.tile([[0.2, 0.8]], (n, 1))
    logged.predictions(
        root, START + (first + np.arange(n)) * SECOND, ids=ids, labels=LABELS, probabilities=p, name=f"20261031T000000-{first}.parquet"
    )
    return [LABELS[int(r)] for r in right]


def look(root: Path, state: dict[str, Any], **more: Any) -> told.Told:
    return told.look(judge(), root, "m", state, config=Quality(floor=0.8), window=Window(rows=100, minimum=50), **more)


def test_windows_close_in_the_order_in_which_labels_are_told_and_stay_what_they_are(tmp_path: Path) -> None:
    n = 260
    truth = world(tmp_path, n, np.arange(n) >= 130)  # the first half is answered wrongly
    order = list(range(130, 260)) + list(range(130))  # and its labels come last
    tell = [(START + (1000 + i) * SECOND, f"r{j}", truth[j]) for i, j in enumerate(order)]

    def feedback(rows: list[tuple[int, str, str]], name: str) -> None:
        logged.feedback(tmp_path, [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], name=name)

    feedback(tell[:150], "20261031T010000-a.parquet")
    one = look(tmp_path, told.begin())
    assert [(w.number, w.rows, w.value, w.below) for w in one.closed] == [(0, 100, 1.0, False)] and one.open is not None
    assert (one.open.rows, one.open.value) == (50, 0.6) and one.last == one.open and one.coverage.labelled == 150
    # Told again, later and shuffled: nothing counts twice. Then the rest.
    feedback([(t + 500 * SECOND, i, v) for t, i, v in tell[:150]][::-1], "20261031T010001-b.parquet")
    again = look(tmp_path, one.state)
    assert again.state == one.state
    feedback(tell[150:], "20261031T010002-c.parquet")
    two = look(tmp_path, again.state)
    assert [(w.number, w.rows, w.value, w.below) for w in two.closed] == [(0, 100, 1.0, False), (1, 100, 0.3, True)]
    assert two.open is not None and two.open.rows == 60 and two.open.value == 0.0
    # A look that was killed is the same again, and one look over all of it says the same as three.
    assert look(tmp_path, again.state).state == two.state == look(tmp_path, told.begin()).state
    # A correction of a closed window is judged in it.
    feedback([(START + 9000 * SECOND, f"r{j}", "no") for j in range(130, 150)], "20261031T010003-d.parquet")
    three = look(tmp_path, two.state)
    assert [(w.number, w.rows, w.value) for w in three.closed] == [(0, 100, 0.8), (1, 100, 0.3)]
    # Predictions too old to be looked for leave the windows as they were judged.
    late = look(tmp_path, three.state, since=START + 400 * SECOND)
    assert late.state["windows"] == three.state["windows"] and late.closed == three.closed


def test_a_look_is_bounded_by_rows_and_by_bytes_and_the_next_goes_on(tmp_path: Path) -> None:
    for k in range(4):
        world(tmp_path, 100, np.ones(100), 100 * k)
        times = START + (5000 + 100 * k + np.arange(100)) * SECOND
        logged.feedback(tmp_path, times, [f"r{100 * k + i}" for i in range(100)], ["yes"] * 100, name=f"20261031T020000-{k}.parquet")
    found, looks = told.Told(told.begin(), [], None, told.Coverage(), True), 0
    while found.more:
        found, looks = look(tmp_path, found.state, most=150), looks + 1
    assert looks == 4 and found.state == look(tmp_path, told.begin()).state and [w.number for w in found.closed] == [0, 1, 2, 3]
    folder = tmp_path / f"predictions/model=m/version={logged.VERSION}"
    newest = max(folder.iterdir(), key=lambda p: p.name)
    newest.rename(folder / "20261101T000000-9.parquet")
    few = look(tmp_path, told.begin(), most_bytes=(folder / "20261101T000000-9.parquet").stat().st_size)
    assert few.cut and few.coverage.predictions == 100, "of the newest part alone"


def test_labels_may_lie_in_another_log(tmp_path: Path) -> None:
    world(tmp_path / "a", 100, np.ones(100))
    logged.feedback(tmp_path / "b", START + np.arange(100) * SECOND, [f"r{i}" for i in range(100)], ["yes"] * 100)
    assert look(tmp_path / "a", told.begin()).closed == []
    assert look(tmp_path / "a", told.begin(), feedback=tmp_path / "b").closed[0].value == 1.0


def errors(root: Path, n: int, rate: np.ndarray, seed: int) -> list[tuple[int, str, str]]:
    """Answers of which so many are wrong, and their labels, told in the same order."""
    truth = world(root, n, np.random.default_rng(seed).random(n) >= rate)
    return [(START + (5000 + i) * SECOND, f"r{i}", truth[i]) for i in range(n)]


def test_answers_that_are_wrong_more_often_are_found_look_by_look_as_in_one_and_as_a_diagnosis_finds_them(tmp_path: Path) -> None:
    n, begins = 2400, 1300
    tell = errors(tmp_path, n, np.where(np.arange(n) < begins, 0.05, 0.2), 0)
    state, found = told.begin(), None
    for k, (a, b) in enumerate(((0, 700), (700, 1750), (1750, n))):
        logged.feedback(tmp_path, *([r[i] for r in tell[a:b]] for i in range(3)), name=f"20261031T01000{k}-a.parquet")
        found = look(tmp_path, state)
        state = found.state
        assert found.concept is not None and found.concept.standing is (b > begins) and not found.unwatched
    assert found is not None and found.concept is not None
    whole = look(tmp_path, told.begin())
    assert whole.state == state and whole.concept == found.concept and len(whole.state["errors"]["times"]) < 30_000
    seconds = found.concept.since / SECOND - START / SECOND
    assert abs(seconds - begins) < 150 and found.concept.before > 0.93 and found.concept.after < 0.85
    rows = losses.Rows.of(judge(), joined(tmp_path, "m"), [])
    diagnosed, since = diagnosis._concept(judge(), rows, MonitorConfig(), [])
    assert since == found.concept.since and diagnosed is not None and diagnosed["alarms"] == found.concept.alarms
    # What counts is as it was set: of another loss other alarms, and of one that is told to cry wolf hardly ever none.
    other = told.look(judge(), tmp_path, "m", told.begin(), config=Quality(loss=0.3, apart=1e6), window=Window(rows=100))
    assert other.concept is not None and other.concept.alarms != found.concept.alarms


def test_what_came_with_a_loss_does_not_say_how_it_was_and_old_rows_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    late = (rng.random(6000) < np.where(np.arange(6000) < 700, 0.05, 0.12)).astype(float)
    worse = stream.Errors(late, np.full(6000, np.nan), np.arange(6000)).settled(Quality(), True)
    assert worse.first <= 300, "a quarter of 4,000 rows would hold 300 that are worse"
    found = stream.concept(worse, Quality(), True)
    assert found is not None and found.standing and found.before > 0.93
    quiet = stream.Errors((rng.random(6000) < 0.05).astype(float), np.full(6000, np.nan), np.arange(6000)).settled(Quality(), True)
    n = quiet.first
    assert n >= 500
    whole = stream.concept(quiet, Quality(), True)
    monkeypatch.setattr(stream, "KEPT", 500)
    kept = quiet.bounded(Quality(), True)
    assert (len(kept), kept.gone, len(kept.times), kept.times[n - 1], kept.times[n]) == (6000, 5500 - n, n + 500, n - 1, 5500)
    again = stream.Errors.unpacked(json.loads(json.dumps(kept.packed())))
    assert again.packed() == kept.packed() and stream.concept(again, Quality(), True) == stream.concept(kept, Quality(), True)
    assert whole is not None and not whole.standing and not stream.concept(kept, Quality(), True).standing  # type: ignore[union-attr]
    worse = again.then(stream.Errors(np.ones(500), np.full(500, np.nan), np.arange(6000, 6500)))
    found = stream.concept(worse, Quality(), True)
    assert found is not None and found.standing and abs(found.since - 6000) < 30 and found.after < 0.1
    # What an older version kept has no detector's state: the same rows are watched anew.
    old = {k: v for k, v in kept.packed().items() if k not in ("state", "newest")}
    assert stream.concept(stream.Errors.unpacked(old), Quality(), True).rows == 6000 - n  # type: ignore[union-attr]


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_errors_that_do_not_rise_raise_no_alarm_however_labels_come(rate: float, told: bool) -> None:
    """Four streams, 30,000 labels in 6 days in all: by the setting, 0.01 a day, one alarm in 16 such tests, of another seed."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        rows = streams.drawn(rng, rate, 7500, told=told, a_day=5000)
        cuts = streams.bursts(rng, 7500, 5000) if seed % 2 else range(500, 7501, 500)
        assert not any(streams.looked(rows, list(cuts))[0])


@pytest.mark.parametrize(("rate", "told"), [(0.02, False), (0.1, True)])
def test_five_points_more_are_suspected_within_500_labels_and_soon_sure_and_over_once_they_are(rate: float, told: bool) -> None:
    soon, sure = 0, 0
    for seed in range(6):
        rows = streams.drawn(np.random.default_rng(seed), rate, 4800, told=told, a_day=1000, loss_at=3600)
        standing, suspected = streams.looked(rows, [3600, 3850, 4100, 4500, 4800])
        soon, sure = soon + any(suspected[1:3]), sure + any(standing[1:])
    assert soon >= 5 and sure >= 5
    later = streams.drawn(np.random.default_rng(9), rate, 3000, told=told, a_day=1000)
    times = np.r_[rows.times, rows.times[-1] + 1 + later.times]
    ended = stream.Errors(np.r_[rows.error, later.error], np.r_[rows.doubt, later.doubt], times)
    assert streams.looked(ended, [4800, 7800])[0] == [standing[-1], False]


def test_looks_of_any_size_say_the_same_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEPT", 200)
    rows = streams.drawn(np.random.default_rng(3), 0.1, 7000, told=True, a_day=1000, loss_at=6000)
    cuts = sorted({*np.random.default_rng(1).integers(4001, 7000, 9).tolist(), 7000})
    many = streams.looked(rows, cuts)
    for cut, *found in zip(cuts, *many, strict=True):
        one = stream.concept(stream.Errors(rows.error[:cut], rows.doubt[:cut], rows.times[:cut]).settled(Quality(), True), Quality(), True)
        assert one is not None and [one.standing, one.suspected] == found


def test_pages_sum_is_as_it_is_written_down() -> None:
    rng, loss, rate = np.random.default_rng(2), 0.05, 0.1
    wrong = rng.random(3000) < np.where(np.arange(3000) < 2000, 0.1, 0.2)
    crossed = Page(rate, 1e9, loss, 5.0).update(wrong, np.full(3000, rate))  # of so many first rows nothing more is learnt
    worse, total, since = rate + loss, 0.0, 0
    for row, bad in enumerate(wrong):
        total = max(total + np.log(worse / rate if bad else (1 - worse) / (1 - rate)), 0.0)
        since = row + 1 if total == 0 else since
        if total > 5:
            break
    assert (crossed[0].row, crossed[0].since) == (row, since) and crossed[0].rate == pytest.approx(wrong[since : row + 1].mean())
