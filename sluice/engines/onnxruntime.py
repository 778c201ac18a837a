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
_OPTIONS = ("disabled_optimizers", "providers")
#: What a package may ask for beside the CPU's.
_NVIDIA = ("TensorrtExecutionProvider", "CUDAExecutionProvider")


class OnnxRuntime(Engine):
    """A graph in ONNX Runtime: CPU, operators one after another, all optimisations.

    Its options are ``disabled_optimizers``, names of graph optimisers to leave out, and ``providers``, names of NVIDIA's execution providers
    that come before the CPU's.
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
        options = _checked(options or {})
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        settings.log_severity_level = 3
        where = "model.onnx" if isinstance(model, bytes) else str(model)
        source = model if isinstance(model, bytes) else str(model)
        try:
            session = ort.InferenceSession(
                source,
                settings,
                providers=[*_providers(options, ort.get_available_providers()), "CPUExecutionProvider"],
                disabled_optimizers=options.get("disabled_optimizers") or None,
            )
        except PackageError:
            raise
        except Exception as e:  # the binding's exceptions have no common base but Exception
            raise PackageError(f"ONNX Runtime cannot load it: {e}", field=where, fix="export the model again") from e
        _took(options, session.get_providers())
        return cls(session, where)

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As `Engine.run`. Raises ONNX Runtime's errors on wrong arrays."""
        return dict(zip(self._names, self._run(self._names, arrays), strict=True))


def _checked(options: Mapping[str, Any]) -> dict[str, list[str]]:
    made = {}
    for name, found in options.items():
        if name not in _OPTIONS:
            raise PackageError("is no option of onnxruntime", field=f"engine.options.{name}", value=found, fix=", ".join(_OPTIONS))
        if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
            raise PackageError("must be a list of names", field=f"engine.options.{name}", value=found)
        made[name] = list(found)
    return made


def _providers(options: Mapping[str, list[str]], there: Sequence[str]) -> list[str]:
    """Those asked for that are here. Raises `PackageError`: not one of NVIDIA's, or the first of them is not here."""
    asked = options.get("providers", [])
    if unknown := [name for name in asked if name not in _NVIDIA]:
        raise PackageError("may name NVIDIA's alone", field="engine.options.providers", value=unknown, fix=", ".join(_NVIDIA))
    if asked and asked[0] not in there:
        raise PackageError(
            f"asks for {asked[0]}, and this ONNX Runtime has {', '.join(there)}",
            field="engine.options.providers",
            value=asked,
            fix="serve it where onnxruntime-gpu and TensorRT are installed, or export fp32",
        )
    return [name for name in asked if name in there]


def _took(options: Mapping[str, list[str]], took: Sequence[str]) -> None:
    """ONNX Runtime goes on without a provider whose libraries or card are missing; what was asked for first must be there. Raises `PackageError`."""
    asked = options.get("providers", [])
    if asked and asked[0] not in took:
        raise PackageError(
            f"asks for {asked[0]}, whose libraries or card are not here",
            field="engine.options.providers",
            value=asked,
            fix="install TensorRT beside onnxruntime-gpu, or export fp32",
        )


def _specs(found: Sequence[Any], where: str) -> tuple[TensorSpec, ...]:
    specs = []
    for a in found:
        if a.type not in _DATATYPES:
            raise PackageError("has a tensor of a type that cannot be sent", field=f"{where}: {a.name}", value=a.type)
        specs.append(TensorSpec(a.name, _DATATYPES[a.type], tuple(n if isinstance(n, int) else -1 for n in a.shape)))
    return tuple(specs)
