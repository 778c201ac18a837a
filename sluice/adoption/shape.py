"""Any graph as the graph of a package: named inputs with a free batch, and one output, ``probabilities`` or ``value``."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

from sluice.core.datatypes import TABLE, TensorSpec
from sluice.core.errors import ProjectError
from sluice.package import graph as graphs

_NAMES = {d.onnx: d.name for d in TABLE if d.packaged}
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


@dataclasses.dataclass(frozen=True)
class Shaped:
    """A package's graph.

    Attributes:
        width: columns of ``probabilities``; 0 for ``value``.
        answer: what the output that was chosen is called in the original graph.
    """

    graph: onnx.ModelProto
    inputs: list[TensorSpec]
    output: TensorSpec
    width: int
    answer: str


def shaped(
    graph: onnx.ModelProto, classifies: bool, *, labels: int | None = None, output: str | None = None, softmax: bool = False
) -> Shaped:
    """A copy that takes and gives what a package's graph does.

    Args:
        graph: any graph.
        classifies: whether its answer are probabilities [rows, labels], or values [rows].
        labels: how many there are, where that is known.
        output: which of its outputs is the answer; None: the last that can be.
        softmax: its answer are logits.

    Raises:
        ProjectError: no output is of that form, an input has no free batch or an unknown type; `field` names it.
    """
    out = onnx.ModelProto()
    out.CopyFrom(graph)
    constants = {t.name for t in out.graph.initializer}
    for value in [v for v in out.graph.input if v.name in constants]:
        out.graph.input.remove(value)
    inputs = [_input(v) for v in out.graph.input]
    answer = _chosen(out, classifies, labels, output)
    width = _width(answer, labels) if classifies else 0
    chosen = answer.name
    _end(out, answer, classifies, softmax, width)
    name = "probabilities" if classifies else "value"
    spec = TensorSpec(name, "FP32", (-1, width) if classifies else (-1,))
    _free_batch(out)
    return Shaped(graphs.name_axes(graphs.normalise(out), inputs, [spec]), inputs, spec, width, chosen)


def unzip(model: onnx.ModelProto) -> tuple[str, ...] | None:
    """Take scikit-learn's list of dictionaries from the end of a graph, in place: its probabilities become an output.

    Returns:
        The labels it wrote into the dictionaries; None where the graph ends in no such list.
    """
    ends = {v.name: v for v in model.graph.output}
    for node in list(model.graph.node):
        if node.op_type != "ZipMap" or node.output[0] not in ends:
            continue
        said = {a.name: a for a in node.attribute}
        texts = [t.decode() for t in said["classlabels_strings"].strings] if "classlabels_strings" in said else []
        labels = tuple(texts or [str(i) for i in said["classlabels_int64s"].ints])
        model.graph.node.remove(node)
        model.graph.output.remove(ends[node.output[0]])
        model.graph.output.append(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, ["batch", len(labels)]))
        return labels
    return None


def joined(model: onnx.ModelProto, columns: Sequence[str]) -> onnx.ModelProto:
    """A graph of one matrix of numbers as one that takes a column [rows, 1] each, in this order."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    whole, matrix = out.graph.input[0].name, "matrix"
    while matrix in columns:
        matrix += "_"
    # what is called as a column inside the graph gives way
    graphs.name_inputs(out, {whole: matrix, **{f"{i} is no input": c for i, c in enumerate(columns)}})
    del out.graph.input[:]
    out.graph.input.extend(helper.make_tensor_value_info(c, TensorProto.FLOAT, ["batch", 1]) for c in columns)
    out.graph.node.insert(0, helper.make_node("Concat", list(columns), [matrix], axis=1))
    return out


def _input(value: onnx.ValueInfoProto) -> TensorSpec:
    kind = value.type.tensor_type
    where = f"input {value.name}"
    if kind.elem_type not in _NAMES:
        raise ProjectError("is of a type that no package takes", field=where, value=TensorProto.DataType.Name(kind.elem_type))
    sizes = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
    if not sizes:
        raise ProjectError("has no batch: it is one number", field=where)
    if -1 in sizes[1:]:
        raise ProjectError(
            "has a free axis behind the batch", field=where, value=sizes, fix="export it with every axis but the first one fixed"
        )
    return TensorSpec(value.name, _NAMES[kind.elem_type], (-1, *sizes[1:]))


def _chosen(model: onnx.ModelProto, classifies: bool, labels: int | None, name: str | None) -> onnx.ValueInfoProto:
    """The output that is the answer."""
    there = ", ".join(f"{v.name} {_sizes(v)}" for v in model.graph.output)
    for value in reversed(model.graph.output):
        if name not in (None, value.name):
            continue
        sizes, floats = _sizes(value), value.type.tensor_type.elem_type in _FLOATS
        good = len(sizes) == 2 and (labels is None or sizes[1] in (-1, labels)) if classifies else _values(sizes)
        if floats and good:
            return value
    what = f"[rows, {labels or 'labels'}] of probabilities" if classifies else "[rows] or [rows, 1] of values"
    raise ProjectError(
        f"has no output {what}" if name is None else f"is no output {what}",
        field="--output-tensor",
        value=name,
        fix=f"its outputs: {there}; --problem classification or regression",
    )


def _values(sizes: list[int]) -> bool:
    return len(sizes) == 1 or (len(sizes) == 2 and sizes[1] == 1)


def _width(value: onnx.ValueInfoProto, labels: int | None) -> int:
    width = _sizes(value)[1]
    if width == -1 and labels is None:
        raise ProjectError("does not say how many labels it tells apart", field=f"output {value.name}", fix="--labels a,b,c")
    return labels if labels is not None else width


def _sizes(value: onnx.ValueInfoProto) -> list[int]:
    return [d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim]


def _end(model: onnx.ModelProto, answer: onnx.ValueInfoProto, classifies: bool, softmax: bool, width: int) -> None:
    """Put the answer, and nothing else, at the graph's end, under a package's name."""
    graph, at = model.graph, answer.name
    name = "probabilities" if classifies else "value"
    there = (
        {n for node in graph.node for n in (*node.input, *node.output)}
        | {t.name for t in graph.initializer}
        | {v.name for v in graph.input}
    )
    fresh = (f"adopted_{i}" for i in itertools.count() if f"adopted_{i}" not in there)

    def add(op: str, *inputs: str, output: str = "", **attributes: int) -> str:
        made = output or next(fresh)
        graph.node.append(helper.make_node(op, list(inputs), [made], **attributes))
        return made

    if name in there:  # what had the name inside the graph gives way
        other = next(fresh)
        for node in graph.node:
            node.input[:] = [other if n == name else n for n in node.input]
            node.output[:] = [other if n == name else n for n in node.output]
        for tensor in graph.initializer:
            tensor.name = other if tensor.name == name else tensor.name
        at = other if at == name else at
        for value in graph.input:
            if value.name == name:
                raise ProjectError("is the name of a package's output", field=f"input {name}", fix="export it with another name")
    if answer.type.tensor_type.elem_type != TensorProto.FLOAT:
        at = add("Cast", at, to=TensorProto.FLOAT)
    if softmax and classifies:
        at = add("Softmax", at, axis=1)
    if classifies:
        add("Identity", at, output=name)
    else:
        shape = next(fresh)
        graph.initializer.append(helper.make_tensor(shape, TensorProto.INT64, [1], [-1]))
        add("Reshape", at, shape, output=name)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width] if classifies else ["batch"]))
    del graph.value_info[:]


def _free_batch(model: onnx.ModelProto) -> None:
    """A batch that is fixed in the file, mostly at 1, is free in a package: a graph that cannot take it is found by the proof."""
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
