"""The response cache: exact, bounded, never across versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving.runtime.engine.cache import Cache
from serving.runtime.engine.queue import Unit
from serving.runtime.metrics import Metrics, Page
from serving.runtime.models.model import Model, load
from tests.unit.serving import builders


def units(*values: float, dtype: str = "f4") -> list[Unit]:
    return [Unit({"x": np.array([values], dtype=dtype)}, 1)]


@pytest.fixture
def models(tmp_path: Path) -> list[Model]:
    return [load(builders.classifier(tmp_path / str(s), scale=s).root, "m", None, 1, 1 << 30) for s in (1.0, 2.0)]


def test_the_key_is_the_exact_input_and_the_version(models: list[Model]) -> None:
    cache = Cache(1 << 20, Metrics(Page()))
    keys = [
        cache.key(models[0], units(1, 2)),
        cache.key(models[1], units(1, 2)),
        cache.key(models[0], units(2, 1)),
        cache.key(models[0], units(1, 2, dtype="f8")),
        cache.key(models[0], [Unit({"x": np.array([[1], [2]], "f4")}, 2)]),
        cache.key(models[0], [*units(1, 2), *units(1, 2)]),
    ]
    assert len(set(keys)) == len(keys) and cache.key(models[0], units(1, 2)) == keys[0]


def test_texts_that_join_alike_have_different_keys(models: list[Model]) -> None:
    cache = Cache(1 << 20, Metrics(Page()))
    a, b = ([Unit({"x": np.array([words], dtype=object)}, 1)] for words in (["ab", "c"], ["a", "bc"]))
    assert cache.key(models[0], a) != cache.key(models[0], b)


def test_it_holds_no_more_than_its_limit_and_the_oldest_goes_first() -> None:
    metrics = Metrics(Page())
    cache = Cache(10_000, metrics)
    for i in range(100):
        cache.put("d", b"%d" % i, {"y": np.zeros(100, np.float32)})
        cache.get(b"0")
    assert cache.get(b"0") is not None and cache.get(b"1") is None and cache.get(b"99") is not None
    assert 9_000 < metrics.values[metrics.counter("sluice_cache_bytes")] <= 10_000
    cache.put("d", b"huge", {"y": np.zeros(10_000, np.float32)})
    assert cache.get(b"huge") is None


def test_a_slice_of_a_batch_does_not_keep_the_batch() -> None:
    cache = Cache(1 << 20, Metrics(Page()))
    batch = np.zeros((1000, 3), np.float32)
    cache.put("d", b"k", {"y": batch[3:4]})
    kept = cache.get(b"k")
    assert kept is not None and kept["y"].base is None


def test_a_version_served_no_longer_is_forgotten() -> None:
    metrics = Metrics(Page())
    cache = Cache(1 << 20, metrics)
    cache.put("old", b"a", {"y": np.zeros(3)})
    cache.put("new", b"b", {"y": np.zeros(3)})
    cache.forget("old")
    assert cache.get(b"a") is None and cache.get(b"b") is not None
