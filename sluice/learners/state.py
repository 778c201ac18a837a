"""What was fitted to the training rows before the model is, in memory and as ``state.json``."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.core import files
from sluice.core.errors import DataError

if TYPE_CHECKING:
    from sluice.core.datatypes import TensorSpec
    from sluice.fields import Processor
    from sluice.problems.problem import Problem

#: What `State.save` calls its own file; a processor's side files lie beside it.
STATE = "state.json"
_FORMAT = "sluice.state/v1"


@dataclasses.dataclass(frozen=True)
class State:
    """Everything fitted to the training rows before the model is.

    Attributes:
        objective: the name of the problem.
        labels: class names in the order of the model's outputs; empty for regression.
        preprocess: the processor's specification, the package's ``preprocess``.
        files: the processor's side files by name, e.g. ``tokenizer.json``.
        extra: what else the learner fitted; plain JSON values.
    """

    objective: str
    labels: list[str]
    preprocess: dict[str, Any]
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def processor(self) -> Processor:
        """The pre-processing, loaded once. Raises `PackageError`: the specification is of another version."""
        from sluice.fields import load_processor

        return load_processor(self.preprocess, self.files)

    @property
    def problem(self) -> Problem:
        """What an answer is and how it is judged. Raises `ProjectError` where it is a class of the user's own that cannot be found."""
        from sluice.problems.problem import problem

        return problem(self.objective, field="objective")

    @property
    def output(self) -> TensorSpec:
        """The graph's output: ``probabilities`` FP32 [-1, labels], or ``value`` FP32 [-1]."""
        from sluice.core.datatypes import TensorSpec

        return TensorSpec(self.problem.output, self.problem.datatype, (-1, *self.problem.width(self.labels)))

    @property
    def outputs(self) -> list[TensorSpec]:
        """All of the graph's outputs, `output` first."""
        return [self.output, *self.problem.further]

    def save(self, root: Path) -> None:
        """Write ``state.json`` and the side files into an existing directory."""
        for name, data in self.files.items():
            files.write_bytes(root / name, data)
        files.write_json(
            root / STATE,
            {
                "format": _FORMAT,
                "objective": self.objective,
                "labels": self.labels,
                "preprocess": self.preprocess,
                "files": sorted(self.files),
                "extra": self.extra,
            },
        )

    @classmethod
    def load(cls, root: Path) -> State:
        """Read what `save` wrote.

        Raises:
            DataError: missing, unreadable, or not a state this version reads.
        """
        where = root / STATE
        try:
            raw = files.read_json(where)
            if raw["format"] != _FORMAT:
                raise DataError(f"format is not {_FORMAT}", field=str(where), value=raw["format"], fix="train again with this version")
            side = {name: (root / name).read_bytes() for name in raw["files"]}
            return cls(raw["objective"], raw["labels"], raw["preprocess"], side, raw["extra"])
        except OSError as e:
            raise DataError(
                f"cannot be read: {e.strerror or e}", field=str(e.filename or where), fix="name a directory that `train` wrote"
            ) from e
        except (ValueError, KeyError, TypeError) as e:
            raise DataError(f"is not a fitted state: {type(e).__name__}: {e}", field=str(where), fix="train again") from e
