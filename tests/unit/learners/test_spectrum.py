"""The spectrogram inside the graph, the networks over it, and what is changed of clips in training."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
import torch

from sluice.engines.onnxruntime import OnnxRuntime
from sluice.formats.fp16 import Fp16
from sluice.formats.quantise import quantise
from sluice.learners.state import State
from sluice.learners.torch.graph import network_graph
from sluice.learners.torch.network import network_of
from sluice.learners.torch.sounds.spectrum import DRAWS, Changes, LogMel, fourier, geometry, mel_bank
from sluice.package.graph import exact_nodes, normalise, to_bytes
from sluice.project import parse
from sluice.tasks import load_task

RATE, BANDS = 8000, 40
LENGTHS = torch.tensor([[1], [801], [2400]])


def clips() -> torch.Tensor:
    x = torch.randn(3, 2400, generator=torch.Generator().manual_seed(1)) * 0.1
    return x * (torch.arange(2400) < LENGTHS)


def front(changes: Changes | None = None) -> LogMel:
    return LogMel(RATE, BANDS, [-4.0] * BANDS, [2.0] * BANDS, changes)


def test_the_convolution_is_the_fourier_transform_of_windows() -> None:
    x = clips()[2, :200]
    found = (fourier(200)[:, 0] @ x).double()
    window = np.hanning(201)[:-1]
    wanted = np.fft.rfft(x.double().numpy() * window) * 2 / window.sum()
    np.testing.assert_allclose(found[:101], wanted.real, atol=1e-6)
    np.testing.assert_allclose(found[101:], -wanted.imag, atol=1e-6)


@pytest.mark.parametrize("rate", [1000, 8000, 16000, 44100])
def test_every_band_hears_something_and_a_tone_is_heard_in_its_band(rate: int) -> None:
    window, _, bands = geometry(rate)
    bank = mel_bank(rate, window, bands)
    assert bank.shape == (window // 2 + 1, bands) and bool((bank.sum(0) > 0.99).all())
    peak = [int(bank[i].argmax()) for i in range(bank.shape[0]) if bank[i].any()]
    assert peak == sorted(peak)


def test_loudness_and_what_else_is_in_a_batch_change_nothing() -> None:
    whole, mask = front()(clips(), LENGTHS)
    assert mask.sum(1).tolist() == [1, 11, 31] and whole.shape == (3, 2, BANDS, 31)
    alone, _ = front()(clips()[1:2, :801], LENGTHS[1:2])
    torch.testing.assert_close(whole[1:2, :, :, :11], alone, atol=1e-5, rtol=1e-5)
    assert not whole[1, :, :, 11:].any()
    louder, _ = front()(clips() * 3, LENGTHS)
    torch.testing.assert_close(louder, whole, atol=1e-3, rtol=1e-3)
    silent, _ = front()(torch.zeros(1, 800), torch.tensor([[800]]))
    assert bool(silent.isfinite().all())


def test_training_clips_are_changed_by_the_numbers_drawn_and_by_nothing_else() -> None:
    made = front(Changes())
    draws = torch.rand(3, DRAWS, generator=torch.Generator().manual_seed(2))
    first, mask = made(clips(), LENGTHS, draws)
    again, _ = made(clips(), LENGTHS, draws)
    torch.testing.assert_close(first, again)
    other, _ = made(clips(), LENGTHS, torch.rand(3, DRAWS, generator=torch.Generator().manual_seed(3)))
    assert bool(first.isfinite().all()) and (other.shape != first.shape or not torch.equal(first, other))
    assert bool((first * (1 - mask[:, None, None, :]) == 0).all())


def test_a_clip_that_is_told_to_be_longer_keeps_its_pitch() -> None:
    made = front(Changes(warp=0, colour=0, contrast=0, cut=0, noise=0, hidden=0, tempo=0.5))
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(4000) / RATE)[None]
    draws = torch.full((1, DRAWS), 0.99)
    draws[0, 0] = 0.0
    found, mask = made(tone, torch.tensor([[4000]]), draws)
    plain, before = front()(tone, torch.tensor([[4000]]))
    assert mask.sum() == round(float(before.sum()) * 1.49)
    assert int(found[0, 0].sum(1).argmax()) == int(plain[0, 0].sum(1).argmax())


@pytest.mark.parametrize("network", ["cnn", "transformer"])
def test_the_exported_graph_answers_as_torch_does_alone_and_in_a_batch(network: str) -> None:
    model = {"network": network, "width": 4, "hidden": 16, "layers": 1, "heads": 2}
    net = network_of(load_task(parse({"name": "x", "task": "audio", "data": {"source": "x"}, "model": model})))
    spec = {"kind": "audio", "sample_rate": RATE, "samples": 16000, "shorter": True}
    state = State("classification", ["a", "b", "c"], spec, {}, {"mean": [-4.0] * BANDS, "std": [2.0] * BANDS})
    torch.manual_seed(0)
    serving = net.serving_module(net.build(state).eval(), state)
    graph: onnx.ModelProto = normalise(network_graph(net, state, serving, 20))
    marked = exact_nodes(graph)
    assert "exact.Conv_0" in marked and sum(n.startswith("exact.Conv") for n in marked) == 1 and "exact.Log_0" in marked
    engine = OnnxRuntime.open(to_bytes(graph))
    calibration = [{"audio": clips().numpy(), "length": LENGTHS.numpy()}]
    smaller = quantise(graph, calibration)
    assert smaller is not None and {"exact.Conv_0", "exact.Log_0"} <= set(exact_nodes(smaller))
    for made in (Fp16().make(to_bytes(graph), lambda: calibration).data, to_bytes(smaller)):
        near = OnnxRuntime.open(made).run(calibration[0])["probabilities"]
        np.testing.assert_allclose(near, engine.run(calibration[0])["probabilities"], atol=0.1)
    audio, lengths = clips().numpy(), LENGTHS.numpy()
    found = engine.run({"audio": audio, "length": lengths})["probabilities"]
    with torch.no_grad():
        np.testing.assert_allclose(found, serving(audio=clips(), length=LENGTHS), atol=1e-5)
    silent = engine.run({"audio": np.zeros((1, 8000), np.float32), "length": np.array([[8000]])})["probabilities"]
    assert np.isfinite(silent).all(), "a server asks such a row before it says that it is ready"
    for i, n in enumerate(lengths[:, 0]):
        alone = engine.run({"audio": audio[i : i + 1, :n], "length": lengths[i : i + 1]})["probabilities"]
        np.testing.assert_allclose(alone, found[i : i + 1], atol=1e-5)
