"""Kubeflow Pipelines as it was recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sluice.kfp.client import Api
from sluice.kfp.connection import connect
from tests.unit.cluster.replays import serving


@pytest.fixture
def replay() -> Iterator[Callable[[dict[str, Any]], Api]]:
    """Starts to answer from a recording, and gives the client for it; changes of the recording show at once."""
    with serving() as (url, kept):

        def start(recording: dict[str, Any]) -> Api:
            kept.update(recording)
            return Api(dataclasses.replace(connect(url), ui="http://kubeflow.example"), tries=1)

        yield start
