"""A dataset of points in two rings, and projects that train on it in well under a second."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.warm.client import PLACE
from sluice.data.dataset import Dataset, write_dataset
from sluice.project import Project, parse

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def points_dataset(root: Path) -> Dataset:
    """400 training points and 100 validation points in two rings."""
    rng = np.random.default_rng(5)
    radius = np.where(np.arange(500) % 2, 1.0, 2.0) + rng.normal(0, 0.1, 500)
    angle = rng.uniform(0, 2 * np.pi, 500)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)
    table = pa.table(
        {
            "row_id": [hashlib.sha256(r.tobytes()).hexdigest()[:16] for r in x],
            "x": pa.array(list(x), pa.list_(pa.float32())),
            "label": ["inner" if i % 2 else "outer" for i in range(500)],
        }
    )
    return write_dataset(
        root,
        {"train": table.slice(0, 400), "validation": table.slice(400)},
        task="points_task:PointsTask",
        objective="classification",
        labels=["inner", "outer"],
        columns={"x": "numeric"},
        source={},
        shard_rows=100,
    )


@pytest.fixture
def plain_processes() -> Iterator[None]:
    """Training processes are children of the one that starts them, for tests that look for them there."""
    with pytest.MonkeyPatch.context() as alone:
        alone.delenv(PLACE, raising=False)
        yield


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return points_dataset(tmp_path_factory.mktemp("points") / "dataset")


@pytest.fixture
def project() -> Callable[..., Project]:
    """A project on the points; `model` and `train` settings are added to it."""

    def make(model: dict[str, Any] | None = None, **train: Any) -> Project:
        settings = {"epochs": 4, "batch_size": 40, "learning_rate": 0.02, "device": "cpu", **train}
        return parse(
            {"name": "points", "task": "points_task:PointsTask", "data": {"source": "x"}, "model": model or {}, "train": settings},
            base_dir=HERE,
        )

    return make


def pytest_configure() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
