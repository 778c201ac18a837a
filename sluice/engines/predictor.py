"""A package run in this process: raw rows in, the model's numbers out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import InputError, PackageError
from sluice.fields import Processor, load_processor
from sluice.fields.base import Example
from sluice.package import onnxfile
from sluice.package.package import Package
from sluice.problems import decision

if TYPE_CHECKING:
    import onnxruntime

#: Rows encoded at a time: bounds memory, and is what lengths are sorted over.
_WINDOW = 4096


def session(model: Path | bytes, threads: int = 1, *, int8_transformer: bool = False) -> onnxruntime.InferenceSession:
    """The one place ONNX Runtime is set up: CPU, `threads` for one operator, operators one after another.

    Args:
        model: the ONNX file or its bytes; weights outside it are not looked for when bytes are given.
        threads: intra-operator threads, at least 1.
        int8_transformer: leave out the SkipLayerNormFusion optimiser, whose fused kernel is slower
            than the plain ones between int8 matrix products.

    Raises:
        PackageError: ONNX Runtime cannot load the graph.
    """
    import onnxruntime as ort

    if threads < 1:
        raise PackageError("must be at least 1", field="threads", value=threads)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    try:
        return ort.InferenceSession(
            source, options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"] if int8_transformer else None
        )
    except Exception as e:  # the binding's exceptions have no common base but Exception
        where = "model.onnx" if isinstance(model, bytes) else str(model)
        raise PackageError(f"ONNX Runtime cannot load it: {e}", field=where, fix="export the model again") from e


def package_session(package: Package, threads: int = 1) -> onnxruntime.InferenceSession:
    """`session` for a package, its inputs and outputs checked against ``model.json``. Raises `PackageError`."""
    opened = session(package.model, threads, int8_transformer=package.precision == "int8" and package.preprocess.get("kind") == "text")
    for what, declared, found in (("inputs", package.inputs, opened.get_inputs()), ("outputs", package.outputs, opened.get_outputs())):
        names = [t.name for t in found]
        if names != [t.name for t in declared]:
            raise PackageError(
                f"graph's {what} are not those of model.json",
                field=str(package.model),
                value=names,
                fix=f"model.json says {[t.name for t in declared]}",
            )
    return opened


class Predictor:
    """A package, ready to predict.

    Args:
        package: a verified package.
        threads: ONNX Runtime threads.

    Raises:
        PackageError: the package's pre-processing or graph cannot be loaded, or is not safe to load.
    """

    def __init__(self, package: Package, threads: int = 1):
        self.package = package
        self.processor = load_processor(package.preprocess, package.root)
        onnxfile.check(package.model)
        self._session = package_session(package, threads)
        self._outputs = [t.name for t in package.outputs]

    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The graph on a batch of its own input tensors. Raises ONNX Runtime's errors on wrong tensors."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(tensors)), strict=True))

    def predict(self, rows: Sequence[Any], batch_size: int = 64) -> np.ndarray:
        """Probabilities [rows, labels], or values [rows], in the order of `rows`.

        Rows of like length share a batch, so little of it is padding.

        Raises:
            InputError: a row cannot be used; its `field` counts from the first of `rows`.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not len(rows):
            return np.empty((0, len(self.package.labels)) if self.package.labels else (0,), dtype=np.float32)
        return predict_rows(self._session, self.processor, rows, batch_size)

    def codes(self, probabilities: np.ndarray) -> np.ndarray:
        """What the package answers for `predict`'s probabilities: indices into its labels, int64 [rows]."""
        return decision.codes(probabilities, self.package.labels, self.package.rule)


def predict_rows(opened: onnxruntime.InferenceSession, processor: Processor, rows: Sequence[Any], batch_size: int = 64) -> np.ndarray:
    """A graph's first output for raw rows, in their order, encoded some thousands at a time. `rows` is not empty.

    Raises:
        InputError: as `Predictor.predict`.
    """
    parts = []
    for start in range(0, len(rows), _WINDOW):
        try:
            examples = processor.encode(rows[start : start + _WINDOW])
        except InputError as e:
            raise _moved(e, start) from e
        parts.append(run_examples(opened, processor, examples, batch_size))
    return np.concatenate(parts)


def run_examples(opened: onnxruntime.InferenceSession, processor: Processor, examples: Sequence[Example], batch_size: int) -> np.ndarray:
    """A graph's first output for encoded rows, in their order; rows of like length share a batch. `examples` is not empty."""
    name = opened.get_outputs()[0].name
    order = np.argsort([processor.length(x) for x in examples], kind="stable")
    answer = np.concatenate(
        [
            opened.run([name], processor.batch([examples[i] for i in order[at : at + batch_size]]))[0]
            for at in range(0, len(order), batch_size)
        ]
    )
    out = np.empty_like(answer)
    out[order] = answer
    return out


def _moved(e: InputError, start: int) -> InputError:
    """The same error with its row counted from the first of all rows."""
    field = re.sub(r"^rows\[(\d+)\]", lambda m: f"rows[{int(m[1]) + start}]", e.field or "rows")
    return InputError(e.message, field=field, fix=e.fix, **({"value": e.value} if e.has_value else {}))
