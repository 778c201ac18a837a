"""The autoencoder's errors, score and graph: numbers, gaps, known and unknown categories."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from sluice.learners.tables.codes import KNOWN, MISSING, UNKNOWN
from sluice.learners.torch.tables.autoencoder import LEAST, Autoencoder, Scored
from sluice.learners.torch.tables.autoencoder_graph import autoencoder_graph
from sluice.tasks.config import AutoencoderModel

NUMBERS = {"x": {"mean": 5.0, "std": 2.0}, "y": {"mean": -1.0, "std": 0.5}}
CATEGORIES = {"few": ["a", "b"], "many": [f"v{i}" for i in range(50)]}


def net(numbers: dict[str, Any] = NUMBERS, categories: dict[str, Any] = CATEGORIES) -> Autoencoder:
    torch.manual_seed(4)
    return Autoencoder(AutoencoderModel(hidden=[12]), SimpleNamespace(extra={"numeric": numbers, "categories": categories})).eval()  # type: ignore[arg-type]


def columns(names: tuple[str, ...] = ("x", "y", "few", "many"), rows: int = 40) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(6)
    x = rng.normal(5, 2, size=(rows, 1)).astype(np.float32)
    x[3] = np.nan
    found = {
        "x": torch.tensor(x),
        "y": torch.tensor(rng.normal(-1, 0.5, size=(rows, 1)).astype(np.float32)),
        "few": torch.tensor(rng.integers(MISSING, KNOWN + 2, size=(rows, 1))),
        "many": torch.tensor(rng.integers(UNKNOWN, KNOWN + 50, size=(rows, 1))),
    }
    return {name: found[name] for name in names}


@pytest.mark.parametrize("names", [("x", "y", "few", "many"), ("x", "y"), ("few", "many"), ("y",)])
def test_the_graph_answers_as_the_network_does(names: tuple[str, ...]) -> None:
    made = net({n: NUMBERS[n] for n in names if n in NUMBERS}, {n: CATEGORIES[n] for n in names if n in CATEGORIES})
    rows = columns(names)
    with torch.no_grad():
        made.settle(made(**rows), 0.1)
        expected = Scored(made)(**rows).numpy()
    model = autoencoder_graph(made, {n: n for n in (*made.numeric, *made.categorical)}, "probabilities", 20)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {n: t.numpy() for n, t in rows.items()})[0]
    assert np.abs(found - expected).max() < 1e-4
    assert (expected[:, 0] >= 0.5).sum() == 4


def test_each_column_has_an_error_that_rises_as_the_value_leaves_what_is_usual() -> None:
    made, rows = net(), columns(rows=8)
    far = {name: value.clone() for name, value in rows.items()}
    far["x"][0] += 200
    with torch.no_grad():
        before, after = made(**rows), made(**far)
    assert before.shape == (8, 4)
    assert after[0, 0] > before[0, 0] + 100
    assert torch.equal(after[1:], before[1:])


def test_what_is_usual_has_a_floor_so_that_no_column_decides_alone() -> None:
    made = net()
    errors = torch.rand(100, 4) * torch.tensor([1.0, 1.0, 1.0, 1e-6])
    made.settle(errors, 0.05)
    assert made.usual[3] == pytest.approx(LEAST * float(errors.mean()), rel=1e-3)  # type: ignore[index]
    assert list(made.state_dict()) == list(net().state_dict())
    with pytest.raises(ValueError, match="same score"):
        made.settle(torch.ones(30, 4), 0.05)
