"""What a step's checks are given."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from sluice.data.dataset import Dataset
    from sluice.formats.export import ExportResult
    from sluice.gates.theirs import Theirs
    from sluice.package.package import Package
    from sluice.problems.units import Units
    from sluice.project import Project


@dataclasses.dataclass(frozen=True)
class Judged:
    """What `evaluate` knows of a model.

    Attributes:
        project: the settings.
        dataset: its rows; ``test`` are the held-out ones.
        package: the model as it will be served.
        outputs: its answers to the held-out rows: probabilities [rows, labels], or values [rows].
        targets: the truth: indices into the package's labels int64 [rows], -1 for one that is not among them; or values float64 [rows].
        positive: the label that metrics of one label are of; None where there is none.
        units: which held-out rows belong together; None: each stands alone.
        evaluation: of `sluice.problems.evaluator.evaluate`: every metric with its interval, slices, confusion and so on.
        champion: the package in production; None where there is none to compare with.
        champion_note: which it is, or why there is none.
        anchor: the best champion so far; None where there is none beside the champion.
        anchor_note: which it is and since when.
        compared_before: comparisons on the same held-out rows before this one (`sluice.gates.ledger.Ledger.before`).
        kept: a folder where answers that cost something are kept by digest; None: nowhere.
        refused_before: candidates refused in a row against the anchor (`sluice.gates.ledger.Ledger.refused`).
        decline: what all candidates against the anchor show together (`sluice.gates.ledger.Ledger.decline`).
    """

    project: Project
    dataset: Dataset
    package: Package
    outputs: np.ndarray
    targets: np.ndarray
    positive: str | None
    units: Units | None
    evaluation: dict[str, Any]
    champion: Package | None = None
    champion_note: str = ""
    anchor: Package | None = None
    anchor_note: str = ""
    compared_before: float = 0.0
    refused_before: int = 0
    decline: float = 0.0
    kept: Path | None = None

    @functools.cached_property
    def theirs(self) -> Theirs | str:
        """The champion's answers to the same rows, asked for once; or why there are none."""
        from sluice.gates.theirs import theirs

        return theirs(self)

    @property
    def labels(self) -> list[str]:
        """Of the model; empty where an answer is a value."""
        return list(self.package.labels)


@dataclasses.dataclass(frozen=True)
class Exported:
    """What `export_onnx` knows of a model.

    Attributes:
        project: the settings.
        dataset: what it was trained on.
        model: the folder that `train` left.
        result: the package, or none, and every format with what was measured of it.
    """

    project: Project
    dataset: Dataset
    model: Path
    result: ExportResult

    @property
    def package(self) -> Package | None:
        """The sealed package; None where no format may be packaged."""
        return self.result.package
