"""A package run in this process: raw rows in, the model's numbers out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sluice.core.errors import InputError
from sluice.engines.base import Engine, open_package
from sluice.fields import Processor, load_processor
from sluice.fields.base import Example
from sluice.package import onnxfile
from sluice.package.package import Package
from sluice.problems import decision
from sluice.problems.problem import problem

#: Rows encoded at a time: bounds memory, and is what lengths are sorted over.
_WINDOW = 4096


class Predictor:
    """A package, ready to predict.

    Args:
        package: a verified package.
        threads: of the engine.

    Raises:
        PackageError: the package's pre-processing or graph cannot be loaded, or is not safe to load.
    """

    def __init__(self, package: Package, threads: int = 1):
        self.package = package
        self.processor = load_processor(package.preprocess, package.root)
        if package.graph:
            onnxfile.check(package.model)
        self._engine = open_package(package, threads)

    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The graph on a batch of its own input tensors. Raises the engine's errors on wrong tensors."""
        return self._engine.run(tensors)

    def predict(self, rows: Sequence[Any], batch_size: int = 64) -> np.ndarray:
        """Probabilities [rows, labels], or values [rows], in the order of `rows`.

        Rows of like length share a batch, so little of it is padding.

        Raises:
            InputError: a row cannot be used; its `field` counts from the first of `rows`.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not len(rows):
            return np.empty((0, *problem(self.package.objective).width(self.package.labels)), dtype=np.float32)
        return predict_rows(self._engine, self.processor, rows, batch_size)

    def codes(self, probabilities: np.ndarray) -> np.ndarray:
        """What the package answers for `predict`'s probabilities: indices into its labels, int64 [rows]."""
        return decision.codes(probabilities, self.package.labels, self.package.rule)


def predict_rows(engine: Engine, processor: Processor, rows: Sequence[Any], batch_size: int = 64) -> np.ndarray:
    """A graph's first output for raw rows, in their order, encoded some thousands at a time. `rows` is not empty.

    Raises:
        InputError: as `Predictor.predict`.
    """
    parts = []
    for start in range(0, len(rows), _WINDOW):
        window = rows[start : start + _WINDOW]
        try:
            told = processor.encode_batch(window) if processor.alike else processor.encode(window)
        except InputError as e:
            raise _moved(e, start) from e
        parts.append(
            _run_stretches(engine, told, batch_size) if isinstance(told, dict) else run_examples(engine, processor, told, batch_size)
        )
    return np.concatenate(parts)


def _run_stretches(engine: Engine, tensors: Mapping[str, np.ndarray], batch_size: int) -> np.ndarray:
    """`run_examples` of rows that are alike: the same batches, which no example is taken out of and put into again."""
    name, rows = engine.outputs[0].name, len(next(iter(tensors.values())))
    return np.concatenate([engine.run(_stretch(tensors, at, batch_size))[name] for at in range(0, rows, batch_size)])


def _stretch(tensors: Mapping[str, np.ndarray], at: int, rows: int) -> dict[str, np.ndarray]:
    return {name: values[at : at + rows] for name, values in tensors.items()}


def run_examples(engine: Engine, processor: Processor, examples: Sequence[Example], batch_size: int) -> np.ndarray:
    """A graph's first output for encoded rows, in their order; rows of like length share a batch. `examples` is not empty."""
    name = engine.outputs[0].name
    order = np.argsort([processor.length(x) for x in examples], kind="stable")
    answer = np.concatenate(
        [engine.run(processor.batch([examples[i] for i in order[at : at + batch_size]]))[name] for at in range(0, len(order), batch_size)]
    )
    out = np.empty_like(answer)
    out[order] = answer
    return out


def _moved(e: InputError, start: int) -> InputError:
    """The same error with its row counted from the first of all rows."""
    field = re.sub(r"^rows\[(\d+)\]", lambda m: f"rows[{int(m[1]) + start}]", e.field or "rows")
    return InputError(e.message, field=field, fix=e.fix, **({"value": e.value} if e.has_value else {}))
