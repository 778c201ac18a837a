"""The evaluation's checks on what was measured, together."""

from __future__ import annotations

from typing import Any

from sluice.core.check import worst
from sluice.gates import bar, champion, floor, slices
from sluice.gates.config import EvaluateConfig


def decide(
    evaluation: dict[str, Any], comparison: dict[str, Any] | None, config: EvaluateConfig, compared: dict[str, Any] | None = None
) -> tuple[str, list[str]]:
    """The step's decision and its reasons; `compared` of `floor.judge`, null: not looked at."""
    found = [bar.decide(evaluation, config), slices.decide(evaluation, config)]
    found += [floor.decide(compared, config)] if compared else []
    whole = worst([*found, champion.decide(comparison, config)])
    return whole.decision, list(whole.reasons)
