"""A gate: a step's decision with its evidence. A refusal is a result, not an error."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from sluice import files

Decision = Literal["pass", "refuse", "inconclusive"]

#: The steps of the training pipeline, in its order.
STEPS = ("validate_data", "preprocess", "train", "evaluate", "export_onnx", "register", "rollout")


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
