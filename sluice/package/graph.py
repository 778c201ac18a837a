"""ONNX graphs as bytes that depend on nothing but the model: normal form, limits, checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import onnx
from google.protobuf.message import DecodeError, EncodeError

from sluice.core.datatypes import TABLE, TensorSpec
from sluice.core.errors import PackageError

#: What every runtime of the last years reads; QDQ and all operators up to opset 23 fit it.
IR_VERSION = 10

#: A node whose name begins so is computed in 32 bits in every format.
EXACT = "exact."
#: Where torch's exporter writes the modules a node comes from.
_SCOPES = "pkg.torch.onnx.name_scopes"

_ELEMENTS = {d.name: d.onnx for d in TABLE if d.packaged}


def normalise(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without anything that differs between two exports of one model.

    Documentation, metadata, stack traces and inferred shapes go; values get numbers in the order they
    are made, constants in the order they are used, nodes their operator's name and number (and `EXACT` before it). Names of
    parameters stay, and so do those of inputs and outputs.

    Raises:
        PackageError: local functions that cannot be written out.
    """
    out = onnx.ModelProto()
    out.CopyFrom(model)
    if out.functions:
        from onnx import inliner

        out = inliner.inline_local_functions(out)
    out.producer_name, out.producer_version, out.domain, out.doc_string, out.model_version = "sluice", "", "", "", 0
    out.ir_version = IR_VERSION
    del out.metadata_props[:]
    used = {n.domain for g in _graphs(out.graph) for n in g.node} | {""}
    opsets = sorted((o.domain, o.version) for o in out.opset_import if o.domain in used)
    del out.opset_import[:]
    out.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in opsets)
    out.graph.name = "model"
    names = _new_names(out.graph)
    for graph in _graphs(out.graph):
        _strip(graph, names)
    return out


def keep_exact(model: onnx.ModelProto, module: str, *operators: str) -> None:
    """Mark the nodes that torch traced inside a module (an attribute's name) as `EXACT`, in place: no format makes them coarser.

    Args:
        operators: only nodes of these; none named: all.
    """
    for node in model.graph.node:
        if operators and node.op_type not in operators:
            continue
        scopes = next((p.value for p in node.metadata_props if p.key == _SCOPES), "")
        if any(module in scope.split(".") for scope in re.findall(r"'([^']*)'", scopes)):
            node.name = f"{EXACT}{node.name}"


def exact_nodes(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes marked so."""
    return [node.name for node in model.graph.node if node.name.startswith(EXACT)]


def name_inputs(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Give inputs of the graph other names, in place; whatever had one of these inside the graph gives way.

    Args:
        names: an input's name -> its new one.
    """
    there = {n for g in _graphs(model.graph) for node in g.node for n in (*node.input, *node.output)}
    there |= {t.name for g in _graphs(model.graph) for t in (*g.initializer, *g.input, *g.output)}
    new = dict(names)
    for name in set(names.values()) & (there - set(names)):
        other = f"{name}__inner"
        while other in there or other in new.values():
            other += "_"
        new[name] = other
    for graph in _graphs(model.graph):
        for node in graph.node:
            node.input[:] = [new.get(n, n) for n in node.input]
            node.output[:] = [new.get(n, n) for n in node.output]
        for named in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
            named.name = new.get(named.name, named.name)


def to_bytes(model: onnx.ModelProto) -> bytes:
    """The graph's bytes: equal graphs give equal bytes. Raises `PackageError` above protobuf's 2 GiB."""
    try:
        return model.SerializeToString(deterministic=True)
    except (ValueError, EncodeError) as e:
        raise PackageError(
            f"cannot be written as one ONNX file: {e}", field="model.onnx", fix="ONNX without external data holds up to 2 GiB"
        ) from e


def check(data: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> onnx.ModelProto:
    """Parse a graph and run the ONNX checker, with full shape inference, on it.

    Raises:
        PackageError: not ONNX, not valid, weights outside the file, or other inputs or outputs than those given.
    """
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as e:
        raise PackageError(f"is not an ONNX model: {e}", field="model.onnx") from e
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in _tensors(model)):
        raise PackageError("keeps weights outside the file", field="model.onnx", fix="export with external_data=False")
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as e:  # ValidationError and InferenceError share no base but Exception
        raise PackageError(f"is not valid ONNX: {e}", field="model.onnx") from e
    for what, specs, found in (("input", inputs, model.graph.input), ("output", outputs, model.graph.output)):
        names = [v.name for v in found]
        if names != [t.name for t in specs]:
            raise PackageError(
                f"has other {what}s than declared", field="model.onnx", value=names, fix=f"name them {[t.name for t in specs]}"
            )
        for spec, value in zip(specs, found, strict=True):
            _check_value(what, spec, value)
    return model


def _check_value(what: str, spec: TensorSpec, value: onnx.ValueInfoProto) -> None:
    kind = value.type.tensor_type
    if kind.elem_type != _ELEMENTS[spec.datatype]:
        raise PackageError(
            f"{what} {spec.name} is not {spec.datatype}", field="model.onnx", value=onnx.TensorProto.DataType.Name(kind.elem_type)
        )
    sizes = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
    if len(sizes) != len(spec.shape) or any(want != size for want, size in zip(spec.shape, sizes, strict=True)):
        raise PackageError(
            f"{what} {spec.name} does not have shape {list(spec.shape)}",
            field="model.onnx",
            value=sizes,
            fix="a size of 2 or more in the example keeps an axis free",
        )


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for a in node.attribute:
            for inner in ([a.g] if a.HasField("g") else []) + list(a.graphs):
                yield from _graphs(inner)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for graph in _graphs(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for a in node.attribute:
                yield from ([a.t] if a.HasField("t") else [])
                yield from a.tensors


def _new_names(graph: onnx.GraphProto) -> dict[str, str]:
    """Old name -> new one for all values but the graph's inputs and outputs and its parameters (their names hold a dot)."""
    kept = {v.name for v in [*graph.input, *graph.output]} | {""}
    constants = {t.name for g in _graphs(graph) for t in g.initializer}
    kept |= {n for n in constants if "." in n}
    names: dict[str, str] = {}
    counts = {"c": 0, "t": 0}

    def rename(old: str) -> None:
        if old in kept or old in names:
            return
        letter = "c" if old in constants else "t"
        while (new := f"{letter}{counts[letter]}") in kept:
            counts[letter] += 1
        counts[letter] += 1
        names[old] = new

    def walk(g: onnx.GraphProto) -> None:
        for v in g.input:
            rename(v.name)
        for node in g.node:
            for name in node.input:
                rename(name)
            for a in node.attribute:
                for inner in ([a.g] if a.HasField("g") else []) + list(a.graphs):
                    walk(inner)
            for name in node.output:
                rename(name)
        for v in g.output:
            rename(v.name)

    walk(graph)
    return names


def _strip(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    graph.doc_string = ""
    del graph.value_info[:]
    del graph.metadata_props[:]
    del graph.quantization_annotation[:]
    counts: dict[str, int] = {}
    for node in graph.node:
        counts[node.op_type] = counts.get(node.op_type, -1) + 1
        mark = EXACT if node.name.startswith(EXACT) else ""
        node.name, node.doc_string = f"{mark}{node.op_type}_{counts[node.op_type]}", ""
        del node.metadata_props[:]
        node.input[:] = [names.get(n, n) for n in node.input]
        node.output[:] = [names.get(n, n) for n in node.output]
    used = {n for g in _graphs(graph) for node in g.node for n in node.input} | {v.name for v in graph.output}
    kept = sorted((t for t in graph.initializer if names.get(t.name, t.name) in used), key=lambda t: names.get(t.name, t.name))
    copies = [onnx.TensorProto.FromString(t.SerializeToString()) for t in kept]
    del graph.initializer[:]
    for t in copies:
        t.name, t.doc_string = names.get(t.name, t.name), ""
        del t.metadata_props[:]
    graph.initializer.extend(copies)
    for v in [*graph.input, *graph.output]:
        v.name, v.doc_string = names.get(v.name, v.name), ""
        del v.metadata_props[:]


def axis_name(t: TensorSpec, axis: int) -> str:
    """What a free axis of a tensor is called in the graph: the same name is the same size."""
    if axis == 0:
        return "batch"
    return "length" if t.name in ("input_ids", "attention_mask") else f"{t.name}_{axis}"


def name_axes(model: onnx.ModelProto, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> onnx.ModelProto:
    """Name the free axes of the graph's ends as declared, where the exporter left symbols of its own; in place."""
    for specs, values in ((inputs, model.graph.input), (outputs, model.graph.output)):
        by_name = {t.name: t for t in specs}
        for value in values:
            spec = by_name.get(value.name)
            sizes = value.type.tensor_type.shape.dim
            if spec is not None and len(spec.shape) == len(sizes):
                for axis, dim in enumerate(sizes):
                    if spec.shape[axis] == -1 and not dim.HasField("dim_value"):
                        dim.dim_param = axis_name(spec, axis)
    return model
