"""A gate: a step's decision with its evidence. A refusal is a result, not an error."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from sluice.core import files, yamlfile

Decision = Literal["pass", "refuse", "inconclusive"]
#: Bytes of JSON that one part of a gate's evidence may take where it is handed to a later step.
_HANDED = 1024

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
        """Write it as JSON."""
        files.write_json(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> Gate:
        """What `write` wrote."""
        return cls.of(files.read_json(path))

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Gate:
        """What `write` wrote, parsed."""
        return cls(
            step=raw["step"], decision=raw["decision"], reasons=tuple(raw["reasons"]), evidence=raw["evidence"], seconds=raw["seconds"]
        )


def handed(text: str) -> Gate:
    """The gate that `hand_on` wrote, without its long evidence."""
    return Gate.of(yamlfile.load(text, "a gate that was handed on"))


def hand_on(path: str) -> None:
    """Write at `path` what later steps and the dashboard get of the gate in the file of that name with ``.json`` behind it.

    It is a step's output parameter: an artifact would be one more node of the graph for each step. A parameter stands in the arguments of
    the step it is handed to (128 KiB at most) and several times in the workflow, which Kubeflow Pipelines can no longer read when it is
    larger than 1 MiB: long evidence is left out.
    """
    gate = Gate.read(Path(f"{path}.json"))
    told = dataclasses.asdict(dataclasses.replace(gate, evidence=brief(gate.evidence, _HANDED)))
    files.write_text(Path(path), yamlfile.line(told))


def brief(evidence: Mapping[str, Any], limit: int = 8192) -> dict[str, Any]:
    """Evidence short enough for a line of a log: what is longer than `limit` bytes of JSON is cut down inside, or left out."""
    kept: dict[str, Any] = {}
    for key, value in evidence.items():
        if len(files.canonical_json(value)) <= limit:
            kept[key] = value
        elif isinstance(value, Mapping):
            kept[key] = brief(value, limit // 4)
    return kept
