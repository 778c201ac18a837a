"""The network as TorchScript, for what runs models in PyTorch or its C++ library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.core.datatypes import EngineSpec
from sluice.core.errors import SluiceError
from sluice.formats.base import Artifact, Calibration, Format

if TYPE_CHECKING:
    from sluice.formats.config import ExportConfig
    from sluice.learners.base import Trained


class TorchScript(Format):
    """The network traced by `torch.jit`, as one file that needs no Python class. Serving it needs torch, which the runtime's image has not.

    Args:
        trained: the model; without one there is none.
    """

    name = "torchscript"
    engine = EngineSpec("torch_jit")
    file = "model.ts"
    smaller = False

    def __init__(self, trained: Trained | None = None):
        self.trained = trained

    def about(self, export: ExportConfig, trained: Trained | None) -> TorchScript:
        """Of that model."""
        return TorchScript(trained)

    def make(self, graph: bytes, calibration: Calibration) -> Artifact:
        """Of the model itself, not of its graph. Raises `SluiceError`: it is no network that can be traced."""
        if self.trained is None:
            raise SluiceError("no trained model is at hand, and a graph cannot be made into TorchScript")
        return Artifact(self.trained.script())
