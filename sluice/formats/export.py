"""From a trained model to a package: ONNX, parity with PyTorch, the smallest format within the budget, sealed with its own metrics."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from sluice.core import files
from sluice.core.errors import SluiceError, first_line
from sluice.core.gate import Decision
from sluice.engines.predictor import predict_rows
from sluice.engines.rows import rows_from_arrow, spread
from sluice.engines.scoring import answers, decide_threshold, held_out_split, positive_label, targets_of
from sluice.fields import Processor
from sluice.fields.base import Example
from sluice.formats import selection
from sluice.formats.parity import HeldOut
from sluice.formats.selection import Format
from sluice.package import graph as graphs
from sluice.package import package as packages
from sluice.package.package import Package, TensorSpec
from sluice.package.provenance import code_digest, libraries
from sluice.problems import evaluator
from sluice.problems.decision import Rule
from sluice.problems.threshold import Choice

if TYPE_CHECKING:
    import onnxruntime
    import torch

    from sluice.data.dataset import Dataset
    from sluice.project import Project
    from sluice.tasks.base import State, Task

_BATCH = 16


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What the export step decided.

    Attributes:
        package: the sealed package; None on a refusal.
        decision: ``pass`` or ``refuse``.
        reasons: sentences.
        evidence: ``formats`` (`Format.evidence`), ``chosen`` (null on a refusal), ``rows``, and, where ``evaluate.decision``
            is set, ``decision`` (see `threshold.Choice`).
    """

    package: Package | None
    decision: Decision
    reasons: tuple[str, ...]
    evidence: dict[str, Any]


def export_package(project: Project, model_dir: Path, dataset: Dataset, out: Path, *, base_dir: Path | None = None) -> ExportResult:
    """Export a trained model and seal the smallest format that pays, and loses and moves no more than ``export`` allows.

    The fp32 graph is always made and has to answer as PyTorch does, within ``export.tolerance``: what
    failed there would be a fault of the export, so nothing is packaged. The package's ``metrics`` are those of
    the format that is sealed, on all held-out rows. Equal inputs give equal bytes.

    Args:
        project: the project.
        model_dir: what `fit` wrote.
        dataset: what it was trained on.
        out: the package's directory; it appears whole, or not at all on a refusal.
        base_dir: the project file's folder, where a task of the user's own may lie.

    Raises:
        DataError: no held-out rows, or the model directory cannot be read.
        SluiceError: the model cannot be exported.
    """
    from sluice.learners.torch.fit import load_trained

    task, state, module = load_trained(project, model_dir, base_dir)
    serving = task.serving_module(module, state).eval()
    processor = task.processor(state)
    specs = list(processor.inputs), [output_spec(state)]
    held = held_out(task, state, serving, dataset, project.export.parity_rows)
    fp32 = export_graph(task, state, serving, project.export.opset, *specs)
    choice = _choice(Format("fp32", fp32), processor, state, dataset, project)
    positive = positive_label(project.evaluate, dataset)
    held = dataclasses.replace(held, rule=choice.rule if choice else None, positive=positive)
    found = selection.measured(fp32, held, project, processor, dataset, specs)
    chosen = selection.choose(found, project.export)
    evidence = {
        "formats": [f.evidence() for f in found if f.name in project.export.formats or not f.ok],
        "chosen": chosen.name if chosen else None,
        "rows": len(held.examples),
    }
    if chosen is None:
        return ExportResult(None, "refuse", tuple(f.why for f in found if not f.ok), evidence)
    if choice is not None and chosen.name != "fp32":
        choice = _choice(chosen, processor, state, dataset, project)
    rule = choice.rule if choice else None
    metrics = held_out_metrics(chosen.open(processor), processor, state, dataset, rule, positive)
    package = _seal(project, task, state, dataset, metrics, rule, out, chosen, specs, held)
    said = (selection.sentence(chosen, found, held), *([choice.text] if choice else []), *(f.why for f in found if not f.ok))
    return ExportResult(package, "pass", said, evidence | ({"decision": {**choice.evidence, "text": choice.text}} if choice else {}))


def _choice(made: Format, processor: Processor, state: State, dataset: Dataset, project: Project) -> Choice | None:
    """The threshold by a format's own answers on the validation rows."""
    opened = made.open(processor)
    return decide_threshold(lambda rows: predict_rows(opened, processor, rows), state.preprocess, dataset, state.labels, project.evaluate)


def output_spec(state: State) -> TensorSpec:
    """``probabilities`` FP32 [-1, labels], or ``value`` FP32 [-1]."""
    if state.objective == "classification":
        return TensorSpec("probabilities", "FP32", (-1, len(state.labels)))
    return TensorSpec("value", "FP32", (-1,))


def export_graph(
    task: Task, state: State, serving: torch.nn.Module, opset: int, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> bytes:
    """The fp32 ONNX graph of a serving module, in normal form, with free batch and free axes.

    Raises:
        SluiceError: torch cannot export it, or what came out is not the declared graph.
    """
    example = task.example(state)
    free = {t.name: {axis: _axis_name(t, axis) for axis, n in enumerate(t.shape) if n == -1} for t in inputs}
    names = list(example)
    plain = {f"input_{i}__": name for i, name in enumerate(names)}  # a column may be called as a layer or its weights are

    exported = task.graph(serving, state, {name: new for new, name in plain.items()}, outputs[0].name, opset)
    if exported is None:
        exported = _traced(serving, example, plain, tuple(free.get(n, {0: "batch"}) for n in names), outputs, opset)
    graphs.name_inputs(exported, plain)
    model = _freed(task.finish_graph(exported, state), inputs, outputs)
    data = graphs.to_bytes(graphs.normalise(model))
    graphs.check(data, inputs, outputs)
    return data


def _traced(
    serving: torch.nn.Module,
    example: Mapping[str, torch.Tensor],
    plain: Mapping[str, str],
    free: tuple[Any, ...],
    outputs: Sequence[TensorSpec],
    opset: int,
) -> onnx.ModelProto:
    """What torch exports."""
    import torch

    names = list(example)

    class Positional(torch.nn.Module):
        """The exporter names inputs by position."""

        def __init__(self) -> None:
            super().__init__()
            self.serving = serving

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.serving(**dict(zip(names, tensors, strict=True)))
            return answer

    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    try:
        exporter.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                Positional().eval(),
                tuple(example.values()),
                dynamo=True,
                opset_version=opset,
                input_names=list(plain),
                output_names=[t.name for t in outputs],
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
    traced: onnx.ModelProto = program.model_proto
    return traced


def _axis_name(t: TensorSpec, axis: int) -> str:
    if axis == 0:
        return "batch"
    return "length" if t.name in ("input_ids", "attention_mask") else f"{t.name}_{axis}"


def _freed(model: onnx.ModelProto, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> onnx.ModelProto:
    """Name the free axes of the graph's ends as declared, where the exporter left symbols of its own."""
    for specs, values in ((inputs, model.graph.input), (outputs, model.graph.output)):
        by_name = {t.name: t for t in specs}
        for value in values:
            spec = by_name.get(value.name)
            sizes = value.type.tensor_type.shape.dim
            if spec is not None and len(spec.shape) == len(sizes):
                for axis, dim in enumerate(sizes):
                    if spec.shape[axis] == -1 and not dim.HasField("dim_value"):
                        dim.dim_param = _axis_name(spec, axis)
    return model


def held_out(task: Task, state: State, serving: torch.nn.Module, dataset: Dataset, rows: int) -> HeldOut:
    """Up to `rows` rows, evenly spaced over the test split (validation where there is none), with PyTorch's answers.

    Raises:
        DataError: there are no such rows.
    """
    table = spread(dataset, held_out_split(dataset), rows)
    processor = task.processor(state)
    raw = rows_from_arrow(state.preprocess, table)
    examples = processor.encode(raw)
    return HeldOut(
        processor,
        examples,
        targets_of(table.column("label"), state.labels),
        state.labels,
        _torch_answers(task, state, serving, processor, examples),
        raw,
        table.column("row_id").to_pylist(),
    )


def held_out_metrics(
    opened: onnxruntime.InferenceSession, processor: Processor, state: State, dataset: Dataset, rule: Rule | None, positive: str | None
) -> dict[str, float | None]:
    """Every metric of a graph on all held-out rows: the numbers `evaluate` finds of the package it is sealed in.

    Raises:
        DataError: there are no held-out rows.
        SluiceError: the answers are not finite.
    """
    split = held_out_split(dataset)
    outputs = answers(lambda rows: predict_rows(opened, processor, rows), state.preprocess, dataset, split)
    return evaluator.values(
        outputs, targets_of(dataset.read(split, ["label"]).column("label"), state.labels), state.labels, rule=rule, positive=positive
    )


def _torch_answers(task: Task, state: State, serving: torch.nn.Module, processor: Processor, examples: Sequence[Example]) -> np.ndarray:
    import torch

    order = np.argsort([processor.length(x) for x in examples], kind="stable")
    parts = []
    with torch.no_grad():
        for at in range(0, len(order), _BATCH):
            batch = processor.batch([examples[i] for i in order[at : at + _BATCH]])
            parts.append(serving(**task.tensors(batch, state)).float().cpu().numpy())
    answer = np.concatenate(parts)
    out = np.empty_like(answer)
    out[order] = answer
    return out


def _seal(
    project: Project,
    task: Task,
    state: State,
    dataset: Dataset,
    metrics: dict[str, float | None],
    rule: Rule | None,
    out: Path,
    chosen: Format,
    specs: tuple[list[TensorSpec], list[TensorSpec]],
    held: HeldOut,
) -> Package:
    provenance = {
        "code": code_digest(type(task)),
        "config": project.digest,
        "data": dataset.digest,
        "seed": project.train.seed,
        "libraries": libraries(),
        "export": {"opset": project.export.opset, "rows": len(held.examples), **chosen.proof()},
    }
    with files.new_dir(out) as tmp:
        files.write_bytes(tmp / packages.MODEL, chosen.data)
        for name, data in held.processor.files().items():
            files.write_bytes(tmp / name, data)
        if dataset.profile() is not None:
            files.write_bytes(tmp / packages.PROFILE, (dataset.root / packages.PROFILE).read_bytes())
        if reading := project.data.reading():
            files.write_json(tmp / packages.READING, reading)
        sealed = packages.write(
            tmp,
            name=project.name,
            task=project.task,
            objective=state.objective,
            inputs=specs[0],
            outputs=specs[1],
            labels=list(state.labels),
            preprocess=state.preprocess,
            precision=chosen.name,
            metrics=metrics,
            provenance=provenance,
            rule=rule,
        )
    return packages.read(out, sealed.digest)
