"""The expected calibration error and its interval: of so many rows, or units, as it says."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.problems.answers import Answers
from sluice.problems.reliability import reliability
from sluice.problems.units import Units


def drawn(rng: np.random.Generator, rows: int, off: float, each: int = 1) -> Answers:
    """A model that says p where the truth is p - off (towards 1/2); `each` copies of a row are one unit."""
    p = rng.choice([0.62, 0.75, 0.88, 0.97], rows)
    right = np.repeat(rng.random(rows) < p - off, each)
    outputs = np.repeat(np.stack([1 - p, p], axis=1), each, axis=0)
    units = Units("who", np.repeat(np.arange(rows), each)) if each > 1 else None
    return Answers.of(outputs, np.where(right, 1, 0), units=units)


@pytest.mark.parametrize("off", [0.0, 0.04, 0.2])
@pytest.mark.parametrize("each", [1, 4])
def test_the_interval_holds_the_truth_as_often_as_it_says(off: float, each: int) -> None:
    rng = np.random.default_rng(3)
    found = [reliability(drawn(rng, 300, off, each), 0.9) for _ in range(60)]
    held = sum(f["low"] <= off + 1e-9 and off <= f["high"] + 1e-9 for f in found)
    assert held >= 60 * 0.82  # 0.9 less two standard errors


def test_it_narrows_with_rows_and_names_what_was_found() -> None:
    rng = np.random.default_rng(4)
    few, many = (reliability(drawn(rng, n, 0.1), 0.95) for n in (200, 20_000))
    assert many["high"] - many["low"] < (few["high"] - few["low"]) / 4
    assert all(f["low"] <= f["ece"] <= f["high"] for f in (few, many))
    assert many["ece"] == pytest.approx(0.1, abs=0.01)
    assert sum(b["rows"] for b in many["bins"]) == 20_000


def test_one_row_has_an_error_and_no_interval() -> None:
    found = reliability(Answers.of(np.array([[0.2, 0.8]]), np.array([1])), 0.95)
    assert found["ece"] == pytest.approx(0.2) and found["low"] is None
