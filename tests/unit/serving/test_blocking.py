"""Where a run happens: a short one on the event loop, one of an engine that blocks never."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from serving.runtime.engine.queue import Engine, Unit, Work
from serving.runtime.metrics import Metrics, Page
from serving.runtime.models.model import Counters, Model, load
from tests.unit.serving import builders


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load(builders.classifier(tmp_path / "package").root, "m", None, 1, 1 << 30)


def where_it_ran(model: Model) -> str:
    """The thread that one request's run took."""
    seen: list[str] = []
    run = model.run
    model.run = lambda tensors: (seen.append(threading.current_thread().name), run(tensors))[1]  # type: ignore[method-assign]

    async def asked() -> None:
        loop, metrics = asyncio.get_running_loop(), Metrics(Page())
        engine, answered = Engine(loop, metrics, queue_limit=4, max_batch=8), loop.create_future()
        tensors = {t.name: np.ones([1, *t.shape[1:]], np.float32) for t in model.package.inputs}
        now = time.perf_counter()
        done = lambda error: answered.set_result(error)  # noqa: E731
        engine.submit(Work(model, Counters(metrics, model, 200.0), [Unit(tensors, 1)], None, done, now, now + 10))
        assert await asyncio.wait_for(answered, 10) is None
        engine.close()

    asyncio.run(asked())
    return seen[0]


def test_a_short_run_stays_on_the_event_loop(model):
    model.row_seconds = 1e-6
    assert not model.blocking
    assert where_it_ran(model) == threading.current_thread().name


def test_a_run_of_an_engine_that_blocks_leaves_the_event_loop_free_however_short_the_last_one_was(model):
    model.row_seconds, model.blocking = 1e-6, True
    assert where_it_ran(model) == "engine"


def test_a_long_run_leaves_the_event_loop_free(model):
    model.row_seconds = 1.0
    assert where_it_ran(model) == "engine"
