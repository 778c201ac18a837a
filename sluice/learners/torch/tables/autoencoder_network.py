"""The network of a table whose unusual rows are looked for: an autoencoder, and what is fitted with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sluice.core.errors import DataError, ProjectError
from sluice.learners.state import State
from sluice.learners.torch.tables.network import TableNetwork
from sluice.learners.unusual import learnt_from
from sluice.tasks.base import settings
from sluice.tasks.config import AutoencoderModel

if TYPE_CHECKING:
    import onnx
    import torch

    from sluice.learners.torch.encode import Encoded
    from sluice.learners.torch.plan import Defaults, Plan

#: Rows whose errors are looked at together, and most rows that set what is usual.
_CHUNK, _MOST = 4096, 200_000


class AutoencoderNetwork(TableNetwork):
    """Numbers, categories and missing values as `TableNetwork` has them; the loss is of the rows learnt from alone."""

    def build(self, state: State) -> torch.nn.Module:
        """An `Autoencoder` of as many columns as the state has."""
        from sluice.learners.torch.tables.autoencoder import Autoencoder

        return Autoencoder(self._model, state)

    def preload(self, state: State) -> None:
        """The network's module."""
        import sluice.learners.torch.tables.autoencoder  # noqa: F401

    def defaults(self, state: State, rows: int) -> Defaults:
        """Larger batches for more rows."""
        from sluice.learners.torch.plan import Defaults

        batch = 128 if rows < 20_000 else 256 if rows < 100_000 else 1024
        return Defaults(batch_size=batch, learning_rate=2e-3, weight_decay=0.01, schedule="constant", ema=0.99, steps=4000, patience=20)

    def adapt(self, model: torch.nn.Module, state: State, rows: Encoded) -> None:  # type: ignore[override]
        """Nothing is fitted before training, but the rows are counted.

        Raises:
            DataError: too few to learn from.
            ProjectError: classes are weighed, of which it learns none.
        """
        if self.task.project.train.class_weights is not None:
            raise ProjectError("weighs labels, which an autoencoder does not learn", field="train.class_weights", fix="remove it")
        learnt_from(np.asarray(rows.labels), self._model.rows)

    def targets(self, labels: np.ndarray, state: State) -> torch.Tensor:
        """Which rows are learnt from, as 0 and 1, FP32 [rows]."""
        import torch

        from sluice.problems.anomaly import LABELS, NORMAL

        return torch.from_numpy(((labels == LABELS.index(NORMAL)) | (self._model.rows == "all")).astype(np.float32))

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, train: Plan) -> torch.Tensor:
        """The mean error of the rows learnt from; the others count as rows without one."""
        return (outputs.float().mean(1) * targets).mean()

    def settle(self, model: torch.nn.Module, state: State, rows: Encoded) -> None:
        """What is usual, and where the threshold lies, by the rows learnt from, or an even choice of many."""
        from typing import cast

        import torch

        from sluice.learners.torch.tables.autoencoder import Autoencoder

        net = cast(Autoencoder, model)
        at = np.flatnonzero(learnt_from(np.asarray(rows.labels), self._model.rows))
        at = at[:: -(-len(at) // _MOST)]
        with torch.no_grad():
            parts = [net(**self.tensors(rows.batch(at[i : i + _CHUNK]), state)) for i in range(0, len(at), _CHUNK)]
        try:
            net.settle(torch.cat(parts), self._model.contamination)
        except ValueError as e:
            raise DataError(f"cannot be told apart: {e}", field="training rows", fix="give columns that vary") from e

    def serving_module(self, model: torch.nn.Module, state: State) -> torch.nn.Module:
        """Scores [rows, 2]."""
        from typing import cast

        from sluice.learners.torch.tables.autoencoder import Autoencoder, Scored

        return Scored(cast(Autoencoder, model)).eval()

    def graph(self, serving: torch.nn.Module, state: State, inputs: Mapping[str, str], output: str, opset: int) -> onnx.ModelProto:
        """Written node by node; see `autoencoder_graph`."""
        from typing import cast

        from sluice.learners.torch.tables.autoencoder import Scored
        from sluice.learners.torch.tables.autoencoder_graph import autoencoder_graph

        return autoencoder_graph(cast(Scored, serving).model, inputs, output, opset)

    @property
    def _model(self) -> AutoencoderModel:
        found: AutoencoderModel = settings(self.task, AutoencoderModel)
        return found
