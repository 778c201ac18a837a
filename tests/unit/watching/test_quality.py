"""Quality by window with intervals, against a floor; concept drift on the stream of errors; quality estimated before labels are there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from sluice.core.errors import DataError, ProjectError
from sluice.monitor import quality_watch, report
from sluice.monitor.cbpe import BLIND, Calibration, estimate, isotonic, temperature
from sluice.monitor.concept import Baseline, ErrorStream, ratios, threshold
from sluice.monitor.config import Quality, Window
from sluice.monitor.labels import joined
from sluice.monitor.quality import Judge, Labelled, by_window, measured, under
from tests.support import logged

SECOND = 1_000_000


def judge(labels: tuple[str, ...] = ("no", "yes"), objective: str = "classification", metric: str | None = None, **more: Any) -> Judge:
    counts = more.pop("counts", [70, 30] + [10] * (len(labels) - 2))
    package = SimpleNamespace(
        objective=objective, labels=labels, rule=None, metrics={"accuracy": 0.9, "rmse": 1.0}, profile=lambda: {"label": {"counts": counts}}
    )
    return Judge.of(cast(Any, package), metric, **more)


def calibrated(rng: np.random.Generator, n: int, k: int = 2, sharp: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    z = rng.normal(size=(n, k)) * sharp
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return p, (rng.random((n, 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1)


# -- by window ---------------------------------------------------------------------------------------


def test_each_window_has_its_value_and_interval_and_one_that_is_worse_as_a_whole_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 1500
    p, y = calibrated(rng, n, sharp=4.0)
    flipped = np.arange(n) >= 1000
    y = np.where(flipped & (rng.random(n) < 0.4), 1 - y, y)
    ids = [f"r{i}" for i in range(n)]
    logged.predictions(tmp_path, np.arange(n) * SECOND, ids=ids, labels=["no", "yes"], probabilities=p)
    order = rng.permutation(n)
    logged.feedback(tmp_path, (n + np.arange(n)) * SECOND, [ids[i] for i in order], [["no", "yes"][y[i]] for i in order])
    rows = Labelled.of(judge(), joined(tmp_path, "m"))
    assert (np.diff(rows.times) > 0).all() and (rows.targets == y).all()
    found = by_window(judge(), rows, Quality(floor=0.8), Window(rows=500))
    assert [w.rows for w in found] == [500, 500, 500] and [w.below for w in found] == [False, False, True]
    for i, w in enumerate(found):
        inside = slice(500 * i, 500 * i + 500)
        assert w.value == pytest.approx((p[inside].argmax(axis=1) == y[inside]).mean()) and w.low < w.value < w.high  # type: ignore[operator]


def test_too_few_rows_and_no_floor_give_no_verdict() -> None:
    p, y = calibrated(np.random.default_rng(1), 90)
    rows = Labelled(np.arange(90), np.arange(90), p, y)
    assert by_window(judge(), rows, Quality(floor=0.99), Window(rows=500, minimum=100)) == []
    (one,) = by_window(judge(), rows, Quality(), Window(rows=500, minimum=50))
    assert one.below is None and one.rows == 90
    assert measured(judge(), p[:0], y[:0]) == (None, None, None) and under(judge(), 0.9, None, None, None) is None


def test_of_a_value_smaller_is_better_and_the_unit_is_its_own(tmp_path: Path) -> None:
    rng, n = np.random.default_rng(2), 400
    truth = rng.normal(10, 3, n)
    values = truth + rng.normal(0, np.where(np.arange(n) < 200, 1.0, 4.0))
    ids = [f"r{i}" for i in range(n)]
    logged.predictions(tmp_path, np.arange(n) * SECOND, ids=ids, values=values)
    logged.feedback(tmp_path, np.arange(n) * SECOND, ids, [repr(float(v)) for v in truth])
    by = judge((), "regression")
    found = by_window(by, Labelled.of(by, joined(tmp_path, "m")), Quality(floor=2.0), Window(rows=200))
    assert [w.below for w in found] == [False, True] and found[1].value == pytest.approx(4.0, rel=0.2)


def test_the_positive_label_is_the_rarer_one_of_training_in_every_window() -> None:
    assert judge().positive == "yes" and judge(counts=[10, 90]).positive == "no" and judge(("a", "b", "c")).positive is None
    p = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]])
    assert measured(judge(metric="recall"), p, np.array([0, 1, 1]))[0] == 1.0  # "no" is rarer here
    with pytest.raises(ProjectError):
        judge(("a", "b", "c"), metric="recall")
    with pytest.raises(DataError, match="one number a row"):
        judge((), "arrays")


def test_a_label_that_the_model_does_not_know_is_an_error_and_a_row_without_probabilities_is_left_out(tmp_path: Path) -> None:
    logged.predictions(tmp_path, [1, 2], ids=["x", "y"], labels=["no", "yes"], probabilities=np.array([[0.9, 0.1], [0.8, 0.2]]))
    logged.predictions(tmp_path, [3], ids=["z"], labels=["no", "yes"])
    logged.feedback(tmp_path, [5, 5, 5], ["x", "y", "z"], ["no", "maybe", "no"])
    rows = Labelled.of(judge(), joined(tmp_path, "m"))
    assert rows.targets.tolist() == [0, -1] and measured(judge(), rows.outputs, rows.targets)[0] == 0.5


# -- concept drift -----------------------------------------------------------------------------------


def stream(rng: np.random.Generator, rate: float, rows: int) -> np.ndarray:
    return rng.random(rows) < rate


@pytest.mark.parametrize("rate", [0.03, 0.08])
def test_five_points_are_found_within_500_labelled_rows(rate: float) -> None:
    found, runs = 0, 40
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        watch = ErrorStream(Baseline(rate, 5000))
        watch.update(stream(rng, rate, 300))
        watch.update(stream(rng, rate + 0.05, 500))
        found += watch.suspected is not None
    assert found >= 0.9 * runs


def test_where_the_model_was_sure_it_is_found_at_any_error_rate() -> None:
    found, runs = 0, 30
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        chances = rng.beta(0.6, 2.4, 1200)  # a fifth of the answers are wrong
        rate = 0.2
        watch = ErrorStream(Baseline(rate, 5000, np.random.default_rng(99).beta(0.6, 2.4, 2000)))
        watch.update(rng.random(700) < chances[:700], chances[:700])
        later = chances[700:] + 0.05 / 0.8 * (1 - chances[700:])
        watch.update(rng.random(500) < later, chances[700:])
        found += watch.suspected is not None
    assert found >= 0.95 * runs


@pytest.mark.parametrize("informed", [False, True])
def test_false_alarms_are_as_rare_as_asked(informed: bool) -> None:
    alarms, rows = 0, 40_000
    for seed in range(2):
        rng = np.random.default_rng(seed)
        chances = rng.beta(0.5, 4.5, rows)
        reference = np.random.default_rng(7).beta(0.5, 4.5, 4000) if informed else None
        watch = ErrorStream(Baseline(0.1, 20_000, reference), apart=4000)
        alarms += len(watch.update(rng.random(rows) < chances, chances if informed else None))
    assert alarms <= 2 * rows / 4000 * 1.6


def test_it_says_when_it_began_and_what_the_rate_is_now() -> None:
    rng = np.random.default_rng(3)
    watch = ErrorStream(Baseline(0.05, 5000))
    watch.update(stream(rng, 0.05, 700))
    before = len(watch.alarms)
    alarm = watch.update(stream(rng, 0.25, 400))[0]
    assert abs(alarm.since - 700) < 60 and alarm.row < 800 and alarm.before == pytest.approx(0.05, rel=0.01) and alarm.after > 0.15
    assert len(watch.alarms) - before == 1 and watch.suspected == alarm.since, "a loss that lasts is told once, and stands"
    watch.update(stream(rng, 0.05, 600))
    assert watch.suspected is None, "until as much speaks for its end"
    assert watch.rows == 1700 and alarm.to_dict()["stream"] == "errors"


def test_batches_of_any_size_give_the_same() -> None:
    rng = np.random.default_rng(4)
    wrong = np.concatenate([stream(rng, 0.1, 400), stream(rng, 0.4, 200)])
    whole, parts = ErrorStream(Baseline(0.1)), ErrorStream(Baseline(0.1))
    whole.update(wrong)
    for at in range(0, 600, 7):
        parts.update(wrong[at : at + 7])
    assert whole.alarms and [(a.row, a.since) for a in whole.alarms] == [(a.row, a.since) for a in parts.alarms]


def test_adwin_finds_what_is_large_and_fewer_errors_are_no_alarm() -> None:
    rng = np.random.default_rng(5)
    watch = ErrorStream(Baseline(0.1), detector="adwin")
    assert watch.update(stream(rng, 0.1, 600)) == [] and watch.update(stream(rng, 0.35, 400)) and watch.standing is not None
    watch.update(stream(rng, 0.1, 1500))
    assert watch.standing is None
    for detector in ("adwin", "page_hinkley"):
        better = ErrorStream(Baseline(0.3), detector=detector)  # type: ignore[arg-type]
        better.update(stream(rng, 0.3, 600))
        assert better.update(stream(rng, 0.02, 600)) == []


def test_a_threshold_rises_with_the_time_between_alarms_and_no_rate_breaks_it() -> None:
    levels = [threshold(ratios(np.full(1, 0.1), 0.05, 0.1), apart) for apart in (500, 4000, 30_000)]
    assert levels == sorted(levels) and levels[0] > 0.3
    for rate in (0.0, 0.5, 0.97, 1.0):
        ErrorStream(Baseline(rate, 100)).update(np.array([True, False] * 50))


# -- without labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 5])
def test_on_calibrated_data_the_estimate_is_within_a_point_of_the_truth(k: int) -> None:
    rng = np.random.default_rng(6)
    names = tuple(f"c{i}" for i in range(k))
    by = judge(names)
    p, y = calibrated(rng, 4000, k)
    calibration = Calibration.fit(p, y)
    p, y = calibrated(rng, 20_000, k, sharp=1.2)  # harder rows than those held out
    found = estimate(by, p, calibration, ("accuracy", "roc_auc", "log_loss", "macro_f1"))
    for name, told in found.items():
        truth = by.every[name].value(by.answers(p, y))
        assert abs(told["value"] - truth) < 0.01 and told["low"] <= told["value"] <= told["high"], name


def test_probabilities_that_are_too_sure_are_calibrated_first() -> None:
    rng = np.random.default_rng(7)
    p, y = calibrated(rng, 23_000)
    sure = p**3 / (p**3).sum(axis=1, keepdims=True)
    calibration = Calibration.fit(sure[:3000], y[:3000])
    truth = float((sure[3000:].argmax(axis=1) == y[3000:]).mean())
    assert calibration.how in ("temperature", "isotonic")
    assert abs(estimate(judge(), sure[3000:], calibration)["accuracy"]["value"] - truth) < 0.01
    assert abs(estimate(judge(), sure[3000:], Calibration())["accuracy"]["value"] - truth) > 0.05
    assert temperature(sure, y) == pytest.approx(1 / 3, abs=0.02)


def test_it_does_not_see_labels_that_changed_their_meaning_and_says_so() -> None:
    p, _ = calibrated(np.random.default_rng(8), 2000, sharp=4.0)
    told = estimate(judge(), p, Calibration())["accuracy"]["value"]
    truth = float((p.argmax(axis=1) == 1 - p.argmax(axis=1)).mean())
    assert told > 0.8 and truth == 0.0 and "concept drift" in BLIND


@pytest.mark.parametrize("since", [1_796_000_000_000_000, "2026-11-29 23:33:20"])
def test_a_suspicion_is_told_of_what_was_found_and_of_what_a_look_hands_on(since: Any) -> None:
    risen = {"standing": False, "suspected": True, "since": since, "after": 0.8, "before": 0.9, "rows": 400, "first": 200}
    said = (
        "answers may be wrong more often since 2026-11-30 00:53:20"
        if isinstance(since, int)
        else f"answers may be wrong more often since {since}"
    )
    assert quality_watch.maybe_rose(risen).startswith(said)
    judged = {"wrong": [], "value": None, "unwatched": "", "share": 0.5, "risen": risen}
    looked = {"rows": 9, "windows": 0, "open": 9, "standing": [], "faults": [], "last": None, "quality": judged}
    assert said in report.body("m", looked)


def test_isotonic_steps_rise_and_are_the_means_of_what_they_pool() -> None:
    x, v = isotonic(np.array([0.1, 0.2, 0.3, 0.3, 0.5]), np.array([0.0, 1.0, 0.0, 0.0, 1.0]))
    assert (np.diff(x) >= 0).all() and (np.diff(v) >= 0).all()
    assert np.interp([0.1, 0.25, 0.5], x, v) == pytest.approx([0.0, 1 / 3, 1.0])
    assert Calibration.fit(np.full((10, 2), 0.5), np.zeros(10, np.int64)).how == "none"
    assert Calibration("isotonic", 3, 1.0, ((np.array([0.0, 1.0]), np.array([0.0, 0.0])),) * 2)(np.array([[0.4, 0.6]])).tolist() == [
        [0.5, 0.5]
    ]
