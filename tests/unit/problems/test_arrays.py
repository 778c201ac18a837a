"""Answers that are arrays: shapes checked, paired by rows and by units, judged part by part."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.errors import DataError, ProjectError, SluiceError
from sluice.gates.config import EvaluateConfig
from sluice.problems import metrics
from sluice.problems.comparison import compare
from sluice.problems.evaluator import evaluate
from sluice.problems.problem import built_in, problem
from sluice.problems.settings import check_settings
from sluice.problems.units import Units

ASKED = problem("arrays")
LABELS = ["far", "high"]


def truth(rows: int = 200, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 2)) * [10.0, 0.1]


def test_parts_count_alike_whatever_their_size() -> None:
    y = truth()
    wrong_far, wrong_high = y.copy(), y.copy()
    wrong_far[:, 0] += y[:, 0].std()
    wrong_high[:, 1] += y[:, 1].std()
    found = [evaluate(x, y, LABELS, EvaluateConfig(), asked=ASKED)["value"] for x in (wrong_far, wrong_high)]
    assert found == pytest.approx([0.5**0.5] * 2)


def test_the_better_of_two_is_told_beyond_doubt_and_by_fewer_units_with_more_doubt() -> None:
    y, rng = truth(), np.random.default_rng(5)
    near, far = y + 0.1 * y.std(axis=0) * rng.standard_normal(y.shape), y + 0.5 * y.std(axis=0) * rng.standard_normal(y.shape)
    rows = compare(near, far, y, LABELS, LABELS, EvaluateConfig(), asked=ASKED)
    units = compare(near, far, y, LABELS, LABELS, EvaluateConfig(), asked=ASKED, units=Units("who", np.arange(200) // 20))
    assert rows["verdict"] == units["verdict"] == "better" and units["units"] == 10
    assert units["high"] - units["low"] > 0.5 * (rows["high"] - rows["low"])


def test_another_shape_no_rows_and_what_is_not_finite_are_refused() -> None:
    y = truth(10)
    with pytest.raises(DataError, match="have shape"):
        ASKED.answers(y[:, :1], y, LABELS)
    with pytest.raises(DataError, match="no rows"):
        ASKED.answers(y[:0], y[:0], LABELS)
    bad = y.copy()
    bad[3, 1] = np.nan
    with pytest.raises(SluiceError, match="not finite on 1 of 10"):
        ASKED.answers(bad, y, LABELS)


def test_lists_of_different_lengths_are_no_label() -> None:
    with pytest.raises(DataError, match="different lengths"):
        ASKED.targets(pa.chunked_array([[[1.0], [1.0, 2.0]]]), LABELS)
    found = ASKED.targets(pa.chunked_array([[[1.0, 3.0]], [[1.0, 2.0]]]), LABELS)
    assert found.tolist() == [[1.0, 3.0], [1.0, 2.0]] and ASKED.labels(pa.chunked_array([[[1.0, 3.0]]])) == ["0", "1"]


def test_answers_of_other_parts_are_not_compared() -> None:
    y = truth(10)
    with pytest.raises(DataError, match="another problem"):
        compare(y, y, y, LABELS, ["far", "wide"], EvaluateConfig(), asked=ASKED)


def test_its_metrics_can_be_named_and_those_of_others_cannot() -> None:
    assert "mean_mae" in metrics.known()
    check_settings(EvaluateConfig(metric="mean_mae"), "arrays", LABELS)
    with pytest.raises(ProjectError, match="is no metric of arrays: it is one of classification"):
        check_settings(EvaluateConfig(metric="accuracy"), "arrays", LABELS)
    with pytest.raises(ProjectError, match="an answer is 2 numbers"):
        check_settings(EvaluateConfig(decision={"aim": "f1"}), "arrays", LABELS)


def test_labels_and_values_are_still_what_is_built_in() -> None:
    assert built_in(classes=True).name == "classification" and built_in(classes=False).name == "regression"
