"""Forecasts judged."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from sluice.problems.forecast import QUANTILES, Forecast, Truth, naive_quantiles
from sluice.problems.of_forecasts import Coverage
from sluice.problems.problem import problem
from sluice.problems.units import Units

H = 4


def rows(n: int = 60, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Answers [n, H, 3] and targets [n, 2 H + 1] of series whose size differs a thousandfold."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(0, 3, (n, 1))
    values, naive = rng.normal(0, 1, (n, H)) * scale, rng.normal(0, 1, (n, H)) * scale
    middle = values + rng.normal(0, 0.5, (n, H)) * scale
    outputs = np.stack([middle - scale, middle, middle + scale], axis=2)
    return outputs, np.concatenate([values, naive, scale], axis=1)


def labels() -> list[str]:
    return Forecast().labels(pa.chunked_array([pa.array([[0.0] * (2 * H + 1)])]))


def test_labels_name_step_and_quantile() -> None:
    assert labels()[:4] == ["1:0.1", "1:0.5", "1:0.9", "2:0.1"] and Forecast().width(labels()) == (H, 3)
    problem("series_forecast").check_labels(labels())
    with pytest.raises(ValueError, match="are not the steps of a forecast"):
        problem("series_forecast").check_labels(labels()[1:])


def test_metrics_are_what_they_are_defined_as() -> None:
    outputs, targets = rows()
    targets[0, 1] = np.nan
    a, t = Forecast().answers(outputs, targets, labels()), Truth.of(targets, H)
    found = {name: m.value(a) for name, m in Forecast().metrics().items()}
    mase, smape, pinball = [], [], []
    for i in range(len(outputs)):
        steps = [h for h in range(H) if not np.isnan(t.values[i, h])]
        mase.append(np.mean([abs(t.values[i, h] - outputs[i, h, 1]) / t.scale[i, 0] for h in steps]))
        smape.append(np.mean([2 * abs(t.values[i, h] - outputs[i, h, 1]) / (abs(t.values[i, h]) + abs(outputs[i, h, 1])) for h in steps]))
        loss = [
            max(q * e, (q - 1) * e) / t.scale[i, 0]
            for h in steps
            for k, q in enumerate(QUANTILES)
            for e in [t.values[i, h] - outputs[i, h, k]]
        ]
        pinball.append(np.mean(loss))
    assert found["mase"] == pytest.approx(np.mean(mase))
    assert found["smape"] == pytest.approx(np.mean(smape))
    assert found["pinball"] == pytest.approx(np.mean(pinball))
    assert found["coverage_gap"] == pytest.approx(abs(Coverage("coverage", "series_forecast", "higher").value(a) - 0.8))


def test_a_series_in_another_unit_has_the_same_mase() -> None:
    outputs, targets = rows()
    mase = Forecast().metrics()["mase"]
    other = Forecast().answers(outputs * 1000, targets * 1000, labels())
    assert mase.value(other) == pytest.approx(mase.value(Forecast().answers(outputs, targets, labels())))


def test_the_interval_is_of_series() -> None:
    outputs, targets = rows(40)
    outputs, targets = np.repeat(outputs, 10, axis=0), np.repeat(targets, 10, axis=0)
    mase, units = Forecast().metrics()["mase"], Units("series", np.repeat(np.arange(40), 10))
    alone = mase.interval(Forecast().answers(outputs, targets, labels()), 0.95, 1000)
    together = mase.interval(Forecast().answers(outputs, targets, labels(), units=units), 0.95, 1000)
    assert alone is not None and together is not None
    assert 2 < (together[1] - together[0]) / (alone[1] - alone[0]) < 5


def test_the_naive_forecast_covers_four_of_five_of_normal_errors() -> None:
    rng = np.random.default_rng(4)
    errors = rng.normal(0, 1, (2000, H))
    targets = np.concatenate([errors, np.zeros((2000, H)), np.full((2000, 1), np.abs(errors).mean())], axis=1)
    a = Forecast().answers(naive_quantiles(Truth.of(targets, H)), targets, labels())
    assert Coverage("coverage", "series_forecast", "higher").value(a) == pytest.approx(0.8, abs=0.02)


def test_what_is_told_and_drawn() -> None:
    from sluice.gates.config import EvaluateConfig

    outputs, targets = rows()
    targets = np.concatenate([targets, np.linspace(0, 1, 60 * 8).reshape(60, 8)], axis=1)
    told = Forecast().told(outputs.astype(np.float32), labels())
    assert list(told) == ["0.1", "0.5", "0.9"] and told["0.5"].shape == (60, H)
    found = Forecast().details(Forecast().answers(outputs, targets, labels()), labels(), None, EvaluateConfig())
    assert len(found["forecast"]["steps"]) == H and len(found["forecast"]["examples"]) == 6
    page = Forecast().section(found)
    assert "in the band" in page and "80%" in page
    assert page.count("<svg") == 8 and "seasonal naive" in page and "NaN" not in page and "nan" not in page
