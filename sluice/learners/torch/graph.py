"""A trained network as an ONNX graph: written by itself, or traced by torch."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from sluice.core.errors import SluiceError, first_line
from sluice.package import graph as graphs

if TYPE_CHECKING:
    import onnx

    from sluice.learners.state import State
    from sluice.learners.torch.network import Network


def network_graph(network: Network, state: State, serving: torch.nn.Module, opset: int) -> onnx.ModelProto:
    """The fp32 graph of a serving module, from the package's input tensors to its one output.

    Args:
        network, state: of the model.
        serving: as `Network.serving_module` gave it.
        opset: of ai.onnx.

    Raises:
        SluiceError: torch cannot export it.
    """
    example = network.example(state)
    plain = {f"input_{i}__": name for i, name in enumerate(example)}  # a column may be called as a layer or its weights are
    output = state.output.name
    graph = network.graph(serving, state, {name: new for new, name in plain.items()}, output, opset)
    if graph is None:
        axes = {t.name: {axis: graphs.axis_name(t, axis) for axis, n in enumerate(t.shape) if n == -1} for t in state.processor.inputs}
        free = tuple(axes.get(name, {0: "batch"}) for name in example)
        graph = traced(serving, example, list(plain), free, output, opset)
    graphs.name_inputs(graph, plain)
    return network.finish_graph(graph, state)


def traced(
    serving: torch.nn.Module, example: Mapping[str, torch.Tensor], names: list[str], free: tuple[Any, ...], output: str, opset: int
) -> onnx.ModelProto:
    """What torch exports.

    Args:
        serving: the module.
        example: its arguments.
        names: what they are called in the graph, in their order.
        free: of each argument {axis: its name} of the free axes.
        output: what the output is called.
        opset: of ai.onnx.

    Raises:
        SluiceError: it cannot be traced.
    """
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    try:
        exporter.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                Positional(serving, list(example)).eval(),
                tuple(example.values()),
                dynamo=True,
                opset_version=opset,
                input_names=names,
                output_names=[output],
                dynamic_shapes=(free,),
                external_data=False,
                verbose=False,
            )
    except Exception as e:  # torch.onnx raises a family of its own, torch.export several more
        raise SluiceError(
            f"torch cannot export the model to ONNX: {type(e).__name__}: {first_line(e)}",
            field="export",
            fix="the serving module must be traceable: no branches on values, no Python state",
        ) from e
    finally:
        exporter.setLevel(level)
    if program is None:
        raise SluiceError("torch exported nothing", field="export")
    found: onnx.ModelProto = program.model_proto
    return found


class Positional(torch.nn.Module):
    """The exporter names inputs by position."""

    def __init__(self, serving: torch.nn.Module, names: list[str]) -> None:
        super().__init__()
        self.serving, self.names = serving, names

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.serving(**dict(zip(self.names, tensors, strict=True)))
        return answer


def preload() -> None:
    """Import what torch imports only once it traces (3 s), and trace nothing; what of it a later torch calls otherwise is left to it."""
    for name in (
        "torch.onnx._internal.exporter._core",
        "torch.export._trace",
        "torch._inductor.fx_passes.post_grad",
        "onnxscript.function_libs.torch_lib.ops",
        "onnxscript.rewriter.onnx_fusions",
        "sympy.combinatorics",
        "sympy.tensor.tensor",
    ):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
