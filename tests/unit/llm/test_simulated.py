"""A prompt that is 10 points worse is refused, one as good is not: a few seeds of `tests/bench/prompts.py`."""

from __future__ import annotations

import pytest

from sluice.gates.config import EvaluateConfig
from tests.bench.prompts import refused


@pytest.mark.parametrize(("how", "least", "most"), [("some", 36, 40), ("all", 38, 40), ("equal", 0, 3), ("other", 0, 3)])
def test_how_often_a_prompt_is_refused(how: str, least: int, most: int) -> None:
    config = EvaluateConfig()
    assert least <= sum(refused(how, 1, seed, config) for seed in range(40)) <= most
