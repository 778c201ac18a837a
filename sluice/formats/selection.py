"""The formats a graph can be packaged in: each made, measured beside fp32, and one chosen.

A choice by rules that give the same answer on every machine: bytes, the loss of the metric, the largest movement of one answer.
Times are measured and told, and decide nothing: a busy machine must not change what is packaged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from sluice.core.errors import SluiceError
from sluice.engines.predictor import session
from sluice.engines.rows import rows_from_arrow, spread
from sluice.fields import Processor
from sluice.formats.parity import HeldOut, Parity, latencies, measure, movement, outputs_of, scale_of
from sluice.formats.quantise import quantise
from sluice.package import graph as graphs
from sluice.package.package import TensorSpec
from sluice.problems.metrics import metric_of

if TYPE_CHECKING:
    import onnxruntime

    from sluice.data.dataset import Dataset
    from sluice.package.config import ExportConfig
    from sluice.project import Project

_CALIBRATION_BATCH = 8
#: A smaller format that is tried of its own accord has to save at least this part of fp32's bytes.
_SAVING = 0.2
_SHOWN = 200


@dataclasses.dataclass(frozen=True)
class Format:
    """A graph in one format.

    Attributes:
        name: ``fp32`` or ``int8``.
        data: the graph's bytes; empty where there is none.
        parity: what was measured of it; None where nothing was.
        outputs: its answers on the held-out rows.
        ok: it may be packaged.
        tried: it was made and measured, or at least begun.
        why: what speaks against it, a sentence.
        moved: the row whose answer moved most against fp32: {row_id, row, change, fp32, answer, label}.
        latency_ms: median time of one row in the graph, one thread.
    """

    name: str
    data: bytes = b""
    parity: Parity | None = None
    outputs: np.ndarray | None = None
    ok: bool = False
    tried: bool = True
    why: str = ""
    moved: dict[str, Any] | None = None
    latency_ms: float | None = None

    def open(self, processor: Processor) -> onnxruntime.InferenceSession:
        """The graph as the server opens it."""
        return session(self.data, int8_transformer=self.name == "int8" and processor.kind == "text")

    def evidence(self) -> dict[str, Any]:
        return {
            "format": self.name,
            "bytes": len(self.data) or None,
            "ok": self.ok,
            "tried": self.tried,
            "why": self.why,
            "moved": self.moved,
            "latency_ms": self.latency_ms,
        } | (self.parity.to_dict() if self.parity else {})

    def proof(self) -> dict[str, Any]:
        """What the package's provenance keeps."""
        found = self.evidence()
        return {k: None if found[k] is None else round(found[k], 6) for k in ("agreement", "loss", "single_agreement")}


def measured(
    fp32: bytes,
    held: HeldOut,
    project: Project,
    processor: Processor,
    dataset: Dataset,
    specs: tuple[Sequence[TensorSpec], Sequence[TensorSpec]],
) -> list[Format]:
    """fp32, always first, and int8 where it was asked for: alone, or beside fp32 where that is large enough for it to pay."""
    found, limit = [_fp32(fp32, held, project)], project.export.int8_above
    if "int8" in project.export.formats:
        small = "fp32" in project.export.formats and len(fp32) <= limit
        found.append(
            Format("int8", tried=False, why=f"int8 was not tried: it pays for graphs of more than {limit:,} bytes (export.int8_above)")
            if small
            else _int8(found[0], held, project, processor, dataset, specs)
        )
    return _timed(found, held)


def choose(found: Sequence[Format], config: ExportConfig) -> Format | None:
    """The smallest format of those asked for that may be packaged; None where there is none, or where fp32 itself does not answer as PyTorch does."""
    fit = [f for f in found if f.name in config.formats and f.ok]
    return min(fit, key=lambda f: (len(f.data), f.name)) if fit and found[0].ok else None


def sentence(chosen: Format, found: Sequence[Format], held: HeldOut) -> str:
    """What was packaged, what it gained and what it cost."""
    parity, whole = chosen.parity, found[0]
    assert parity is not None
    gain = f", {len(whole.data) / len(chosen.data):.1f} times smaller than fp32" if len(chosen.data) < len(whole.data) else ""
    if gain and whole.latency_ms and chosen.latency_ms and (whole.latency_ms / chosen.latency_ms >= 1.1):
        gain += f" and {whole.latency_ms / chosen.latency_ms:.1f} times faster for one row"
    loss = "" if parity.loss is None else f", loss {parity.loss:.4g} of {parity.allowed:.4g} allowed"
    as_torch = (
        f"{parity.agreement:.2%} of held-out labels as PyTorch's"
        if held.labels
        else f"values at most {parity.max_abs_diff:.3g} from PyTorch's"
    )
    moved = f", no answer moved by more than {_moved_by(chosen.moved, held)}" if chosen.moved else ""
    return f"{chosen.name}: {len(chosen.data):,} bytes{gain}, {as_torch}{loss}{moved}"


def _fp32(data: bytes, held: HeldOut, project: Project) -> Format:
    made = Format("fp32", data)
    opened = made.open(held.processor)
    outputs = outputs_of(opened, held)
    parity = measure(opened, outputs, held, project.evaluate, project.export.max_loss)
    limit = project.export.tolerance * scale_of(held.reference)
    why = ""
    if parity.max_abs_diff > limit:
        why = (
            f"the fp32 graph does not answer as PyTorch does: the largest difference on {len(outputs)} held-out rows is {parity.max_abs_diff:.3g}, "
            f"export.tolerance allows {limit:.3g}"
        )
    elif parity.loss is not None and not parity.within:
        why = _loses("fp32", parity, held, project)
    return dataclasses.replace(made, outputs=outputs, parity=parity, ok=not why, why=why)


def _int8(
    fp32: Format,
    held: HeldOut,
    project: Project,
    processor: Processor,
    dataset: Dataset,
    specs: tuple[Sequence[TensorSpec], Sequence[TensorSpec]],
) -> Format:
    try:
        made = quantise(onnx.load_model_from_string(fp32.data), _calibration(processor, dataset, project.export.calibration_rows))
    except SluiceError as e:
        return Format("int8", why=f"there is no int8: {e.message}")
    if made is None:
        return Format("int8", why="there is no int8: the graph has no matrix product or convolution with weights")
    data = graphs.to_bytes(graphs.normalise(made))
    graphs.check(data, *specs)
    return _judged(Format("int8", data), fp32, held, project)


def _judged(made: Format, fp32: Format, held: HeldOut, project: Project) -> Format:
    """A format measured, with all that speaks against it."""
    opened = made.open(held.processor)
    outputs = outputs_of(opened, held)
    parity = measure(opened, outputs, held, project.evaluate, project.export.max_loss)
    assert fp32.outputs is not None
    change = movement(outputs, fp32.outputs, held)
    moved = _moved(outputs, fp32.outputs, change, held)
    against = []
    if parity.loss is None:
        against.append(f"{_metric(project, held)} is undefined on the held-out rows, so {made.name} cannot be shown to lose little of it")
    elif not parity.within:
        against.append(_loses(made.name, parity, held, project))
    limit = project.export.answer_change(held.labels)
    if moved["change"] > limit:
        against.append(
            f"{made.name} moves the answer to row {moved['row_id']} by {_moved_by(moved, held)}, export.max_answer_change allows {limit:g}"
            + (" of the targets' deviation" if not held.labels else "")
        )
    if "fp32" in project.export.formats and len(made.data) > (1 - _SAVING) * len(fp32.data):
        against.append(f"{made.name} does not pay: {len(made.data):,} bytes of fp32's {len(fp32.data):,}")
    return dataclasses.replace(made, outputs=outputs, parity=parity, moved=moved, ok=not against, why="; ".join(against))


def _moved(outputs: np.ndarray, fp32: np.ndarray, change: np.ndarray, held: HeldOut) -> dict[str, Any]:
    """The row that moved most, as a person can find it, and its answer in both formats."""
    at = int(change.argmax())
    found: dict[str, Any] = {"row_id": held.row_ids[at], "row": shown(held.rows[at]), "change": round(float(change[at]), 6), "label": None}
    before, after = fp32[at], outputs[at]
    if held.labels:
        of = int(np.abs(after.astype(np.float64) - before).argmax())
        found["label"], before, after = held.labels[of], before[of], after[of]
    return found | {"fp32": float(before), "answer": float(after)}


def shown(row: Any) -> str:
    """A raw row in few words; how much was cut is said."""
    if isinstance(row, bytes):
        return f"{len(row):,} bytes"
    text = ", ".join(f"{k}={v}" for k, v in row.items()) if isinstance(row, Mapping) else str(row)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text) - _SHOWN:,} more characters)"


def _moved_by(moved: Mapping[str, Any], held: HeldOut) -> str:
    if held.labels:
        return f"{moved['change']:.3g} (probability of {moved['label']}: {moved['fp32']:.3g} in fp32, {moved['answer']:.3g})"
    return f"{abs(moved['answer'] - moved['fp32']):.4g} ({moved['fp32']:,.6g} in fp32, {moved['answer']:,.6g})"


def _metric(project: Project, held: HeldOut) -> str:
    return metric_of(project.evaluate.metric, "classification" if held.labels else "regression")


def _loses(name: str, parity: Parity, held: HeldOut, project: Project) -> str:
    return (
        f"{name} loses {parity.loss:.4g} of {_metric(project, held)} on {len(held.examples)} held-out rows, "
        f"export.max_loss allows {parity.allowed:.4g}"
    )


def _timed(found: Sequence[Format], held: HeldOut) -> list[Format]:
    """With each format's median time of one row, taken in turns so that whatever else the machine does meets all alike."""
    made = [f for f in found if f.data]
    times = dict(zip([f.name for f in made], latencies([f.open(held.processor) for f in made], held), strict=True))
    return [dataclasses.replace(f, latency_ms=times.get(f.name)) for f in found]


def _calibration(processor: Processor, dataset: Dataset, rows: int) -> list[dict[str, np.ndarray]]:
    """Batches of like length of training rows, evenly spaced over the split."""
    examples = sorted(processor.encode(rows_from_arrow(processor.spec(), spread(dataset, "train", rows))), key=processor.length)
    return [processor.batch(examples[at : at + _CALIBRATION_BATCH]) for at in range(0, len(examples), _CALIBRATION_BATCH)]
