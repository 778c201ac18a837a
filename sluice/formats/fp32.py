"""The graph as it was exported."""

from __future__ import annotations

from sluice.formats.base import BASE, Artifact, Calibration, Format


class Fp32(Format):
    """Weights and activations of 32 bits: what the other formats are made from and measured against."""

    name, of = BASE, ""

    def make(self, graph: bytes, calibration: Calibration) -> Artifact:
        """The graph itself."""
        return Artifact(graph)
