"""TorchScript, run by PyTorch on the CPU. torch is imported when a model is opened, so a server without it says what it lacks."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import PackageError
from sluice.engines.base import Engine
from sluice.fields.tensor import NUMPY

#: Beside the code and the weights: names, types and shapes of what it takes and gives, as JSON.
SPECS = "sluice.json"
#: Operators that read or write files.
_OUTSIDE = frozenset({"aten::save", "aten::from_file"})


class TorchScriptEngine(Engine):
    """A module that `sluice.learners.torch.script` wrote."""

    def __init__(self, module: Any, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]):
        self._module, self.inputs, self.outputs = module, inputs, outputs

    @classmethod
    def open(cls, model: Path | bytes, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> TorchScriptEngine:
        """As `Engine.open`; there are no options, and threads are those of the process. Raises `PackageError`, also without torch."""
        where = "model.ts" if isinstance(model, bytes) else str(model)
        if options:
            raise PackageError("has no options", field="engine.options", value=sorted(options))
        try:
            import torch
        except ImportError as e:
            fix = "pip install 'sluice-ml[train]' where it is served, or export another format"
            raise PackageError("needs torch, which is not installed here", field=where, fix=fix) from e
        extra = {SPECS: ""}
        try:
            module = torch.jit.load(io.BytesIO(model) if isinstance(model, bytes) else str(model), map_location="cpu", _extra_files=extra)
        except Exception as e:  # RuntimeError, or what the archive's reader raises
            raise PackageError(f"torch cannot load it: {e}", field=where, fix="export the model again") from e
        if found := sorted(_OUTSIDE & _kinds(module.inlined_graph)):
            raise PackageError("reads or writes files, which no model here does", field=where, value=found, fix="export the model again")
        return cls(module.eval(), *_specs(extra[SPECS], where))

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As `Engine.run`. Raises torch's errors on wrong arrays."""
        import torch

        given = [torch.from_numpy(np.array(arrays[t.name], NUMPY[t.datatype])) for t in self.inputs]
        with torch.inference_mode():
            answer = self._module(*given)
        return {self.outputs[0].name: answer.numpy()}


def _kinds(graph: Any) -> set[str]:
    found: set[str] = set()
    waiting = [graph]
    while waiting:
        for node in waiting.pop().nodes():
            found.add(node.kind())
            waiting += node.blocks()
    return found


def _specs(told: str | bytes, where: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    import orjson

    try:
        found = orjson.loads(told)
        both = [tuple(TensorSpec(t["name"], t["datatype"], tuple(t["shape"])) for t in found[side]) for side in ("inputs", "outputs")]
    except (ValueError, KeyError, TypeError) as e:
        raise PackageError("does not say what it takes and gives", field=where, fix="export the model again") from e
    return both[0], both[1]
