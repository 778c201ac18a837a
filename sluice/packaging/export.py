"""From a trained model to a package: ONNX, int8, parity with PyTorch, the smallest format within the loss budget."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from sluice import evaluation, files
from sluice.errors import SluiceError, first_line
from sluice.gates import Decision
from sluice.packaging import graph as graphs
from sluice.packaging import package as packages
from sluice.packaging.package import Package, TensorSpec
from sluice.packaging.parity import HeldOut, Parity, measure, scale_of
from sluice.packaging.predictor import predict_rows, session
from sluice.packaging.processors import Processor
from sluice.packaging.processors.base import Example
from sluice.packaging.provenance import code_digest, libraries
from sluice.packaging.quantise import quantise
from sluice.packaging.rows import rows_from_arrow, spread
from sluice.packaging.scoring import answers, held_out_split, targets_of

if TYPE_CHECKING:
    import onnxruntime
    import torch

    from sluice.data.dataset import Dataset
    from sluice.project import Project
    from sluice.tasks.base import State, Task

_BATCH = 16
_CALIBRATION_BATCH = 8


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What the export step decided.

    Attributes:
        package: the sealed package; None on a refusal.
        decision: ``pass`` or ``refuse``.
        reasons: sentences.
        evidence: ``formats`` [{format, bytes, ok, why, and the fields of `Parity`}], ``chosen`` (null on a refusal), ``rows``.
    """

    package: Package | None
    decision: Decision
    reasons: tuple[str, ...]
    evidence: dict[str, Any]


def export_package(project: Project, model_dir: Path, dataset: Dataset, out: Path, *, base_dir: Path | None = None) -> ExportResult:
    """Export a trained model and seal the smallest format that loses no more than ``export.max_loss``.

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
    from sluice.training.fit import load_trained

    task, state, module = load_trained(project, model_dir, base_dir)
    serving = task.serving_module(module, state).eval()
    processor = task.processor(state)
    specs = list(processor.inputs), [output_spec(state)]
    held = held_out(task, state, serving, dataset, project.export.parity_rows)
    fp32 = export_graph(task, state, serving, project.export.opset, *specs)
    measured = [_try("fp32", fp32, held, project)]
    if "int8" in project.export.formats:
        measured.append(_try_int8(fp32, held, project, processor, dataset, specs))
    faithful = measured[0].ok
    wanted = [f for f in measured if f.name in project.export.formats]
    fit = sorted((f for f in wanted if f.ok), key=lambda f: (len(f.data), f.name)) if faithful else []
    chosen = fit[0] if fit else None
    evidence = {"formats": [f.evidence() for f in measured if f.name in project.export.formats or not f.ok],
                "chosen": chosen.name if chosen else None, "rows": len(held.examples)}  # fmt: skip
    if chosen is None:
        return ExportResult(None, "refuse", tuple(f.why for f in measured if not f.ok), evidence)
    package = _seal(project, task, state, dataset, held_out_metrics(chosen.open(processor), processor, state, dataset), out, chosen, specs, held)
    return ExportResult(package, "pass", (_sentence(chosen, measured, state.objective), *(f.why for f in measured if not f.ok)), evidence)


@dataclasses.dataclass(frozen=True)
class _Format:
    name: str
    data: bytes
    parity: Parity | None = None
    ok: bool = False
    why: str = ""

    def open(self, processor: Processor) -> onnxruntime.InferenceSession:
        """The graph as the server opens it."""
        return session(self.data, int8_transformer=self.name == "int8" and processor.kind == "text")

    def evidence(self) -> dict[str, Any]:
        return {"format": self.name, "bytes": len(self.data) or None, "ok": self.ok, "why": self.why} | (self.parity.to_dict() if self.parity else {})


def output_spec(state: State) -> TensorSpec:
    """``probabilities`` FP32 [-1, labels], or ``value`` FP32 [-1]."""
    if state.objective == "classification":
        return TensorSpec("probabilities", "FP32", (-1, len(state.labels)))
    return TensorSpec("value", "FP32", (-1,))


def export_graph(task: Task, state: State, serving: torch.nn.Module, opset: int, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bytes:
    """The fp32 ONNX graph of a serving module, in normal form, with free batch and free axes.

    Raises:
        SluiceError: torch cannot export it, or what came out is not the declared graph.
    """
    import torch

    example = task.example(state)
    free = {t.name: {axis: _axis_name(t, axis) for axis, n in enumerate(t.shape) if n == -1} for t in inputs}
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
                Positional().eval(), tuple(example.values()), dynamo=True, opset_version=opset, input_names=names,
                output_names=[t.name for t in outputs], dynamic_shapes=(tuple(free.get(n, {0: "batch"}) for n in names),),
                external_data=False, verbose=False,
            )  # fmt: skip
    except Exception as e:  # torch.onnx raises a family of its own, torch.export several more
        raise SluiceError(f"torch cannot export the model to ONNX: {type(e).__name__}: {first_line(e)}", field="export",
                          fix="the serving module must be traceable: no branches on values, no Python state") from e  # fmt: skip
    finally:
        exporter.setLevel(level)
    if program is None:
        raise SluiceError("torch exported nothing", field="export")
    model = _freed(task.finish_graph(program.model_proto, state), inputs, outputs)
    data = graphs.to_bytes(graphs.normalise(model))
    graphs.check(data, inputs, outputs)
    return data


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
    examples = processor.encode(rows_from_arrow(state.preprocess, table))
    return HeldOut(processor, examples, targets_of(table.column("label"), state.labels), state.labels, _torch_answers(task, state, serving, processor, examples))


def held_out_metrics(opened: onnxruntime.InferenceSession, processor: Processor, state: State, dataset: Dataset) -> dict[str, float | None]:
    """Every metric of a graph on all held-out rows: the numbers `evaluate` finds of the package it is sealed in.

    Raises:
        DataError: there are no held-out rows.
        SluiceError: the answers are not finite.
    """
    split = held_out_split(dataset)
    outputs = answers(lambda rows: predict_rows(opened, processor, rows), state.preprocess, dataset, split)
    return evaluation.values(outputs, targets_of(dataset.read(split, ["label"]).column("label"), state.labels), state.labels)


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


def _try(name: str, data: bytes, held: HeldOut, project: Project) -> _Format:
    made, rows = _Format(name, data), len(held.examples)
    parity = measure(made.open(held.processor), held, project.evaluate, project.export.max_loss)
    limit = project.export.tolerance * scale_of(held.reference)
    metric = project.evaluate.metric or ("accuracy" if held.labels else "rmse")
    why = ""
    if name == "fp32" and parity.max_abs_diff > limit:
        why = (f"the fp32 graph does not answer as PyTorch does: the largest difference on {rows} held-out rows is {parity.max_abs_diff:.3g}, "
               f"export.tolerance allows {limit:.3g}")  # fmt: skip
    elif parity.loss is None:
        why = "" if name == "fp32" else f"{metric} is undefined on the held-out rows, so {name} cannot be shown to lose little of it"
    elif not parity.within:
        why = f"{name} loses {parity.loss:.4g} of {metric} on {rows} held-out rows, export.max_loss allows {parity.allowed:.4g}"
    return dataclasses.replace(made, parity=parity, ok=not why, why=why)


def _try_int8(fp32: bytes, held: HeldOut, project: Project, processor: Processor, dataset: Dataset,
              specs: tuple[list[TensorSpec], list[TensorSpec]]) -> _Format:  # fmt: skip
    try:
        made = quantise(onnx.load_model_from_string(fp32), _calibration(processor, dataset, project.export.calibration_rows))
    except SluiceError as e:
        return _Format("int8", b"", None, False, f"there is no int8: {e.message}")
    if made is None:
        return _Format("int8", b"", None, False, "there is no int8: the graph has no matrix product or convolution with weights")
    data = graphs.to_bytes(graphs.normalise(made))
    graphs.check(data, *specs)
    return _try("int8", data, held, project)


def _calibration(processor: Processor, dataset: Dataset, rows: int) -> list[dict[str, np.ndarray]]:
    """Batches of like length of training rows, evenly spaced over the split."""
    examples = sorted(processor.encode(rows_from_arrow(processor.spec(), spread(dataset, "train", rows))), key=processor.length)
    return [processor.batch(examples[at : at + _CALIBRATION_BATCH]) for at in range(0, len(examples), _CALIBRATION_BATCH)]


def _seal(project: Project, task: Task, state: State, dataset: Dataset, metrics: dict[str, float | None], out: Path, chosen: _Format,
          specs: tuple[list[TensorSpec], list[TensorSpec]], held: HeldOut) -> Package:  # fmt: skip
    provenance = {
        "code": code_digest(type(task)), "config": project.digest, "data": dataset.digest, "seed": project.train.seed, "libraries": libraries(),
        "export": {"opset": project.export.opset, "rows": len(held.examples), **_proof(chosen)},
    }  # fmt: skip
    with files.new_dir(out) as tmp:
        files.write_bytes(tmp / packages.MODEL, chosen.data)
        for name, data in held.processor.files().items():
            files.write_bytes(tmp / name, data)
        if dataset.profile() is not None:
            files.write_bytes(tmp / packages.PROFILE, (dataset.root / packages.PROFILE).read_bytes())
        sealed = packages.write(tmp, name=project.name, task=project.task, objective=state.objective, inputs=specs[0], outputs=specs[1],
                                labels=list(state.labels), preprocess=state.preprocess, precision=chosen.name, metrics=metrics,
                                provenance=provenance)  # fmt: skip
    return packages.read(out, sealed.digest)


def _proof(chosen: _Format) -> dict[str, Any]:
    found = chosen.evidence()
    return {k: None if found[k] is None else round(found[k], 6) for k in ("agreement", "loss", "single_agreement")}


def _sentence(chosen: _Format, measured: Sequence[_Format], objective: str) -> str:
    found, whole = chosen.evidence(), len(measured[0].data)
    smaller = f", {whole / len(chosen.data):.1f} times smaller than fp32" if len(chosen.data) < whole else ""
    loss = "" if found["loss"] is None else f", loss {found['loss']:.4g} of {found['allowed']:.4g} allowed"
    as_torch = (f"{found['agreement']:.2%} of held-out labels as PyTorch's" if objective == "classification"
                else f"values at most {found['max_abs_diff']:.3g} from PyTorch's")  # fmt: skip
    return f"{chosen.name}: {len(chosen.data):,} bytes{smaller}, {as_torch}{loss}"
