"""Of an answer that is an array the log of predictions keeps the one number a row that its problem says is watched."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import pytest

from serving.runtime.logs.predictions import FRAME, Predictions, encoded
from serving.runtime.metrics import Metrics, Page
from sluice.problems.problem import problem


def test_the_log_keeps_what_is_watched_and_not_the_first_part(monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[bytes] = []
    monkeypatch.setattr(Predictions, "_put", lambda self, head, rest, size: frames.append(encoded(head, rest)))
    model = SimpleNamespace(
        name="m",
        version="v",
        kind="tensor",
        labels=["a", "b", "c"],
        records=None,
        arrays=problem("multilabel"),
        outputs=["probabilities"],
        sensitive=frozenset(),
    )
    outputs = {"probabilities": np.array([[0.9, 0.8, 0.1], [0.1, 0.2, 0.3]], dtype=np.float32)}
    call = SimpleNamespace(
        served=SimpleNamespace(model=model),
        raw={"x": np.zeros((2, 1))},
        outputs=outputs,
        best=None,
        request_id=lambda: "r",
        trace=None,
        told=(),
    )
    log = Predictions(b"nowhere", 1.0, Metrics(Page()))
    log.record(cast(Any, call))
    log.close()
    assert orjson.loads(frames[0][FRAME.size :])["value"] == [2.0, 0.0]
