"""From a model of another program to a package that is proven to answer as it does."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.adoption.flavours import Original, Signature
from sluice.adoption.shape import Shaped, shaped
from sluice.adoption.source import Found
from sluice.core import files
from sluice.core.errors import InputError, PackageError, ProjectError, first_line
from sluice.formats.base import BASE
from sluice.package import package as packages
from sluice.package.package import Package
from sluice.problems.problem import built_in

if TYPE_CHECKING:
    import numpy as np

    from sluice.fields.base import Processor

#: Most rows of the example that are compared.
_ROWS = 1000
#: Of these, rows that are also asked for alone: a graph whose batch was fixed answers them otherwise, or not at all.
_ALONE = 8
#: Random rows where there are none; how far probabilities may be from adding up to one.
_MADE_UP, _SUM = 64, 1e-3
#: MLflow's types of a column -> the kind of field.
_KINDS = {
    **dict.fromkeys(("double", "float", "integer", "long", "boolean"), "numeric"),
    "string": "categorical",
}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a person said of the model.

    Attributes:
        name: the model's name in the registry. classifies: None: what the model says, else by its output.
        labels: in the order of the output; empty: what the model says, else ``0``, ``1``...
        tensor: the output that is the answer. softmax: it holds logits. tolerance: most that an answer may differ by.
    """

    name: str
    classifies: bool | None = None
    labels: tuple[str, ...] = ()
    tensor: str | None = None
    softmax: bool = False
    tolerance: float = 1e-4


@dataclasses.dataclass(frozen=True)
class Proof:
    """How the package's answers compare with the original's.

    Attributes:
        rows: that were compared; 0: there is nothing to compare with.
        made_up: they were numbers drawn at random, for want of an example: what was put around the graph is proven, and no more.
        largest: difference of one number; differing: rows whose answer differs by more than what is tolerated.
    """

    rows: int = 0
    made_up: bool = False
    largest: float = 0.0
    differing: int = 0


def adopt(found: Found, original: Original, signature: Signature, wanted: Wanted, out: Path) -> tuple[Package, Proof]:
    """Write the package, and compare.

    Args:
        out: an empty folder.

    Raises:
        ProjectError: the model says too little, has inputs that no package takes, or its answers are no probabilities.
        PackageError: the graph is none that is served.
    """
    classifies = wanted.classifies if wanted.classifies is not None else original.classifies
    if classifies is None:
        raise ProjectError(
            "an ONNX graph does not say what its numbers are",
            field="--problem",
            fix="--problem classification (with --labels a,b,c), or --problem regression",
        )
    labels = wanted.labels or original.labels or ()
    made = shaped(original.graph, classifies, labels=len(labels) or None, output=wanted.tensor, softmax=wanted.softmax)
    if classifies and not labels:
        labels = tuple(str(i) for i in range(made.width))
    processor = _processor(made, signature)
    package = _seal(found, made, processor, wanted, labels, classifies, out)
    return package, _prove(package, original, signature, made, wanted)


def _processor(made: Shaped, signature: Signature) -> Processor:
    """A table where each column of the signature is an input of its own; tensors as they are otherwise."""
    from sluice.fields.column import Column, input_name
    from sluice.fields.tabular import TabularProcessor
    from sluice.fields.tensor import TensorInput, TensorProcessor

    names = [t.name for t in made.inputs]
    if signature.columns and names == list(signature.columns):
        for name, kind in signature.columns.items():
            if kind not in _KINDS:
                raise ProjectError(
                    f"is a column of {kind}, which is not adopted",
                    field=name,
                    fix="log the model with numbers and strings, or export it to ONNX",
                )
            if input_name(name, names) is not None:
                raise ProjectError("is the name of a package's output", field=f"column {name}", fix="rename it, and log the model again")
        return TabularProcessor([Column(n, _KINDS[k]) for n, k in signature.columns.items()])
    return TensorProcessor([TensorInput(t.name, t.datatype, t.shape) for t in made.inputs])


def _seal(found: Found, made: Shaped, processor: Processor, wanted: Wanted, labels: Sequence[str], classifies: bool, out: Path) -> Package:
    from sluice.package import graph as graphs
    from sluice.package import onnxfile

    data = graphs.to_bytes(made.graph)
    graphs.check(data, made.inputs, [made.output])
    files.write_bytes(out / packages.MODEL, data)
    onnxfile.check(out / packages.MODEL)
    for name, content in processor.files().items():
        files.write_bytes(out / name, content)
    return packages.write(
        out,
        name=wanted.name,
        task=processor.kind,
        objective=built_in(classifies).name,
        inputs=made.inputs,
        outputs=[made.output],
        labels=list(labels) if classifies else [],
        preprocess=processor.spec(),
        precision=BASE,
        metrics={},
        provenance={"adopted": found.flavours[0], "source_sha256": _digest(found.root)},
    )


def _digest(root: Path) -> str:
    """sha256 over the names and bytes of a model's files."""
    total = hashlib.sha256()
    for path in [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file()):
        total.update(f"{path.relative_to(root.parent)}\0{files.sha256_file(path)}\n".encode())
    return total.hexdigest()


def _prove(package: Package, original: Original, signature: Signature, made: Shaped, wanted: Wanted) -> Proof:
    """The package's answers to the example's rows beside the original's."""
    import numpy as np

    from sluice.engines.predictor import Predictor

    example = signature.example if signature.example is not None else _made_up(original)
    if example is None:
        return Proof()
    kept = example[:_ROWS] if not isinstance(example, Mapping) else {k: np.asarray(v)[:_ROWS] for k, v in example.items()}
    rows = rows_of(kept)
    try:
        predictor = Predictor(package)
        ours = predictor.predict(rows)
        alone = predictor.predict(rows[:_ALONE], batch_size=1)
    except InputError as e:
        raise PackageError(f"does not take the model's own example: {e.message}", field=e.field, fix=e.fix) from e
    except Exception as e:  # ONNX Runtime's own errors have no common name
        raise PackageError(
            f"its graph does not run on {len(rows)} rows and on one: {first_line(e)}",
            field="SOURCE",
            fix="export it with a free batch (the first axis), and name that file",
        ) from e
    if package.labels:
        _check_probabilities(ours)
    theirs = np.asarray(
        original.answer(kept) if original.answer else _graph(original, kept, made.answer, wanted.softmax), dtype=np.float64
    ).reshape(ours.shape)
    ours[:_ALONE] = np.where(np.abs(alone - theirs[:_ALONE]) > np.abs(ours[:_ALONE] - theirs[:_ALONE]), alone, ours[:_ALONE])
    apart = np.abs(ours - theirs)
    scale = np.maximum(1.0, np.abs(theirs))
    over = (apart > wanted.tolerance * scale) | (np.isnan(ours) != np.isnan(theirs))
    return Proof(
        len(rows), signature.example is None, float(np.nanmax(apart, initial=0.0)), int(over.reshape(len(rows), -1).any(axis=1).sum())
    )


def _check_probabilities(answers: np.ndarray) -> None:
    """Raises `ProjectError` where a row's numbers are no shares of one."""
    import numpy as np

    off = np.abs(answers.sum(axis=1) - 1) > _SUM
    if off.any() or (answers < -_SUM).any():
        row = answers[int(np.argmax(off))]
        raise ProjectError(
            f"is no probability of each label: a row adds up to {row.sum():.4g}",
            field="the model's answer",
            value=[round(float(v), 4) for v in row[:6]],
            fix="--softmax if these are logits; --output-tensor NAME if another output is the answer",
        )


def _made_up(original: Original) -> Any:
    """Rows of random numbers for each input; None where an input takes texts."""
    import numpy as np
    import onnx

    rng, made = np.random.default_rng(17), {}
    constants = {t.name for t in original.graph.graph.initializer}
    for value in [v for v in original.graph.graph.input if v.name not in constants]:
        kind = value.type.tensor_type
        if kind.elem_type == onnx.TensorProto.STRING:
            return None
        shape = (_MADE_UP, *[d.dim_value or 1 for d in kind.shape.dim][1:])
        drawn = rng.normal(size=shape) if kind.elem_type in (1, 10, 11) else rng.integers(0, 2, shape)
        made[value.name] = drawn.astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return made if len(made) > 1 else next(iter(made.values()), None)


def rows_of(example: Any) -> list[Any]:
    """An example's rows as a client sends them."""
    import numpy as np

    if hasattr(example, "to_dict") and hasattr(example, "columns"):
        rows = [{str(k): v for k, v in row.items()} for row in example.to_dict("records")]
        return [{k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()} for row in rows]
    if isinstance(example, Mapping):
        parts = {k: np.asarray(v) for k, v in example.items()}
        return [{k: v[i] for k, v in parts.items()} for i in range(len(next(iter(parts.values()))))]
    return list(np.asarray(example, dtype=None if isinstance(example, np.ndarray) else np.float32))


def _graph(original: Original, example: Any, tensor: str, softmax: bool) -> np.ndarray:
    """What the graph that was found answers, where no other program does: it proves what was put around it."""
    import numpy as np
    import onnx

    from sluice.engines.base import open_engine
    from sluice.fields.tensor import NUMPY
    from sluice.package import graph as graphs

    plain = onnx.ModelProto()
    plain.CopyFrom(original.graph)
    plain.ir_version = min(plain.ir_version, graphs.IR_VERSION)  # the newest onnx writes a form that no runtime reads yet
    engine = open_engine(packages.ENGINE, plain.SerializeToString())
    if isinstance(example, Mapping) or hasattr(example, "columns"):
        fed = {t.name: np.asarray(example[t.name]) for t in engine.inputs}
        fed = {k: v.reshape(-1, 1) if v.ndim == 1 and len(engine.inputs[0].shape) == 2 else v for k, v in fed.items()}
    else:
        fed = {engine.inputs[0].name: np.asarray(example)}
    fed = {t.name: fed[t.name].astype(NUMPY[t.datatype]) for t in engine.inputs}
    size, rows = engine.inputs[0].shape[0], len(next(iter(fed.values())))
    step = size if size > 0 else rows  # a file may fix its batch: it is then given that many at a time, the last one again
    parts = [
        engine.run({k: v[np.minimum(np.arange(at, at + step), rows - 1)] for k, v in fed.items()})[tensor] for at in range(0, rows, step)
    ]
    found: np.ndarray = np.asarray(np.concatenate(parts)[:rows], dtype=np.float64)
    if softmax:
        found = np.exp(found - found.max(axis=1, keepdims=True))
        found /= found.sum(axis=1, keepdims=True)
    return found
