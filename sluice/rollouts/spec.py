"""`rollout:` in the project file, and what the decision core is given."""

from __future__ import annotations

from pydantic import Field

from sluice.config import Section


class RolloutSpec(Section):
    """How a new model is let into traffic."""

    steps: list[int] = Field([10, 50], min_length=1, description="per cent of traffic, rising")
    minimum_requests: int = Field(300, ge=1)
    latency_slo_ms: float = Field(200, gt=0)
