"""A gate: a step's decision with its evidence. A refusal is a result, not an error."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from sluice import files

Decision = Literal["pass", "refuse", "inconclusive"]

#: The steps of the training pipeline, in its order.
STEPS = ("validate_data", "preprocess", "train", "export_onnx", "evaluate", "register", "rollout")

#: Tasks of a run on a cluster beside its steps: what tells the run's outcome, and what fails where a refusal is to fail the run.
REPORT, REFUSAL = "report", "refusal"


@dataclasses.dataclass(frozen=True)
class Gate:
    """What a step decided and why.

    Attributes:
        step: the step's name (``validate_data``).
        decision: ``pass``, ``refuse`` or ``inconclusive``.
        reasons: sentences for a person; never empty on a refusal.
        evidence: plain JSON values the report renders.
        seconds: the step's own working time.
    """

    step: str
    decision: Decision
    reasons: tuple[str, ...] = ()
    evidence: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def write(self, path: Path) -> None:
        files.write_json(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> Gate:
        raw = files.read_json(path)
        return cls(step=raw["step"], decision=raw["decision"], reasons=tuple(raw["reasons"]),
                   evidence=raw["evidence"], seconds=raw["seconds"])  # fmt: skip


def read_gates(root: Path) -> list[Gate]:
    """The gates of a local run's folder of artifacts, in pipeline order."""
    found = {p.parent.name.replace("-", "_"): Gate.read(p) for p in root.glob("*/*/gate")}
    return [found[step] for step in STEPS if step in found]


def brief(evidence: Mapping[str, Any], limit: int = 8192) -> dict[str, Any]:
    """Evidence short enough for a line of a log: what is longer than `limit` bytes of JSON is cut down inside, or left out."""
    kept: dict[str, Any] = {}
    for key, value in evidence.items():
        if len(files.canonical_json(value)) <= limit:
            kept[key] = value
        elif isinstance(value, Mapping):
            kept[key] = brief(value, limit // 4)
    return kept
