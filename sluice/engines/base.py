"""What runs a graph, by name: one object for the export's proof, the champion, batch prediction and the server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sluice.core.datatypes import EngineSpec, TensorSpec
from sluice.core.errors import PackageError, ProjectError
from sluice.core.registry import Registry
from sluice.package.package import Package

#: Every engine there is by name; other distributions bring more as entry points of the group ``sluice.engines``.
ENGINES = Registry(
    "engine",
    {
        "onnxruntime": "sluice.engines.onnxruntime:OnnxRuntime",
        "torch_jit": "sluice.engines.torchscript:TorchScriptEngine",
        "prompt": "sluice.llm.engine:Prompted",
        "causal": "sluice.engines.causal:Causal",
    },
)


class Engine(ABC):
    """A graph, opened and ready to run.

    Attributes:
        inputs: the tensors it takes, as it names them itself; -1 where a size is free.
        outputs: the tensors it gives, in its own order: the first one is the answer.
        blocking: a run may take long however short the last one was (it waits for another process, a device, a network), so the
            server never runs it on its event loop. False: it computes here, and a run takes about what the last one took.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    blocking: bool = False

    @classmethod
    @abstractmethod
    def open(cls, model: Path | bytes, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> Engine:
        """A graph opened.

        Args:
            model: its file, or its bytes; weights outside it are not looked for when bytes are given.
            threads: threads of one operator, at least 1.
            options: what the graph's format says the engine needs; they may come from a package's manifest, so nothing in them is trusted.

        Raises:
            PackageError: the engine cannot load the graph, or there is no such option.
        """

    @abstractmethod
    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every output for a batch, by its name: the first axis of each array is the batch.

        May be called on several threads at a time. What the engine itself raises on wrong arrays comes through as it is.

        Args:
            arrays: one for each of `inputs`, of its datatype and shape.
        """


def open_engine(spec: EngineSpec, model: Path | bytes, threads: int = 1) -> Engine:
    """A graph opened by the engine a format or a package names. A name comes out of a file: only what is registered is imported.

    Raises:
        PackageError: there is no such engine here (the nearest is told), or it cannot load the graph.
    """
    try:
        if ":" in spec.name:
            raise ProjectError("is not the name of an engine", value=spec.name, fix="register it as an entry point of sluice.engines")
        kind = ENGINES.get(spec.name)
    except ProjectError as e:
        raise PackageError(e.message, field="engine", value=spec.name, fix=e.fix) from e
    opened: Engine = kind.open(model, threads=threads, options=spec.options)
    return opened


def open_package(package: Package, threads: int = 1) -> Engine:
    """A package's graph, its inputs and outputs checked against ``model.json``.

    Raises:
        PackageError: as `open_engine`; the graph's names are not those of the manifest.
    """
    opened = open_engine(package.engine, package.model, threads)
    for what, declared, found in (("inputs", package.inputs, opened.inputs), ("outputs", package.outputs, opened.outputs)):
        names = [t.name for t in found]
        if names != [t.name for t in declared]:
            raise PackageError(
                f"graph's {what} are not those of model.json",
                field=str(package.model),
                value=names,
                fix=f"model.json says {[t.name for t in declared]}",
            )
    return opened
