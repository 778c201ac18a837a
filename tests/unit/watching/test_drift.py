"""Drift, window by window: quiet where nothing moved, caught where something did, the same however the log is cut."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.errors import DataError
from sluice.monitor import Drift, DriftMonitor, MonitorConfig, Window, profile_of

KINDS = {
    "age": "numeric",
    "flag": "numeric",
    "amount": "numeric",
    "heavy": "numeric",
    "city": "categorical",
    "shop": "categorical",
    "note": "text",
}
WORDS = np.array([f"word{i}" for i in range(300)], dtype=object)


def rows(rng: np.random.Generator, n: int, **changed) -> pa.Table:
    shops = 1 / np.arange(1, 501)
    lengths = rng.poisson(6, n) + 1
    made = {
        "age": np.where(rng.random(n) < 0.1, np.nan, rng.normal(40, 10, n)),
        "flag": (rng.random(n) < 0.05).astype(float),
        "amount": np.where(rng.random(n) < 0.8, 0.0, rng.exponential(30, n)),
        "heavy": rng.standard_cauchy(n),
        "city": np.array(["Bern", "Genf", "Basel"], dtype=object)[rng.choice(3, n, p=[0.6, 0.3, 0.1])],
        "shop": np.array([f"shop{i}" for i in range(500)], dtype=object)[rng.choice(500, n, p=shops / shops.sum())],
        "note": [" ".join(WORDS[rng.integers(0, 300, k)]) for k in lengths],
    } | changed
    kinds = {"numeric": pa.float64(), "categorical": pa.string(), "text": pa.string()}
    return pa.table({name: pa.array(v, kinds[KINDS[name]], from_pandas=True) for name, v in made.items()})


@pytest.fixture(scope="module")
def profile():
    return profile_of(rows(np.random.default_rng(0), 5000), KINDS)


@pytest.fixture(scope="module")
def monitor(profile):
    return DriftMonitor(profile)


def watch(monitor, *tables, state=None):
    state, found = state or monitor.begin(), []
    for table in tables:
        state, verdicts = monitor.feed(state, table)
        found += verdicts
    return found


def test_nothing_moves_where_nothing_moved(monitor):
    found = watch(monitor, rows(np.random.default_rng(1), 10_000))
    assert len(found) == 20 and not any(v.raised for v in found)
    assert all(s.score is not None and s.limit > s.noise * 0.99 for v in found for s in v.scores)
    assert max(v.score for v in found) < 0.1


@pytest.mark.parametrize(
    ("name", "part", "what", "values"),
    [
        ("age", "value", "distance", lambda rng, n: rng.normal(45, 10, n)),
        ("flag", "value", "distance", lambda rng, n: (rng.random(n) < 0.95).astype(float)),
        ("amount", "value", "distance", lambda rng, n: np.where(rng.random(n) < 0.5, 0.0, rng.exponential(30, n))),
        ("amount", "value", "outside", lambda rng, n: rng.exponential(3000, n)),
        ("heavy", "value", "distance", lambda rng, n: rng.standard_cauchy(n) + 2),
        ("city", "value", "distance", lambda rng, n: np.where(rng.random(n) < 0.7, "Genf", "Bern").astype(object)),
        ("city", "value", "unseen", lambda rng, n: np.where(rng.random(n) < 0.2, "Chur", "Bern").astype(object)),
        ("age", "value", "nulls", lambda rng, n: np.where(rng.random(n) < 0.4, np.nan, rng.normal(40, 10, n))),
        ("note", "tokens", "distance", lambda rng, n: [" ".join(WORDS[rng.integers(0, 150, 7)]) for _ in range(n)]),
        ("note", "words", "distance", lambda rng, n: [" ".join(WORDS[rng.integers(0, 300, 12)]) for _ in range(n)]),
    ],
)
def test_a_shift_is_caught_within_two_windows_and_said_in_words(monitor, name, part, what, values):
    rng = np.random.default_rng(2)
    before, after = watch(monitor, rows(rng, 500), rows(rng, 1000, **{name: values(rng, 1000)}))[0::2]
    assert not before.raised and (name, part, what) in [(a.feature, a.part, a.what) for a in after.raised]
    assert {a.feature for a in after.raised} == {name} and all(name in a.text for a in after.standing)


def test_an_alarm_needs_windows_in_a_row_and_ends_after_as_many(monitor):
    rng = np.random.default_rng(3)
    fine, moved = (lambda: rows(rng, 500)), (lambda: rows(rng, 500, age=rng.normal(60, 10, 500)))
    found = watch(monitor, moved(), fine(), moved(), moved(), moved(), fine(), moved(), fine(), fine(), fine())
    assert [[a.what for a in v.raised] for v in found[:3]] == [[], [], []] and {a.feature for a in found[3].raised} == {"age"}
    assert all(v.standing for v in found[3:8]) and {a.feature for a in found[8].ended_alarms} == {"age"} and not found[9].standing


def test_the_same_verdicts_however_the_log_is_cut_and_through_json(monitor):
    table = rows(np.random.default_rng(4), 2300, age=np.random.default_rng(5).normal(46, 10, 2300))
    whole = watch(monitor, table)
    state, found, at = monitor.begin(), [], 0
    for size in (1, 499, 7, 0, 993, 800):
        before = json.dumps(state)
        after, verdicts = monitor.feed(json.loads(before), table.slice(at, size))
        assert json.dumps(state) == before
        state, at, found = after, at + size, found + verdicts
    assert json.dumps([v.to_dict() for v in found]) == json.dumps([v.to_dict() for v in whole]) and len(whole) == 4
    assert state["rows"] == 2300 and state["open"]["rows"] == 300


def test_the_state_does_not_grow(monitor):
    rng = np.random.default_rng(6)
    state, sizes = monitor.begin(), []
    for i in range(6):
        state, _ = monitor.feed(state, rows(rng, 700, city=np.array([f"new{i}-{j}" for j in range(700)], dtype=object)))
        sizes.append(len(json.dumps(state)))
    assert sizes[-1] < 1.2 * max(sizes[:3]) < 60_000


def test_no_rows_say_nothing(monitor):
    state, verdicts = monitor.feed(monitor.begin(), rows(np.random.default_rng(7), 0), last=True)
    assert not verdicts and state["rows"] == 0
    table = rows(np.random.default_rng(7), 500)
    (verdict,) = watch(monitor, table.drop_columns(["age"]))
    age = next(s for s in verdict.scores if s.feature == "age")
    assert age.score is None and age.nulls == 1.0 and age.moves == ("nulls",)
    (verdict,) = watch(monitor, pa.table({"time": pa.array([None] * 500, pa.timestamp("us", tz="UTC"))}))
    assert verdict.scores == () and verdict.score is None


def test_a_window_that_is_open_is_judged_when_nothing_comes_behind(monitor):
    table = rows(np.random.default_rng(8), 630)
    _, found = monitor.feed(monitor.begin(), table, last=True)
    assert [v.rows for v in found] == [500, 130]
    _, found = monitor.feed(monitor.begin(), table.slice(0, 50), last=True)
    assert found == []


def test_answers_are_compared_with_the_first_ones(profile):
    labelled = {**profile, "label": profile_of(rows(np.random.default_rng(0), 10), {}, ["no"] * 9 + ["yes"])["label"]}
    monitor = DriftMonitor(labelled, Drift(baseline=1000))
    rng = np.random.default_rng(9)

    def answered(n: int, share: float) -> pa.Table:
        yes = rng.random(n) < share
        table = pa.table({"features": rows(rng, n).to_struct_array(), "prediction": pa.array(np.where(yes, "yes", "no").tolist())})
        return table.append_column("probability", pa.array(np.where(yes, 0.6, 0.9) + 0.05 * rng.random(n)))

    found = watch(monitor, answered(3000, 0.5), answered(1000, 0.9))
    assert [[s.feature for s in v.scores].count("prediction") for v in found] == [0, 0, 2, 2, 2, 2, 2, 2]
    assert [{(a.feature, a.part) for a in v.raised} for v in found][-1] == {("prediction", "answer"), ("prediction", "confidence")}
    assert not any(v.raised for v in found[:-1])


@pytest.mark.parametrize("method", ["js", "ks", "wasserstein"])
def test_other_distances_are_quiet_and_catch(profile, method):
    monitor, rng = DriftMonitor(profile, Drift(method=method)), np.random.default_rng(10)
    assert not any(v.raised for v in watch(monitor, rows(rng, 5000)))
    found = watch(monitor, rows(rng, 1000, age=rng.normal(47, 10, 1000), city=np.array(["Genf"] * 1000, dtype=object)))
    assert {a.feature for a in found[-1].raised} == {"age", "city"}


def test_more_false_alarms_put_up_with_are_lower_bounds(profile):
    seldom, often = (DriftMonitor(profile, Drift(false_alarms=f)) for f in (0.001, 5.0))
    table = rows(np.random.default_rng(11), 500)
    for a, b in zip(*(sorted(watch(m, table)[0].scores, key=lambda s: s.name) for m in (seldom, often)), strict=True):
        assert a.name == b.name and a.noise > b.noise


def test_a_feature_of_its_own_settings(profile):
    config = MonitorConfig(
        drift=Drift(columns={"age": {"watch": False}, "heavy": {"method": "ks", "threshold": 0.4}}), window=Window(rows=300)
    )
    rng = np.random.default_rng(12)
    found = watch(DriftMonitor(profile, config), rows(rng, 900, age=rng.normal(70, 1, 900)))
    by_name = {s.name: s for s in found[-1].scores}
    assert len(found) == 3 and by_name["age"].moved and not found[-1].standing and found[-1].moved == ()
    assert (by_name["heavy"].method, by_name["heavy"].threshold) == ("ks", 0.4) and by_name["flag"].method == "psi"


def test_a_state_of_something_else_is_refused(profile, monitor):
    with pytest.raises(DataError, match="begin anew"):
        DriftMonitor(profile, Drift(threshold=0.3)).feed(monitor.begin(), rows(np.random.default_rng(0), 5))
    with pytest.raises(DataError, match="profile"):
        DriftMonitor({"format": "another"})
