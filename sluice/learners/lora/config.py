"""How a model is tuned."""

from __future__ import annotations

from pydantic import Field

from sluice.core.section import Section


class LoraConfig(Section):
    """LoRA: Hu et al., Low-Rank Adaptation of Large Language Models (ICLR 2022)."""

    epochs: int = Field(3, ge=1, le=1000)
    rank: int = Field(8, ge=1, le=256, description="of each adapter")
    alpha: int = Field(16, ge=1, le=1024, description="adapters are scaled by alpha / rank")
    learning_rate: float = Field(2e-4, gt=0, le=1)
    batch_size: int = Field(4, ge=1, le=256)
    max_length: int = Field(
        512, ge=16, le=8192, description="tokens of an item; longer ones are refused, since a cut answer teaches a cut one"
    )
    validation: float = Field(0.1, ge=0, lt=0.5, description="share of the items that choose the epoch")
    seed: int = Field(17, ge=0)
