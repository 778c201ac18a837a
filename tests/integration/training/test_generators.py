"""Generators through the torch learner: trained, written as a graph, and asked by the graph as by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sluice.core.png import png
from sluice.data.prepare import prepare
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.formats.export import export_graph
from sluice.learners.fit import fit
from sluice.project import parse
from sluice.tasks import load_task

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("kind", ["gan", "vae"])
def test_a_generator_is_trained_and_its_graph_makes_the_same_pictures(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(1)
    for i in range(120):
        path = tmp_path / "pictures" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(rng.integers(0, 128, (5, 4)) + 127 * (i % 2)))
    model = {"kind": kind, "noise": 3, "width": 4, "parts": 3}
    raw = {
        "name": "g",
        "task": "generate",
        "data": {"source": "pictures"},
        "model": model,
        "train": {"epochs": 2, "batch_size": 16, "ema": 0.9},
    }
    project = parse(raw)
    dataset = prepare(project, tmp_path, load_task(project, tmp_path), tmp_path / "data")
    trained = fit(project, dataset, tmp_path / "model", base_dir=tmp_path)
    last = trained.history[-1]
    assert np.isfinite(last["validation_loss"])
    assert ("discriminator_right" in last) == (kind == "gan")
    inputs = trained.processor.encode_batch([{"seed": 2**40 + 3, "class": "a"}, {"seed": 5}, {"seed": 5, "class": "b"}])
    made = OnnxRuntime.open(export_graph(trained, 20)).run(inputs)["image"]
    assert made.shape == (3, 20) and made.min() >= 0 and made.max() <= 1
    assert made == pytest.approx(trained.run(inputs), abs=1e-5)
    assert not np.allclose(made[0], made[1])
