"""A symbol or none at each frame: the text of them, the loss, and the exported graph."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from sluice.core.errors import DataError
from sluice.data.sounds import RATE, wav
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.formats.fp16 import Fp16
from sluice.formats.quantise import quantise
from sluice.learners.state import State
from sluice.learners.torch.graph import network_graph
from sluice.learners.torch.network import network_of
from sluice.learners.torch.sounds.ctc import Greedy, loss
from sluice.package.graph import exact_nodes, normalise, to_bytes
from sluice.problems.transcription import LONGEST
from sluice.project import parse
from sluice.tasks import load_task

BANDS = 40
LENGTHS = torch.tensor([[2401], [4000], [8000]])


def clips() -> torch.Tensor:
    at = torch.arange(8000)
    tones = torch.stack([torch.sin(at * f) for f in (0.3, 0.5, 0.9)]) * 0.3
    return tones * (at < LENGTHS) * torch.where((at // 1500) % 2 == 0, 1.0, 0.02)


def network(labels: tuple[str, ...] = ("▁a", "▁b", "▁c"), **model: object):
    net = network_of(load_task(parse({"name": "x", "task": "transcribe", "data": {"source": "x"}, "model": {"width": 4, **model}})))
    spec = {"kind": "audio", "sample_rate": RATE, "samples": 16000, "shorter": True}
    return net, State("transcription", [*labels], spec, {}, {"mean": [-4.0] * BANDS, "std": [2.0] * BANDS})


def test_repetitions_are_one_symbol_and_blanks_none() -> None:
    path = [0, 2, 2, 0, 2, 1, 1, 3, 0]
    logits = torch.full((2, len(path), 4), -5.0)
    for frame, code in enumerate(path):
        logits[0, frame, code] = 5.0 + frame
    logits[1, :, 0] = 5.0
    found = Greedy(6)(logits)
    assert found.shape == (2, 6, 2) and found[:, :, 0].tolist() == [[1, 1, 0, 2, -1, -1], [-1] * 6]
    assert found[0, :4, 1] == pytest.approx(torch.softmax(logits[0], 1).amax(1)[[2, 4, 6, 7]])
    assert not found[0, 4:, 1].any() and Greedy(2)(logits)[0, :, 0].tolist() == [1, 1]


def test_the_loss_is_that_of_all_ways_to_say_it() -> None:
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 1, -1], [1, 1, -1]])
    p = torch.softmax(logits.double(), 2)

    def ways(row: int, said: list[int]) -> float:
        total = 0.0
        for path in itertools.product(range(3), repeat=4):
            if [k - 1 for k, _ in itertools.groupby(path) if k] == said:
                total += math.prod(float(p[row, t, k]) for t, k in enumerate(path))
        return -math.log(total) / len(said)

    assert float(loss(logits, targets)) == pytest.approx((ways(0, [0, 1]) + ways(1, [1, 1])) / 2, rel=1e-5)
    assert float(loss(logits[:, :2], targets[1:].repeat(2, 1))) == 0  # two equal symbols need three frames


def test_the_exported_graph_answers_as_torch_does_alone_and_in_a_batch() -> None:
    net, state = network()
    torch.manual_seed(1)
    serving = net.serving_module(net.build(state).eval(), state)
    with torch.no_grad():
        serving.model.head.bias[0] = -0.5  # so that an untrained network says something
        wanted = serving(audio=clips(), length=LENGTHS).numpy()
    assert wanted.shape == (3, LONGEST, 2) and len({int((row[:, 0] >= 0).sum()) for row in wanted}) > 1
    graph = normalise(network_graph(net, state, serving, 20))
    assert any("Scatter" in node for node in exact_nodes(graph))
    batch = {"audio": clips().numpy(), "length": LENGTHS.numpy()}
    engine = OnnxRuntime.open(to_bytes(graph))
    found = engine.run(batch)["symbols"]
    np.testing.assert_array_equal(found[..., 0], wanted[..., 0])
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert np.isfinite(engine.run({"audio": np.zeros((1, 8000), np.float32), "length": np.array([[8000]])})["symbols"]).all()
    for i, n in enumerate(LENGTHS[:, 0].tolist()):
        alone = engine.run({"audio": batch["audio"][i : i + 1, :n], "length": batch["length"][i : i + 1]})["symbols"]
        np.testing.assert_allclose(alone, found[i : i + 1], atol=1e-4)
    smaller = quantise(graph, [batch])
    for made in (Fp16().make(to_bytes(graph), lambda: [batch]).data, None if smaller is None else to_bytes(smaller)):
        if made is not None:
            assert OnnxRuntime.open(made).run(batch)["symbols"].shape == wanted.shape


def test_silence_is_answered_and_half_a_minute_is_read() -> None:
    net, state = network()
    model = net.build(state).eval()
    with torch.no_grad():
        out = model(audio=torch.zeros(1, 8000), length=torch.tensor([[8000]]))
    assert bool(out.isfinite().all()) and net.read_of(2.0, "id") == 30.0
    with pytest.raises(DataError, match=r"takes 31\.0 seconds, of which 30 are read") as e:
        net.read_of(31.0, "id")
    assert "model.seconds" in str(e.value.fix)


def test_tones_are_learnt_as_words(tmp_path: Path) -> None:
    from sluice.data.prepare import prepare
    from sluice.formats.export import export_package
    from sluice.learners.fit import fit

    rng = np.random.default_rng(0)
    pitch = {"low": 300, "middle": 900, "high": 2500}

    def sing(words: list[str]) -> bytes:
        parts = []
        for word in words:
            n = int(RATE * rng.uniform(0.15, 0.25))
            parts += [np.sin(2 * np.pi * pitch[word] * np.arange(n) / RATE) * np.hanning(n), np.zeros(int(RATE * 0.05))]
        return wav(0.3 * np.concatenate(parts) + rng.normal(0, 1e-3, sum(map(len, parts))))

    said = [list(rng.choice([*pitch], rng.integers(1, 4))) for _ in range(160)]
    table = pa.table({"audio": pa.array([sing(s) for s in said], pa.binary()), "label": [" ".join(s) for s in said]})
    import pyarrow.parquet as pq

    pq.write_table(table, tmp_path / "x.parquet")
    raw = {
        "name": "x",
        "task": "transcribe",
        "data": {"source": str(tmp_path / "x.parquet")},
        "model": {"width": 4, "dropout": 0.0, "augment": False},
        "train": {"epochs": 12, "batch_size": 8, "learning_rate": 1e-2},
    }
    project = parse(raw)
    dataset = prepare(project, tmp_path, load_task(project, tmp_path), tmp_path / "data")
    fit(project, dataset, tmp_path / "model")
    result = export_package(project, tmp_path / "model", dataset, tmp_path / "package")
    assert result.decision == "pass" and result.package is not None, result.reasons
    assert dataset.labels == ["▁high", "▁low", "▁middle"] and result.package.metrics["word_error_rate"] < 0.2
