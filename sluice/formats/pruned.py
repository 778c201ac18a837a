"""A network with fewer hidden channels: those that add least left out, what reads them fitted back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import onnx
from onnx import numpy_helper

from sluice.core.datatypes import EngineSpec
from sluice.engines.base import Engine, open_engine
from sluice.formats.base import Artifact, Calibration, Format
from sluice.formats.channels import Layer, layers
from sluice.package.graph import to_bytes

if TYPE_CHECKING:
    from sluice.formats.config import ExportConfig
    from sluice.learners.base import Trained

#: Of the mean variance, so that channels that always move together can be told apart.
_RIDGE = 1e-4


class Pruned(Format):
    """Structured pruning of the graph itself, so of whatever learnt it, and with any engine the smaller graph is the faster one.

    Of each layer whose channels one other layer alone reads, through functions of single numbers and pools, those are kept one after another
    that have the largest magnitude: the standard deviation of a channel over training rows, as far as those kept before do not explain it, times
    the norm of the weights that read it. `share` of them go. What reads them is fitted back, layer by layer: each channel of the whole
    graph is taken for the linear mix of the kept ones, as the smaller graph makes them, that comes nearest over these rows (least squares, as
    He, Zhang, Sun, Channel pruning for accelerating very deep neural networks, ICCV 2017, refit a layer), which goes into the reader's weights and
    bias. No step of gradients is taken, so no learner need be there, and equal rows give equal bytes.

    Args:
        share: of the channels of each layer.
    """

    name = "pruned"
    budgeted: ClassVar[str] = "export.prune.max_loss"

    def __init__(self, share: float = 0.3):
        self.share = share

    def about(self, export: ExportConfig, trained: Trained | None) -> Pruned:
        """As ``export.prune`` says."""
        return Pruned(export.prune.share)

    def budget(self, export: ExportConfig) -> float:
        """``export.prune.max_loss``, else that of all formats."""
        return export.max_loss if export.prune.max_loss is None else export.prune.max_loss

    def make(self, graph: bytes, calibration: Calibration) -> Artifact:
        """As `Format.make`. Raises `SluiceError` where ONNX Runtime cannot run it."""
        model = onnx.load_model_from_string(graph)
        found = [layer for layer in layers(model) if self._kept(layer.channels) < layer.channels]
        if not found:
            return Artifact(why="no layer's channels are read by one other layer alone")
        batches, small = calibration(), _shown(model, found)
        whole = _opened(small)
        for layer in found:
            # What is read now, with all that went before it, against what was read of the whole graph.
            weights = {t.name: numpy_helper.to_array(t) for t in small.graph.initializer}
            self._cut(layer, weights, *_moments(layer, whole, _opened(small), batches))
            for tensor in small.graph.initializer:
                tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
        del small.graph.output[len(model.graph.output) :]
        return Artifact(to_bytes(small))

    def _kept(self, channels: int) -> int:
        return max(1, channels - int(self.share * channels))

    def _cut(self, layer: Layer, weights: dict[str, np.ndarray], means: np.ndarray, covariance: np.ndarray) -> None:
        """One layer smaller, in `weights`; of the channels as they are now and, behind them, as they were."""
        n = layer.channels
        reads = layer.reads(weights).astype(np.float64)  # [channels, numbers that read each]
        kept = _largest(covariance[n:, n:], (reads**2).sum(1), self._kept(n))
        of = covariance[np.ix_(kept, kept)]
        ridge = _RIDGE * max(float(np.trace(of)) / len(kept), 1e-12)
        # Towards the channels themselves: what rows do not tell stays as it was.
        same = np.eye(n)[kept]
        mix = same + np.linalg.solve(of + ridge * np.eye(len(kept)), covariance[kept][:, n:] - of @ same)
        layer.cut(weights, kept, mix, means[n:] - means[:n][kept] @ mix)


def _shown(model: onnx.ModelProto, found: list[Layer]) -> onnx.ModelProto:
    """The graph with what is read of each layer as further outputs."""
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    names = dict.fromkeys(layer.value for layer in found)
    seen.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    return seen


def _opened(model: onnx.ModelProto) -> Engine:
    return open_engine(EngineSpec("onnxruntime"), to_bytes(model))


def _largest(covariance: np.ndarray, weight: np.ndarray, kept: int) -> np.ndarray:
    """The channels to keep, in their order: Cholesky's factors with the largest weighted rest as the next pivot."""
    rest, chosen = covariance.copy(), np.zeros(len(weight), bool)
    for _ in range(kept):
        at = int(np.where(chosen, -1.0, np.diag(rest) * weight).argmax())
        chosen[at] = True
        rest -= np.outer(rest[:, at], rest[at]) / max(float(rest[at, at]), 1e-12)
    return np.flatnonzero(chosen)


def _moments(layer: Layer, whole: Engine, small: Engine, batches: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Means and covariance of what is read of a layer now and, behind that, of what was read of it, over all places of all rows; about 0 where no bias can take a mean."""
    n = 2 * layer.channels
    rows, first, second = 0, np.zeros(n), np.zeros((n, n))
    for batch in batches:
        both = [layer.places(engine.run(batch)[layer.value]).astype(np.float64) for engine in (small, whole)]
        x = np.concatenate(both, axis=1)
        rows, first, second = rows + len(x), first + x.sum(0), second + x.T @ x
    mean = first / max(rows, 1) if layer.bias else np.zeros(n)
    return mean, second / max(rows, 1) - np.outer(mean, mean)
