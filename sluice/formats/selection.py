"""The formats a graph can be packaged in: each made, measured beside fp32, and one chosen.

A choice by rules that give the same answer on every machine: bytes, the loss of the metric, the largest movement of one answer.
Times are measured and told, and decide nothing: a busy machine must not change what is packaged.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from sluice.core.datatypes import MODEL, TensorSpec
from sluice.core.errors import SluiceError
from sluice.engines.base import Engine, open_engine
from sluice.engines.rows import rows_from_arrow, spread
from sluice.formats.base import Format, load_format
from sluice.formats.parity import HeldOut, Parity, latencies, measure, movement, outputs_of
from sluice.package import graph as graphs
from sluice.problems.metrics import metric_of

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset
    from sluice.learners.base import Trained
    from sluice.project import Project

_CALIBRATION_BATCH = 8
#: A smaller format that is tried of its own accord has to save at least this part of fp32's bytes.
_SAVING = 0.2
_SHOWN = 200
#: Share of the rows that have to have the same answer alone and among others.
_ALIKE = 0.99
_BATCH = 16


@dataclasses.dataclass(frozen=True)
class Candidate:
    """The model in one format, and what was found of it.

    Attributes:
        form: the format.
        data: the graph's bytes; empty where there is none.
        asked: the project names it; else it is only what another one is made from.
        parity: what was measured of it; None where nothing was.
        outputs: its answers on the held-out rows.
        ok: it may be packaged.
        tried: it was made and measured, or at least begun.
        why: what speaks against it, a sentence.
        moved: the row whose answer moved most against fp32: {row_id, row, change, fp32, answer, label}.
        latency_ms: median time of one row in the graph, one thread.
        batch_ms: the same of sixteen rows.
    """

    form: Format
    data: bytes = b""
    asked: bool = True
    parity: Parity | None = None
    outputs: np.ndarray | None = None
    ok: bool = False
    tried: bool = True
    why: str = ""
    moved: dict[str, Any] | None = None
    latency_ms: float | None = None
    batch_ms: float | None = None

    @property
    def name(self) -> str:
        """Its format's."""
        return self.form.name

    def open(self) -> Engine:
        """The graph as the server opens it. Raises `PackageError`."""
        return open_engine(self.form.engine, self.data)

    def evidence(self) -> dict[str, Any]:
        """What the gate keeps of it: plain JSON, with the numbers of `Parity` where it was measured."""
        return {
            "format": self.name,
            "bytes": len(self.data) or None,
            "ok": self.ok,
            "tried": self.tried,
            "why": self.why,
            "moved": self.moved,
            "latency_ms": self.latency_ms,
            "batch_ms": self.batch_ms,
        } | (self.parity.to_dict() if self.parity else {})

    def proof(self) -> dict[str, Any]:
        """What the package's provenance keeps."""
        found = self.evidence()
        return {k: None if found[k] is None else round(found[k], 6) for k in ("agreement", "loss", "single_agreement")}


@dataclasses.dataclass(frozen=True)
class Job:
    """What all formats of one export are made with and judged by; `beside`: the project file's folder, where one of the user's own lies."""

    held: HeldOut
    project: Project
    dataset: Dataset
    specs: tuple[Sequence[TensorSpec], Sequence[TensorSpec]]
    beside: Path | None = None
    trained: Trained | None = None

    @functools.cached_property
    def batches(self) -> list[dict[str, np.ndarray]]:
        """Batches of like length of training rows, evenly spaced over the split: for calibration."""
        processor, rows = self.held.processor, spread(self.dataset, "train", self.project.export.calibration_rows)
        examples = sorted(processor.encode(rows_from_arrow(processor.spec(), rows)), key=processor.length)
        return [processor.batch(examples[at : at + _CALIBRATION_BATCH]) for at in range(0, len(examples), _CALIBRATION_BATCH)]


def measured(graph: bytes, formats: Sequence[Format], asked: Collection[str], job: Job) -> list[Candidate]:
    """Every format made and measured: the graph as it was exported first, each other one where it is worth trying.

    Args:
        graph: the exported graph, in normal form.
        formats: of `formats_of`.
        asked: the names of those the project names.
        job: what they are made with and judged by.
    """
    export = job.project.export
    lacking = {f.name: f"{f.name} is not here: {why}" for f in formats if f.name in asked and (why := f.missing())}
    base = _proven(Candidate(formats[0], graph, formats[0].name in asked or lacking.keys() >= set(asked)), job)
    found = {base.name: base}
    for form in (f.about(export, job.trained) for f in formats[1:]):
        why = lacking.get(form.name, "") or (form.untried(graph, export) if base.asked and form.name in asked else "")
        made = Candidate(form, asked=form.name in asked, tried=not why, why=why)
        found[form.name] = made if why else _made(made, found[load_format(form.of, job.beside).name].data if form.of else graph, base, job)
    return _timed(list(found.values()), job.held)


def choose(found: Sequence[Candidate]) -> Candidate | None:
    """The smallest format of those asked for that may be packaged; None where there is none, or where fp32 itself does not answer as the trained model does.

    One that is not there to be smaller was asked for by name, so it goes before.
    """
    fit = [f for f in found if f.asked and f.ok]
    return min(fit, key=lambda f: (f.form.smaller or f is found[0], len(f.data), f.name)) if fit and found[0].ok else None


def sentence(chosen: Candidate, found: Sequence[Candidate], held: HeldOut) -> str:
    """What was packaged, what it gained and what it cost."""
    parity, whole = chosen.parity, found[0]
    assert parity is not None
    gain = f", {len(whole.data) / len(chosen.data):.1f} times smaller than fp32" if len(chosen.data) < len(whole.data) else ""
    if gain and whole.latency_ms and chosen.latency_ms and (whole.latency_ms / chosen.latency_ms >= 1.1):
        gain += f" and {whole.latency_ms / chosen.latency_ms:.1f} times faster for one row"
    loss = "" if parity.loss is None else f", loss {parity.loss:.4g} of {parity.allowed:.4g} allowed"
    as_torch = (
        f"{parity.agreement:.2%} of held-out labels as the trained model's"
        if held.asked.classes
        else f"values at most {parity.max_abs_diff:.3g} from the trained model's"
    )
    moved = f", no answer moved by more than {_moved_by(chosen.moved, held)}" if chosen.moved else ""
    return f"{chosen.name}: {len(chosen.data):,} bytes{gain}, {as_torch}{loss}{moved}"


def _proven(made: Candidate, job: Job) -> Candidate:
    """The exported graph beside PyTorch."""
    held, project = job.held, job.project
    engine = made.open()
    outputs = outputs_of(engine, held)
    parity = measure(engine, outputs, held, project.evaluate, project.export.max_loss)
    limit = project.export.tolerance * held.asked.scale(held.reference)
    why = ""
    if parity.max_abs_diff > limit:
        why = (
            f"the {made.name} graph does not answer as the trained model does: the largest difference on {len(outputs)} held-out rows is {parity.max_abs_diff:.3g}, "
            f"export.tolerance allows {limit:.3g}"
        )
    elif parity.loss is not None and not parity.within:
        why = _loses(made.name, parity, held, project)
    return dataclasses.replace(made, outputs=outputs, parity=parity, ok=not why, why=why)


def _made(candidate: Candidate, graph: bytes, base: Candidate, job: Job) -> Candidate:
    """A format made of another one's graph, and judged."""
    try:
        if not graph:
            raise SluiceError(f"there is no {candidate.form.of} to make it of")
        artifact = candidate.form.make(graph, lambda: job.batches)
        if not artifact.data:
            raise SluiceError(artifact.why or "the format gives no reason")
        data = artifact.data if candidate.form.file != MODEL else _normal(artifact.data, job)
        made = dataclasses.replace(candidate, data=data)
        engine = made.open()
    except SluiceError as e:
        return dataclasses.replace(candidate, why=f"there is no {candidate.name}: {e.message}")
    return _judged(made, engine, base, job)


def _normal(made: bytes, job: Job) -> bytes:
    """An ONNX graph in normal form, checked. Raises `SluiceError`."""
    try:
        model = onnx.load_model_from_string(made)
    except DecodeError as e:
        raise SluiceError(f"what it made is no ONNX graph: {e}") from e
    data = graphs.to_bytes(graphs.normalise(model))
    graphs.check(data, *job.specs)
    return data


def _judged(made: Candidate, engine: Engine, base: Candidate, job: Job) -> Candidate:
    """A format measured, with all that speaks against it."""
    held, project = job.held, job.project
    outputs = outputs_of(engine, held)
    parity = measure(engine, outputs, held, project.evaluate, made.form.budget(project.export))
    assert base.outputs is not None
    change = movement(outputs, base.outputs, held)
    moved = _moved(outputs, base.outputs, change, held)
    against = []
    if parity.loss is None:
        against.append(f"{_metric(project, held)} is undefined on the held-out rows, so {made.name} cannot be shown to lose little of it")
    elif not parity.within:
        against.append(_loses(made.name, parity, held, project, made.form.budgeted))
    limit = project.export.answer_change(held.asked)
    if moved["change"] > limit:
        against.append(
            f"{made.name} moves the answer to row {moved['row_id']} by {_moved_by(moved, held)}, export.max_answer_change allows {limit:g}"
            + (" of the targets' deviation" if not (held.asked.classes or held.asked.changes) else "")
        )
    if parity.single_agreement < _ALIKE:
        against.append(
            f"{made.name} answers {1 - parity.single_agreement:.1%} of the rows otherwise in a batch than alone, at most {1 - _ALIKE:.0%} may differ: "
            "take a format with fixed scales (int8)"
        )
    if base.asked and made.form.smaller and len(made.data) > (1 - _SAVING) * len(base.data):
        against.append(f"{made.name} does not pay: {len(made.data):,} bytes of {base.name}'s {len(base.data):,}")
    return dataclasses.replace(made, outputs=outputs, parity=parity, moved=moved, ok=not against, why="; ".join(against))


def _moved(outputs: np.ndarray, fp32: np.ndarray, change: np.ndarray, held: HeldOut) -> dict[str, Any]:
    """The row that moved most, as a person can find it, and its answer in both formats."""
    at = int(change.argmax())
    found: dict[str, Any] = {"row_id": held.row_ids[at], "row": shown(held.rows[at]), "change": round(float(change[at]), 6), "label": None}
    if held.asked.changes:
        return found | {"what": f"share {held.asked.changes} that are others", "fp32": 0.0, "answer": found["change"]}
    before, after = fp32[at].reshape(-1), outputs[at].reshape(-1)
    of = int(np.abs(after.astype(np.float64) - before).argmax())
    if not held.asked.scalar:
        found["label"] = held.labels[of] if of < len(held.labels) else str(of)
        if not held.asked.classes:
            found["what"] = f"part {found['label']} of the answer"
    return found | {"fp32": float(before[of]), "answer": float(after[of])}


def shown(row: Any) -> str:
    """A raw row in few words; how much was cut is said."""
    if isinstance(row, bytes):
        return f"{len(row):,} bytes"
    text = ", ".join(f"{k}={v}" for k, v in row.items()) if isinstance(row, Mapping) else str(row)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text) - _SHOWN:,} more characters)"


def _moved_by(moved: Mapping[str, Any], held: HeldOut) -> str:
    if held.asked.classes:
        return f"{moved['change']:.3g} (probability of {moved['label']}: {moved['fp32']:.3g} in fp32, {moved['answer']:.3g})"
    if held.asked.changes:
        return f"{moved['change']:.0%} {held.asked.changes}"
    return f"{abs(moved['answer'] - moved['fp32']):.4g} ({moved['fp32']:,.6g} in fp32, {moved['answer']:,.6g})"


def _metric(project: Project, held: HeldOut) -> str:
    named = project.evaluate.metric
    return metric_of(named if named in held.asked.metrics() else None, held.asked.name)


def _loses(name: str, parity: Parity, held: HeldOut, project: Project, setting: str = "export.max_loss") -> str:
    return (
        f"{name} loses {parity.loss:.4g} of {_metric(project, held)} on {len(held.examples)} held-out rows, "
        f"{setting} allows {parity.allowed:.4g}"
    )


def _timed(found: Sequence[Candidate], held: HeldOut) -> list[Candidate]:
    """With each format's median times of one row and of sixteen, taken in turns so that whatever else the machine does meets all alike."""
    made = [f for f in found if f.data]
    engines, names = [f.open() for f in made], [f.name for f in made]
    one, many = (dict(zip(names, latencies(engines, held, rows), strict=True)) for rows in (1, _BATCH))
    return [dataclasses.replace(f, latency_ms=one.get(f.name), batch_ms=many.get(f.name)) for f in found]
