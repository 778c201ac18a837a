"""Trees and a linear model mixed: which is taken where, on few rows, with gaps, and that the graph says the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluice.engines.onnxruntime import OnnxRuntime
from sluice.learners.estimators.auto import Auto, AutoModel
from sluice.learners.estimators.base import Rows
from sluice.learners.estimators.mixture import Mixture
from sluice.learners.estimators.straight import Straight, choose_straight, parts_of


def auto(classes: int, **settings: Any) -> Auto:
    known = {"estimator": "auto", "n_estimators": 60, "early_stopping_rounds": 8, "folds": 3, **settings}
    return Auto(AutoModel(**known), classes, seed=3)


def rows(targets: Any, x: np.ndarray, **more: Any) -> Rows:
    return Rows(x.astype(np.float32), np.asarray(targets), **more)


def numbers(n: int, columns: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, columns)).astype(np.float32)


def fitted(one: Auto, train: Rows, validation: Rows | None = None) -> Mixture:
    return one.fit(train, validation, lambda *_: None).model


def test_what_is_straight_is_left_to_the_linear_model_and_what_jumps_to_the_trees() -> None:
    x = numbers(300)
    straight = fitted(auto(0), rows(3 * x[:, 0] - x[:, 1] + 0.1 * numbers(300, 1, 1)[:, 0], x))
    assert straight.share == 0 and straight.boosters == ()
    jumps = fitted(auto(2, max_depth=3), rows((np.abs(x[:, 0]) > 0.7).astype(np.int64), x))
    assert jumps.share > 0.9 and len(jumps.boosters) == 6  # three folds, and two divisions of so few rows


def test_few_noisy_rows_are_answered_about_as_well_as_by_a_strongly_penalised_line() -> None:
    """Twenty-seven rows: boosted trees alone are worse than the mean here."""
    x, beta = numbers(1027, 6, 5), np.array([1, -1, 0.5, 0, 0, 0])
    y = x @ beta + numbers(1027, 1, 6)[:, 0]
    one = auto(0, folds=5)
    found = one.predict(fitted(one, rows(y[:27], x[:27])), x[27:])
    left = 1 - ((found - y[27:]) ** 2).mean() / y[27:].var()
    assert left > 0.4


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_the_graph_and_what_is_read_again_say_the_same_with_gaps(classes: int, tmp_path: Path) -> None:
    x = numbers(240)
    x[::7, 1], x[:, 3] = np.nan, (x[:, 3] > 0)
    score = np.nan_to_num(x[:, 1]) + np.abs(x[:, 0]) + x[:, 3]
    y = np.digitize(score, [1.0, 2.0][: classes - 1]) if classes else 100 + 10 * score
    one = auto(classes)
    model = fitted(one, rows(y.astype(np.int64) if classes else y, x))
    model = Mixture(model.boosters or (None,), 0.4, model.straight)  # both parts, whatever was chosen
    assert all(model.boosters)
    asked = numbers(50, seed=9)
    asked[::3, 0] = np.nan  # never missing among the training rows
    wanted = one.predict(model, asked)
    graph = OnnxRuntime.open(one.graph(model, 4, 20).SerializeToString())
    found = next(iter(graph.run({"x": asked}).values()))
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-5)
    if classes:
        np.testing.assert_allclose(wanted.sum(axis=1), 1, atol=1e-5)
    one.write(model, tmp_path)
    np.testing.assert_array_equal(one.predict(one.read(tmp_path), asked), wanted)
    (tmp_path / "auto.json").write_text("{}")
    with pytest.raises(ValueError, match="lacks"):
        one.read(tmp_path)


@pytest.mark.parametrize("n", [2, 3, 6])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_hardly_any_rows_are_no_fault(n: int, classes: int) -> None:
    x = numbers(n)
    y = np.arange(n, dtype=np.float64) if not classes else np.arange(n) % min(classes, n)
    one = auto(classes)
    for validation in (None, rows(y[:1], x[:1])):
        found = one.predict(fitted(one, rows(y, x), validation), numbers(5, seed=2))
        assert np.isfinite(found).all() and len(found) == 5


def test_rows_of_a_group_are_held_out_together() -> None:
    """Each group has a level of its own that its number names: trees that have seen the group know it, others cannot."""
    group = np.repeat(np.arange(40), 10)
    y = np.random.default_rng(1).normal(size=40)[group] + 0.01 * numbers(400, 1)[:, 0]
    x = np.stack([group, numbers(400, 1, 3)[:, 0]], axis=1)
    alone, together = (fitted(auto(0, max_depth=6), rows(y, x, groups=g)) for g in (None, group))
    assert alone.share > 0.9 and alone.boosters[0].num_boosted_rounds() > 30
    assert all(b.num_boosted_rounds() < 20 for b in together.boosters)


def test_rows_to_come_are_stood_for_by_validation() -> None:
    x = numbers(200)
    y = (np.abs(x[:, 0]) > 0.7).astype(np.int64)
    found = auto(2).fit(rows(y[:150], x[:150], timed=True), rows(y[150:], x[150:]), lambda *_: None)
    assert len(found.model.boosters) == 1
    assert "50 rows of validation" in found.text and found.held is None


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("classes", [0, 2])
def test_rows_of_validation_that_nothing_else_needs_are_learnt_and_answered_by_models_without_them(classes: int, timed: bool) -> None:
    """Labels are noise: whoever had learnt a row would know its answer, and the others cannot."""
    x, rng = numbers(300), np.random.default_rng(8)
    y = rng.integers(0, 2, 300) if classes else rng.normal(size=300)
    train, free = rows(y[:240], x[:240], timed=timed), rows(y[240:], x[240:], free=True)
    found, kept = (auto(classes).fit(train, dataclasses.replace(free, free=f), lambda *_: None) for f in (True, False))
    assert kept.held is None and found.held is not None and len(found.held) == 60
    told = found.held[:, 1] if classes else found.held
    assert abs(np.corrcoef(told, free.targets)[0, 1]) < 0.3
    assert found.choice["rows"] == (60 if timed else 300) and kept.choice["rows"] == (60 if timed else 240)


def test_more_rows_make_a_better_model_of_what_has_no_noise() -> None:
    x = numbers(1400, 3, 4)
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2]
    learnt, held = rows(y[:200], x[:200]), rows(y[200:400], x[200:400])
    one = auto(0)
    errors = [
        ((one.predict(fitted(one, learnt, dataclasses.replace(held, free=free)), x[400:]) - y[400:]) ** 2).mean() for free in (True, False)
    ]
    assert errors[0] < 0.8 * errors[1]


def test_it_says_what_was_tried_and_why_it_took_what_it_took() -> None:
    x = numbers(300)
    found = auto(2, max_depth=3).fit(rows((np.abs(x[:, 0]) > 0.7).astype(np.int64), x), None, lambda *_: None)
    trees, linear, answer = found.choice["models"]
    assert trees["loss"] < linear["loss"] and trees["share"] > 0.9 and answer["loss"] <= trees["loss"] + 0.01
    assert "rounds of trees of depth 3" in found.text and "log loss on 300 rows left out of 3 folds" in found.text


def test_a_rare_label_that_a_fold_lacks_keeps_its_output() -> None:
    x = numbers(60)
    y = np.zeros(60, dtype=np.int64)
    y[:30], y[30] = 1, 2
    one = auto(3)
    assert one.predict(fitted(one, rows(y, x)), x).shape == (60, 3)


def test_a_row_that_weighs_more_pulls_the_linear_model() -> None:
    x = numbers(80)
    y = (np.arange(80) % 2).astype(np.int64)
    plain, heavy = (Straight.fitted(rows(y, x, weights=w), 2, 1.0).answers(x)[:, 1].mean() for w in (None, 1.0 + 9 * y))
    assert heavy > plain + 0.2


def test_the_penalty_is_the_stronger_the_less_there_is_to_learn() -> None:
    x = numbers(60, 20)
    noise, signal = numbers(60, 1, 4)[:, 0].astype(np.float64), x[:, 0].astype(np.float64)
    folds = np.arange(60)[None] % 3
    weights = [np.abs(choose_straight(rows(y, x), parts_of(folds), 0)[0].weights).sum() for y in (noise, signal)]
    assert weights[0] < weights[1]


@pytest.mark.parametrize("timed", [False, True])
def test_an_answer_bound_to_rise_is_the_trees_alone_and_rises(timed: bool) -> None:
    x = numbers(200)
    y = x[:, 0] + 0.5 * np.sin(4 * x[:, 0])
    one = auto(0)
    model = fitted(one, rows(y, x, monotone=(1, 0, 0, 0), timed=timed), rows(y[:40], x[:40]))
    line = np.zeros((50, 4), np.float32)
    line[:, 0] = np.linspace(-2, 2, 50)
    assert model.share == 1 and (np.diff(one.predict(model, line)) >= 0).all()
