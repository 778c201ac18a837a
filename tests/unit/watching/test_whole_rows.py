"""Drift of whole texts, pictures and recordings: quiet where nothing moved, caught where lengths and brightness stay what they were."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sluice.monitor import DriftMonitor, MonitorConfig, Window, profile_of
from sluice.stats import mmd
from tests.unit.serving.builders import wav


def picture(rng: np.random.Generator, turned: bool) -> bytes:
    """Bright at the top, of changing brightness; turned: at the left."""
    pixels = np.clip(rng.normal(60, 20) + 120 * (np.arange(16)[:, None] < 6) + rng.normal(0, 20, (16, 16)), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.rot90(pixels) if turned else pixels).save(out, "PNG")
    return out.getvalue()


def text(rng: np.random.Generator, other: bool) -> str:
    return " ".join(f"{'other' if other else 'word'}{i}" for i in rng.integers(0, 60, 8))


def sound(rng: np.random.Generator, higher: bool) -> bytes:
    time = np.arange(1600) / 8000
    return wav(0.3 * np.sin(2 * np.pi * (600 if higher else 300) * (1 + 0.2 * rng.random()) * time) + 0.01 * rng.normal(size=1600))


@pytest.mark.parametrize(
    ("kind", "made", "type_"), [("image", picture, pa.binary()), ("text", text, pa.string()), ("audio", sound, pa.binary())]
)
def test_quiet_and_caught(kind, made, type_):
    rng = np.random.default_rng(0)

    def table(n: int, moved: bool) -> pa.Table:
        return pa.table({kind: pa.array([made(rng, moved) for _ in range(n)], type_)})

    monitor = DriftMonitor(profile_of(table(300, False), {kind: kind}), MonitorConfig(window=Window(rows=200)))
    state, verdicts = monitor.feed(monitor.begin(), table(600, False))
    assert len(verdicts) == 3 and not any(v.raised or v.moved for v in verdicts)
    state, verdicts = monitor.feed(state, table(400, True))
    whole = [next(s for s in v.scores if s.part == "whole") for v in verdicts]
    assert all(s.moved and s.score > 2 * s.noise for s in whole) and (kind, "whole") in [(a.feature, a.part) for a in verdicts[1].raised]
    # The window that is open is judged by what is in it where nothing comes behind, as `sluice diagnose` asks at a log's end.
    rest = table(120, True)
    once = monitor.feed(state, rest, last=True)[1]
    open_, none = monitor.feed(state, rest)
    assert not none and monitor.feed(open_, rest.slice(0, 0), last=True)[1] == once and len(once) == 1


def test_the_distance_keeps_its_level():
    rng = np.random.default_rng(1)
    kept, over = [mmd.reference(rng.normal(size=(1000, 8))) for _ in range(5)], 0
    for told in kept:
        bound = mmd.null(told, 300).bound(0.01, 1)
        for _ in range(200):
            sums = mmd.summed(told, rng.normal(size=(300, 8)), [0, 300])[0]
            over += mmd.distance(told, sums) ** 2 > bound
    assert over <= 25 and mmd.distance(kept[0], np.zeros(129)) is None
    assert mmd.reference(np.full((100, 3), np.nan)) is None
