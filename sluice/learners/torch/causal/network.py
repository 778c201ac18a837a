"""What the torch learner is told of a causal language model that learns through adapters."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.core.datatypes import EngineSpec
from sluice.core.errors import DataError, MissingExtra
from sluice.learners.base import Shipped
from sluice.learners.state import State
from sluice.learners.torch.causal import base, written
from sluice.learners.torch.network import Network
from sluice.tasks.base import settings
from sluice.tasks.finetune import FinetuneModel

if TYPE_CHECKING:
    import torch

    from sluice.data.dataset import Dataset
    from sluice.learners.torch.plan import Defaults, Plan

#: Fewer items than these teach nothing.
_LEAST = 4


class CausalNetwork(Network):
    """A base of transformers with adapters of peft; what is exported are its own files, and no graph."""

    @property
    def base(self) -> Path:
        """Where the base lies. Raises `ProjectError`."""
        name = settings(self.task, FinetuneModel).pretrained
        return base.located(name, self.task.resolve(name))

    def fit(self, dataset: Dataset) -> State:
        """The base's tokenizer and chat template, and the digest of its weights."""
        try:
            import peft  # noqa: F401
        except ImportError as e:
            raise MissingExtra("tuning needs peft and torch", field="task", fix="pip install 'sluice-ml[llm,train]'") from e
        processor = base.processor_of(self.base, settings(self.task, FinetuneModel).max_length)
        return State(dataset.objective, [], processor.spec(), processor.files(), {"base": base.digest_of(self.base)})

    def preload(self, state: State) -> None:
        """The libraries."""
        import peft  # noqa: F401
        import transformers  # noqa: F401

    def build(self, state: State) -> torch.nn.Module:
        """The base with adapters that change nothing yet."""
        from sluice.learners.torch.causal.model import Adapted

        return Adapted(base.model_of(self.base), settings(self.task, FinetuneModel))

    def adapt(self, model: torch.nn.Module, state: State, rows: Any) -> bool:
        """It is a model already: kept where no epoch is better."""
        return True

    def defaults(self, state: State, rows: int) -> Defaults:
        """A few epochs at a falling rate. Raises `DataError`: too few items."""
        from sluice.learners.torch.plan import Defaults

        if rows < _LEAST:
            raise DataError(
                "holds too few items to learn from", field="data.source", value=rows, fix="four at least; some hundreds are better"
            )
        return Defaults(batch_size=4, learning_rate=2e-4, weight_decay=0.0, schedule="linear", epochs=3)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, train: Plan) -> torch.Tensor:
        """The mean of the rows' losses."""
        return outputs.float().mean()

    def shipped(self, model: torch.nn.Module, state: State, record: dict[str, Any]) -> Shipped:
        """``adapter/``, ``model/`` (merged) and ``tuned.json``, as `written.write` has them."""
        with tempfile.TemporaryDirectory() as tmp:
            out = Path(tmp) / "tuned"
            told = written.write(self.task, model, state, record, out)
            found = {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
        text = f"adapters of {told['trained']:,} weights merged into a base of {told['parameters']:,}"
        return Shipped("safetensors", EngineSpec("causal"), found | state.processor.files(), {"base": told["base"]}, text)
