"""The module that learns: a base with adapters, which gives each row's loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from sluice.core.imports import ONE_AT_A_TIME
from sluice.engines.causal import answer_losses, in_parts
from sluice.tasks.finetune import FinetuneModel

#: Of the names of an adapter's parameters.
ADAPTER = "lora_"


class Adapted(torch.nn.Module):
    """A causal model with low-rank adapters (Hu et al., LoRA, ICLR 2022), by peft. Its `state_dict` holds the adapters alone.

    Args:
        base: as transformers made it; its weights are left as they are.
        config: rank and scale.
    """

    def __init__(self, base: Any, config: FinetuneModel):
        super().__init__()
        with ONE_AT_A_TIME:
            import peft

        lora = peft.LoraConfig(
            r=config.rank, lora_alpha=config.alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM", use_rslora=False
        )
        self.inner = peft.get_peft_model(base, lora)

    def forward(self, input_ids: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """The mean loss of each row's answer: FP32 [rows], see `answer_losses`."""
        run = answer_losses if torch.is_grad_enabled() else in_parts
        return run(self.inner.get_base_model(), input_ids, wanted)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The adapters' tensors."""
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if ADAPTER in name}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """The adapters' tensors. Raises `RuntimeError`: others, or of other shapes."""
        if strict and (odd := sorted(set(self.state_dict()) ^ set(state_dict))):
            raise RuntimeError(f"{len(odd)} adapters are missing or too many, {odd[0]} among them")
        return super().load_state_dict(state_dict, strict=False, assign=assign)
