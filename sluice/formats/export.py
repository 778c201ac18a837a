"""From a trained model to a package: ONNX, parity with PyTorch, the smallest format within the budget, sealed with its own metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core import files
from sluice.core.datatypes import EngineSpec, TensorSpec
from sluice.core.gate import Decision
from sluice.engines.base import Engine
from sluice.engines.predictor import predict_rows
from sluice.engines.rows import rows_from_arrow, spread
from sluice.engines.scoring import answers, decide_threshold, held_out_split, judged, positive_label
from sluice.fields import Processor
from sluice.formats import selection
from sluice.formats.base import formats_of, load_format
from sluice.formats.parity import HeldOut
from sluice.formats.selection import Candidate, Job
from sluice.learners.answers import own_answers
from sluice.learners.calibrated import calibrated, effect
from sluice.package import graph as graphs
from sluice.package import package as packages
from sluice.package.package import Package
from sluice.package.provenance import code_digest, libraries
from sluice.problems import evaluator
from sluice.problems.decision import Rule
from sluice.problems.problem import problem
from sluice.problems.threshold import Choice
from sluice.tasks import load_task

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset
    from sluice.learners.base import Shipped, Trained
    from sluice.project import Project
    from sluice.tasks.base import State, Task

#: Held-out rows that trees are asked for their SHAP values on: their time grows with rows, trees and leaves.
_SHAP_ROWS = 300


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What the export step decided.

    Attributes:
        package: the sealed package; None on a refusal.
        decision: ``pass`` or ``refuse``.
        reasons: sentences.
        evidence: ``formats`` (`Candidate.evidence`), ``chosen`` (null on a refusal), ``rows``, and, where ``evaluate.decision``
            is set, ``decision`` (see `threshold.Choice`); where ``export.calibrate`` is, ``calibration`` (see `calibrated.effect`).
    """

    package: Package | None
    decision: Decision
    reasons: tuple[str, ...]
    evidence: dict[str, Any]


def export_package(project: Project, model_dir: Path, dataset: Dataset, out: Path, *, base_dir: Path | None = None) -> ExportResult:
    """Export a trained model and seal the smallest format that pays, and loses and moves no more than ``export`` allows.

    The fp32 graph is always made and has to answer as the trained model does, within ``export.tolerance``: what
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
    task = load_task(project, base_dir)
    own = task.learner().load(model_dir)
    if (shipped := own.shipped()) is not None:
        return _as_it_is(project, task, own, shipped, dataset, out)
    trained, curves = calibrated(own, dataset, project)
    state, processor = trained.state, trained.processor
    specs = list(processor.inputs), state.outputs
    held = held_out(trained, dataset, project.export.parity_rows)
    formats = formats_of(project.export.formats, base_dir)
    asked = {load_format(name, base_dir).name for name in project.export.formats}
    graph = export_graph(trained, project.export.opset)
    choice = _choice(Candidate(formats[0], graph), processor, state, dataset, project)
    positive = positive_label(project.evaluate, dataset)
    held = dataclasses.replace(held, rule=choice.rule if choice else None, positive=positive)
    found = selection.measured(graph, formats, asked, Job(held, project, dataset, specs, base_dir, trained))
    chosen = selection.choose(found)
    evidence: dict[str, Any] = {
        "formats": [f.evidence() for f in found if f.asked or not f.ok],
        "chosen": chosen.name if chosen else None,
        "rows": len(held.examples),
    }
    if chosen is None:
        return ExportResult(None, "refuse", tuple(f.why for f in found if not f.ok), evidence)
    if choice is not None and chosen is not found[0]:
        choice = _choice(chosen, processor, state, dataset, project)
    rule = choice.rule if choice else None
    metrics = held_out_metrics(chosen.open(), processor, state, dataset, rule, positive)
    gain, text = effect(own, _served(chosen, processor, state, dataset), curves, dataset, project, positive) if curves else ({}, "")
    package = _seal(project, task, trained, dataset, metrics, rule, out, chosen, specs, held)
    said = (
        selection.sentence(chosen, found, held),
        *([text] if text else []),
        *([choice.text] if choice else []),
        *(f.why for f in found if not f.ok),
    )
    evidence |= {"calibration": gain} if gain else {}
    return ExportResult(package, "pass", said, evidence | ({"decision": {**choice.evidence, "text": choice.text}} if choice else {}))


def _as_it_is(project: Project, task: Task, own: Trained, shipped: Shipped, dataset: Dataset, out: Path) -> ExportResult:
    """A model that is no graph: its own files, sealed. Nothing was measured of it yet, since answers may change from one asking to the next."""
    state = own.state
    with files.new_dir(out) as tmp:
        for name, data in shipped.files.items():
            (tmp / name).parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(tmp / name, data)
        _beside(tmp, project, dataset)
        provenance = _provenance(project, task, dataset) | dict(shipped.provenance)
        sealed = _written(
            tmp,
            project,
            task,
            own,
            dataset,
            {},
            None,
            shipped.form,
            list(state.processor.inputs),
            state.outputs,
            provenance,
            shipped.engine,
        )
    size = sum(len(data) for data in shipped.files.values())
    evidence = {"formats": [{"format": shipped.form, "ok": True, "bytes": size, "graph": False}], "chosen": shipped.form, "rows": 0}
    return ExportResult(packages.read(out, sealed.digest), "pass", (shipped.text,), evidence)


def _served(made: Candidate, processor: Processor, state: State, dataset: Dataset) -> Callable[[str], np.ndarray]:
    """A format's own answers to a split."""
    engine = made.open()
    return lambda split: answers(lambda rows: predict_rows(engine, processor, rows), state.preprocess, dataset, split)


def _choice(made: Candidate, processor: Processor, state: State, dataset: Dataset, project: Project) -> Choice | None:
    """The threshold by a format's own answers on the validation rows."""
    engine = made.open()
    return decide_threshold(lambda rows: predict_rows(engine, processor, rows), state.preprocess, dataset, state.labels, project.evaluate)


def export_graph(trained: Trained, opset: int) -> bytes:
    """The fp32 ONNX graph of a trained model, in normal form, with free batch and free axes.

    Raises:
        SluiceError: it cannot be exported, or what came out is not the declared graph.
    """
    inputs, outputs = list(trained.processor.inputs), trained.state.outputs
    model = graphs.name_axes(trained.graph(opset), inputs, outputs)
    data = graphs.to_bytes(graphs.normalise(model))
    graphs.check(data, inputs, outputs)
    return data


def held_out(trained: Trained, dataset: Dataset, rows: int) -> HeldOut:
    """Up to `rows` rows, evenly spaced over the test split (validation where there is none), with the trained model's own answers.

    Raises:
        DataError: there are no such rows.
    """
    table = spread(dataset, held_out_split(dataset), rows)
    state, processor = trained.state, trained.processor
    raw = rows_from_arrow(state.preprocess, table)
    examples = processor.encode(raw)
    asked, own = dataset.problem.by_row, own_answers(trained, examples)
    return HeldOut(
        processor,
        examples,
        asked.proof(asked.targets(table.column("label"), state.labels), own),
        state.labels,
        asked,
        own,
        raw,
        table.column("row_id").to_pylist(),
    )


def held_out_metrics(
    engine: Engine, processor: Processor, state: State, dataset: Dataset, rule: Rule | None, positive: str | None
) -> dict[str, float | None]:
    """Every metric of a graph on all held-out rows: the numbers `evaluate` finds of the package it is sealed in.

    Raises:
        DataError: there are no held-out rows.
        SluiceError: the answers are not finite.
    """
    split = held_out_split(dataset)
    outputs, targets = judged(lambda rows: predict_rows(engine, processor, rows), state.preprocess, state.labels, dataset, split)
    return evaluator.values(outputs, targets, state.labels, rule=rule, positive=positive, asked=dataset.problem)


def _seal(
    project: Project,
    task: Task,
    trained: Trained,
    dataset: Dataset,
    metrics: dict[str, float | None],
    rule: Rule | None,
    out: Path,
    chosen: Candidate,
    specs: tuple[list[TensorSpec], list[TensorSpec]],
    held: HeldOut,
) -> Package:
    proof = {"opset": project.export.opset, "rows": len(held.examples), **chosen.proof()}
    provenance = _provenance(project, task, dataset) | {"export": proof}
    with files.new_dir(out) as tmp:
        files.write_bytes(tmp / chosen.form.file, chosen.data)
        for name, data in held.processor.files().items():
            files.write_bytes(tmp / name, data)
        _beside(tmp, project, dataset)
        if shap := _shap(trained, held):
            files.write_json(tmp / packages.SHAP, shap)
        sealed = _written(tmp, project, task, trained, dataset, metrics, rule, chosen.name, *specs, provenance, chosen.form.engine)
    return packages.read(out, sealed.digest)


def _provenance(project: Project, task: Task, dataset: Dataset) -> dict[str, Any]:
    return {
        "code": code_digest(*task.learner().code()),
        "config": project.digest,
        "data": dataset.digest,
        "seed": project.train.seed,
        "libraries": libraries(task.learner().libraries),
    }


def _beside(tmp: Path, project: Project, dataset: Dataset) -> None:
    """What drift is measured against, and how the source is read."""
    if dataset.profile() is not None:
        files.write_bytes(tmp / packages.PROFILE, (dataset.root / packages.PROFILE).read_bytes())
    if reading := project.data.reading():
        files.write_json(tmp / packages.READING, reading)


def _written(
    tmp: Path,
    project: Project,
    task: Task,
    trained: Trained,
    dataset: Dataset,
    metrics: dict[str, float | None],
    rule: Rule | None,
    form: str,
    inputs: list[TensorSpec],
    outputs: list[TensorSpec],
    provenance: dict[str, Any],
    engine: EngineSpec,
) -> Package:
    """The manifest of what lies there."""
    state = trained.state
    return packages.write(
        tmp,
        name=project.name,
        task=project.task,
        objective=problem(state.objective, beside=task.base_dir).served,
        inputs=inputs,
        outputs=outputs,
        labels=list(state.labels),
        preprocess=state.preprocess,
        precision=form,
        metrics=metrics,
        provenance=provenance,
        rule=rule,
        problem=dataset.objective,
        fields=dataset.columns,
        engine=engine,
    )


def _shap(trained: Trained, held: HeldOut) -> dict[str, Any] | None:
    """`packages.SHAP`: the mean over held-out rows of what each column adds to an answer, without its sign, added up over the labels."""
    columns = held.processor.owners()
    rows = held.examples[:: -(-len(held.examples) // _SHAP_ROWS)]
    found = trained.shap(held.processor.batch(rows)) if columns else None
    if found is None:
        return None
    parts = {name: np.abs(sum((found[i] for i in inputs if i in found), np.zeros(1))) for name, inputs in columns.items()}
    means = {name: float(f"{np.mean(np.sum(part, axis=-1)):.6g}") for name, part in parts.items()}
    unit = "log-odds" if held.asked.classes else "the label's unit"
    return {"rows": len(rows), "unit": unit, "columns": means}
