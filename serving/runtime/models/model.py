"""A model that can be asked: its package, its session, and what every answer of it has in common."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from serving.runtime.errors import ModelFault
from serving.runtime.metrics import ROWS, Metrics, seconds_edges
from serving.runtime.models import onnx_safety
from serving.runtime.protocols.tensors import DTYPES
from sluice.core import files
from sluice.core.datatypes import TensorSpec
from sluice.core.errors import PackageError
from sluice.core.spelling import Spelling
from sluice.engines.base import open_engine, open_package
from sluice.fields import Processor, TabularProcessor, TensorProcessor, load_processor
from sluice.package import package as packages
from sluice.package.package import Package
from sluice.problems.problem import problem
from sluice.proof.trust import NOTHING, Trust, signature_beside

#: A free axis is this long when a model is warmed up.
_WARM_LENGTH = 8
#: Labels beyond this many are counted together, so a model cannot fill the metrics page.
_LIMIT_LABELS = 200


class Model:
    """A loaded model.

    Args:
        package: the verified package.
        name: in URLs and metrics.
        threads: of the engine.
        max_bytes: of the ONNX file and its weights.
        inferred: the package stands for a plain ONNX file: nothing is known of its axes' meaning.

    Raises:
        PackageError: the graph is refused or cannot be loaded, or does not run on an example.
    """

    #: It is asked elsewhere (`serving.runtime.prompts.model`) and not run here.
    remote: Any = None

    def __init__(self, package: Package, name: str, threads: int, max_bytes: int, *, inferred: bool = False):
        found = onnx_safety.check(package.model, max_bytes) if package.graph else onnx_safety.unknown(package.model, max_bytes)
        self._describe(package, name, inferred=inferred)
        #: A row's answer may not depend on what else is asked at the moment.
        self.batches = not inferred and not found.dynamic_scales
        self.pads = {} if self.processor is None else dict(self.processor.pads)
        #: Of these, the ones whose length is the text's.
        self.tokens = () if self.processor is None else self.processor.tokens
        #: Values of these inputs pick a row of a table of so many: others are the client's mistake.
        self.tables = {name: size for name, size in found.tables.items() if name in self.inputs}
        self._engine = open_package(package, threads)
        self._answer = self._engine.outputs[0].name
        #: A run may take long whatever the last one took: never on the event loop.
        self.blocking = self._engine.blocking
        self._warm_up()

    def _describe(self, package: Package, name: str, *, inferred: bool) -> None:
        """What is known of it without its being opened."""
        self.package, self.name, self.inferred = package, name, inferred
        self.digest, self.version = package.digest, package.digest[:12]
        self.kind = str(package.preprocess.get("kind"))
        self.processor: Processor | None = None if inferred else load_processor(package.preprocess, package.root)
        #: By the name clients use: of rows the column's, whatever the graph's inputs are called.
        self.inputs = {t.name: t for t in package.inputs}
        if isinstance(self.processor, TabularProcessor):
            self.inputs = dict(self.processor.fields)
        self.outputs = [t.name for t in package.outputs]
        self.labels = package.labels
        self.rule = package.rule
        #: What an answer is; None of a plain graph.
        self.problem = None if inferred else problem(package.objective)
        self.classifies = self.problem is not None and self.problem.classes
        self.regresses = self.problem is not None and self.problem.scalar
        #: An answer is an array: what a client reads of it the problem tells.
        self.arrays = None if self.problem is None or self.classifies or self.regresses else self.problem
        #: What a row is where it is a value alone, and what reads rows that are records of columns.
        self.value = None if self.processor is None else self.processor.value
        self.records = self.processor if isinstance(self.processor, TabularProcessor) else None
        #: Columns whose values stand in no log.
        self.sensitive = frozenset(package.reading().get("sensitive") or ())
        #: What the training rows' true answers were like, by which feedback is bounded.
        self.reference: dict[str, Any] = {} if inferred else (package.profile() or {}).get("label") or {}
        self.max_length = 0 if self.processor is None else self.processor.max_length
        #: Labels as JSON, for answers built by hand.
        self.label_json = [orjson.dumps(label) for label in self.labels]
        self.label_spelling = Spelling.kept(self.labels)
        self.label_objects = np.array(self.labels, dtype=object) if self.labels else None
        #: Seconds a row took at the last run, by length: what decides whether a run may hold the event loop.
        self.row_seconds = 0.0
        self.head = b"x-sluice-version: " + self.digest.encode() + b"\r\n"

    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The graph on a batch.

        Raises:
            ModelFault: the engine failed, or a probability or value is not a number.
        """
        try:
            found = self._engine.run(tensors)
        except Exception as e:  # engines' exceptions have no common base but Exception
            raise ModelFault("the model failed on this input", field=self.name, fix="see the server's log") from e
        if self.problem is not None and not np.isfinite(found[self._answer].sum()):
            raise ModelFault("the model gave a number that is none", field=self.name, fix="see the server's log")
        return found

    def _warm_up(self) -> None:
        """Run twice, so that the first request finds memory arenas and kernels as they will be."""
        for _ in range(2):
            begun = time.perf_counter()
            try:
                self.run({t.name: _example(t) for t in self.package.inputs})
            except ModelFault as e:
                if self.inferred:  # a plain graph may have rules its types do not tell
                    return
                raise PackageError(
                    f"does not run on an example: {e.__cause__ or e.message}", field=str(self.package.model), fix="export the model again"
                ) from e
            self.row_seconds = time.perf_counter() - begun

    def metadata(self) -> dict[str, Any]:
        """The model's metadata as V2 gives it; raw inputs and the label are listed beside the graph's tensors."""
        inputs = [_shown(t) for t in self.inputs.values()]
        if self.value is not None:
            inputs.append({"name": self.value.name, "datatype": "BYTES", "shape": [-1]})
        outputs = [_shown(t) for t in self.package.outputs]
        if self.classifies:
            outputs.append({"name": "label", "datatype": "BYTES", "shape": [-1]})
        elif self.arrays is not None:
            outputs += [{"name": name, "datatype": kind, "shape": [-1, *axes]} for name, (kind, axes) in self.arrays.tells.items()]
        platform = "onnx_onnxv1" if self.package.graph else f"sluice_{self.package.engine.name}"
        return {"name": self.name, "versions": [self.version], "platform": platform, "inputs": inputs, "outputs": outputs}

    def details(self) -> dict[str, Any]:
        """What V2's metadata has no place for."""
        p = self.package
        return {
            "digest": self.digest,
            "task": p.task,
            "objective": p.objective,
            "labels": list(self.labels),
            "precision": p.precision,
            "preprocess": p.preprocess,
            "metrics": p.metrics,
            "decision": p.rule.to_dict() if p.rule else None,
        }


class Counters:
    """A model's series, looked up once."""

    def __init__(self, metrics: Metrics, model: Model, slo_ms: float):
        who = {"model": model.name, "version": model.version}
        self.metrics, self.who, self.model = metrics, who, model
        self.values = metrics.values
        self.duration = metrics.histogram("sluice_inference_duration_seconds", seconds_edges(slo_ms / 1e3), **who)
        self.wait = metrics.histogram("sluice_queue_wait_seconds", seconds_edges(slo_ms / 1e3), **who)
        self.batch = metrics.histogram("sluice_batch_size", ROWS, **who)
        self.run = metrics.counter("sluice_run_seconds_total", **who)
        self.in_flight = metrics.counter("sluice_inference_in_flight", **who)
        self.info = metrics.counter("sluice_model_info", **who, digest=model.digest)
        self.hits = metrics.counter("sluice_cache_hits_total", **who)
        self.misses = metrics.counter("sluice_cache_misses_total", **who)
        self._codes: dict[int, int] = {}
        #: By group of users: the places of requests, errors, slow answers and odd labels; made when the first of a group comes.
        self._groups: dict[int, tuple[int, int, int, int]] = {}
        self._slo = slo_ms / 1e3
        shown = model.labels[:_LIMIT_LABELS]
        self._labels = [metrics.counter("sluice_predictions_total", **who, label=label) for label in shown]
        if len(model.labels) > len(shown):
            other = metrics.counter("sluice_predictions_total", **who, label="(other)")
            self._labels += [other] * (len(model.labels) - len(shown))
        self._value = (
            metrics.histogram("sluice_prediction_value", _value_edges(model.package), **who) if model.regresses or model.arrays else None
        )

    def code(self, status: int) -> None:
        """Count a request by the HTTP status of its answer."""
        at = self._codes.get(status)
        if at is None:
            at = self._codes[status] = self.metrics.counter("sluice_inference_requests_total", **self.who, code=str(status))
        self.values[at] += 1.0

    def user(self, group: int, status: int, seconds: float, label: int = 0) -> None:
        """Count an answered request of a user in this group. `label`: the place of its first row's in the model's list, 0 for a model without."""
        at = self._groups.get(group)
        if at is None:
            requests, errors, slow, odd = (
                self.metrics.counter(f"sluice_user_{n}_total", **self.who, group=str(group))
                for n in ("requests", "errors", "slow", "odd_labels")
            )
            at = self._groups[group] = (requests, errors, slow, odd)
        requests, errors, slow, odd = at
        self.values[requests] += 1.0
        if status >= 400 and status != 499:
            self.values[errors] += 1.0
        elif status == 200:
            if seconds > self._slo:
                self.values[slow] += 1.0
            if label & 1:
                self.values[odd] += 1.0

    def outcome(self, value: float, group: int | None = None) -> None:
        """Count a business outcome told by feedback, of a user in this group where one is known."""
        who = self.who if group is None else {**self.who, "group": str(group)}
        for name, add, whose in (
            ("outcomes_total", 1.0, who),
            ("outcome_sum", value, who),
            ("outcome_squares_sum", value * value, self.who),
        ):
            self.values[self.metrics.counter(f"sluice_feedback_{name}", **whose)] += add

    def predicted(self, outputs: Mapping[str, np.ndarray], best: np.ndarray | None) -> None:
        """Count what was predicted. `best`: the column of the label that each row of a classification was answered."""
        if best is not None:
            values, labels = self.values, self._labels
            for i in best.tolist():
                values[labels[i]] += 1.0
        elif self._value is not None:
            found = outputs[self.model.outputs[0]]
            for v in (found if self.model.arrays is None else self.model.arrays.observed(found)).ravel().tolist():
                self._value.observe(v)


def _value_edges(package: Package) -> list[float]:
    """Edges for predicted values: those of the training data's, where the profile has them."""
    profile = package.profile() or {}
    for key in ("label", "target", "prediction"):
        found = profile.get(key)
        edges = found.get("edges") if isinstance(found, dict) else None
        if isinstance(edges, list) and 2 <= len(edges) <= 64 and all(isinstance(e, int | float) for e in edges):
            return sorted({float(e) for e in edges})
    return [float(s * 10.0**e) for s in (-1, 1) for e in ((4, 3, 2, 1, 0, -1) if s < 0 else (-1, 0, 1, 2, 3, 4))]


def _shown(t: TensorSpec) -> dict[str, Any]:
    return {"name": t.name, "datatype": t.datatype, "shape": list(t.shape)}


def _example(t: TensorSpec) -> np.ndarray:
    """A tensor a graph should take: one row, free axes `_WARM_LENGTH` long."""
    shape = tuple(1 if i == 0 and n == -1 else _WARM_LENGTH if n == -1 else n for i, n in enumerate(t.shape))
    if t.datatype == "BYTES":
        return np.full(shape, "", dtype=object)
    return np.ones(shape, dtype=DTYPES[t.datatype]) if t.name == "attention_mask" else np.zeros(shape, dtype=DTYPES[t.datatype])


def load(
    path: Path, name: str, digest: str | None, threads: int, max_bytes: int, trust: Trust = NOTHING, scratch: str | None = None
) -> Model:
    """Load a package directory, or a plain ``.onnx`` file (or a directory that holds just one).

    Args:
        scratch: a folder that all workers of the server share.

    Raises:
        PackageError: refused, with the reason: also for want of a signature that is required.
    """
    if path.is_dir() and (path / packages.MANIFEST).exists():
        package = packages.read(path, digest)
        if trust.required:
            trust.check(package.digest, signature_beside(path, package.digest), str(path))
        if not package.tensors:
            from serving.runtime.prompts.model import PromptModel

            return PromptModel(package, name or package.name, scratch)
        return Model(package, name or package.name, threads, max_bytes)
    found = sorted(path.glob("*.onnx")) if path.is_dir() else [path]
    if len(found) != 1 or not found[0].is_file() or found[0].suffix != ".onnx":
        raise PackageError(
            "is no package and no ONNX model",
            field=str(path),
            value=[p.name for p in found][:5],
            fix="name a directory with model.json, or one .onnx file",
        )
    if trust.required:
        raise PackageError(
            "an ONNX file alone is no package, and has no signature, which is required here",
            field=str(found[0]),
            fix="serve a signed package",
        )
    return Model(_plain(found[0], name, digest, max_bytes), name or found[0].stem, threads, max_bytes, inferred=True)


def _plain(path: Path, name: str, digest: str | None, max_bytes: int) -> Package:
    """A plain ONNX file as a package; its digest covers the file and the weights beside it."""
    external = sorted(onnx_safety.check(path, max_bytes).locations)
    sums = [files.sha256_file(path), *(files.sha256_file(path.parent / e) for e in external)]
    whole = sums[0] if not external else hashlib.sha256("\n".join(sums).encode()).hexdigest()
    if digest is not None and whole != digest.removeprefix("sha256:"):
        raise PackageError(f"digest is {whole}, not the one asked for", field=str(path), value=digest, fix="fetch the model again")
    opened = open_engine(packages.ENGINE, path)
    package = Package(
        root=path.parent,
        digest=whole,
        name=name or path.stem,
        task=TensorProcessor.kind,
        objective="none",
        inputs=opened.inputs,
        outputs=opened.outputs,
        labels=(),
        preprocess={"kind": TensorProcessor.kind},
        precision="",
        metrics={},
        provenance={},
        manifest={},
        engine=packages.ENGINE,
        problem="none",
        fields={},
    )
    return _PlainPackage(**{f.name: getattr(package, f.name) for f in dataclasses.fields(package)}, file=path)


@dataclasses.dataclass(frozen=True)
class _PlainPackage(Package):
    file: Path = Path()

    @property
    def model(self) -> Path:
        return self.file
