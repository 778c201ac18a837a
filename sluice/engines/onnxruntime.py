"""ONNX Runtime on the CPU: the one place it is set up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sluice.core.datatypes import TABLE, TensorSpec
from sluice.core.errors import PackageError
from sluice.engines.base import Engine

_DATATYPES = {d.ort: d.name for d in TABLE}


class OnnxRuntime(Engine):
    """A graph in ONNX Runtime: CPU, operators one after another, all optimisations.

    Its one option is ``disabled_optimizers``: names of graph optimisers to leave out.
    """

    def __init__(self, session: Any, where: str):
        self.inputs, self.outputs = _specs(session.get_inputs(), where), _specs(session.get_outputs(), where)
        self._names = [t.name for t in self.outputs]
        self._run = session.run

    @classmethod
    def open(cls, model: Path | bytes, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> OnnxRuntime:
        """As `Engine.open`. Raises `PackageError`, also for a tensor of a type that cannot be sent."""
        import onnxruntime as ort

        if threads < 1:
            raise PackageError("must be at least 1", field="threads", value=threads)
        disabled = _disabled(options or {})
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        settings.log_severity_level = 3
        where = "model.onnx" if isinstance(model, bytes) else str(model)
        source = model if isinstance(model, bytes) else str(model)
        try:
            session = ort.InferenceSession(source, settings, providers=["CPUExecutionProvider"], disabled_optimizers=disabled)
        except Exception as e:  # the binding's exceptions have no common base but Exception
            raise PackageError(f"ONNX Runtime cannot load it: {e}", field=where, fix="export the model again") from e
        return cls(session, where)

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As `Engine.run`. Raises ONNX Runtime's errors on wrong arrays."""
        return dict(zip(self._names, self._run(self._names, arrays), strict=True))


def _disabled(options: Mapping[str, Any]) -> list[str] | None:
    for name in options:
        if name != "disabled_optimizers":
            raise PackageError(
                "is no option of onnxruntime", field=f"engine.options.{name}", value=options[name], fix="disabled_optimizers"
            )
    found = options.get("disabled_optimizers", [])
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise PackageError("must be a list of names", field="engine.options.disabled_optimizers", value=found)
    return list(found) or None


def _specs(found: Sequence[Any], where: str) -> tuple[TensorSpec, ...]:
    specs = []
    for a in found:
        if a.type not in _DATATYPES:
            raise PackageError("has a tensor of a type that cannot be sent", field=f"{where}: {a.name}", value=a.type)
        specs.append(TensorSpec(a.name, _DATATYPES[a.type], tuple(n if isinstance(n, int) else -1 for n in a.shape)))
    return tuple(specs)
