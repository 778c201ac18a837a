"""A model as each kind of program keeps it, as an ONNX graph and as something to compare the graph with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.adoption.shape import joined, unzip
from sluice.adoption.source import Found
from sluice.core.errors import MissingExtra, ProjectError, first_line
from sluice.core.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import onnx

#: A flavour of MLflow -> what makes an `Original` of it; other distributions bring more as entry points of ``sluice.flavours``.
FLAVOURS = Registry(
    "flavour",
    {
        "onnx": "sluice.adoption.flavours:of_onnx",
        "sklearn": "sluice.adoption.flavours:of_sklearn",
        "pytorch": "sluice.adoption.flavours:of_pytorch",
    },
)
#: Newest operator sets that are written.
_OPSET, _ML = 20, 3


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a row is, as MLflow keeps it.

    Attributes:
        columns: a table's columns, each with MLflow's type (``double``, ``string``...); empty where rows are tensors.
        example: rows kept with the model: a DataFrame, an array [rows, ...], or a dict of such; None where there are none.
    """

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    example: Any = None


@dataclasses.dataclass(frozen=True)
class Original:
    """A model to be adopted.

    Attributes:
        graph: its ONNX graph, with whatever inputs and outputs it has.
        labels: of a classifier, in the order of its output; None where it does not say.
        classifies: whether it is a classifier; None where it does not say.
        answer: an example's rows as what the original program answers: probabilities [rows, labels] or values [rows].
    """

    graph: onnx.ModelProto
    labels: tuple[str, ...] | None = None
    classifies: bool | None = None
    answer: Callable[[Any], np.ndarray] | None = None


def original(found: Found, signature: Signature, flavour: str | None = None) -> Original:
    """The model, by the flavour that is named, or the first of its own that can be adopted.

    Raises:
        ProjectError: none of its flavours can be adopted, or it cannot be loaded or converted.
        MissingExtra: what reads that flavour is not installed.
    """
    there = [f for f in FLAVOURS.names() if f in found.flavours]
    if flavour is not None and flavour not in there:
        raise ProjectError("is no flavour of this model", field="--flavour", value=flavour, fix=f"it has: {', '.join(found.flavours)}")
    if not there:
        raise ProjectError(
            "has no flavour that can be adopted",
            field="SOURCE",
            value=", ".join(found.flavours),
            fix=f"one of {', '.join(FLAVOURS.names())}: export the model to ONNX, and name that file",
        )
    made: Original = FLAVOURS.get(flavour or there[0])(found, signature)
    return made


def signature_of(found: Found) -> Signature:
    """What an MLflow model says of its rows. Raises `MissingExtra`, `ProjectError`."""
    if not found.mlmodel:
        return Signature()
    try:
        from mlflow.models import Model
    except ImportError:
        raise MissingExtra("an MLflow model is read by mlflow", field="SOURCE", fix="pip install 'sluice-ml[tracking]'") from None
    try:
        model = Model.load(str(found.root))
        schema = model.signature.inputs if model.signature else None
        example = model.load_input_example(str(found.root)) if model.saved_input_example_info else None
    except Exception as e:
        raise ProjectError(f"its MLmodel cannot be read: {first_line(e)}", field="SOURCE", value=found.said) from e
    if schema is None or schema.is_tensor_spec():
        return Signature({}, example)
    return Signature({str(c.name): c.type.name for c in schema.inputs if c.name is not None and hasattr(c.type, "name")}, example)


def of_onnx(found: Found, signature: Signature) -> Original:
    """An ONNX file; where it does not end in scikit-learn's dictionaries, labels and kind are the caller's to say."""
    import onnx

    path = found.root
    if path.is_dir():
        path = path / str((found.mlmodel["flavors"]["onnx"] or {}).get("data") or "model.onnx")
    try:
        graph = onnx.load(str(path))
    except Exception as e:  # protobuf's own errors, and those of files
        raise ProjectError(f"is no ONNX model: {first_line(e)}", field="SOURCE", value=found.said) from e
    labels = unzip(graph)
    return Original(graph, labels, None if labels is None else True)


def of_sklearn(found: Found, signature: Signature) -> Original:
    """An estimator or pipeline of scikit-learn, converted by skl2onnx; MLflow keeps it as a pickle, which runs code as it is loaded."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.base import is_classifier

    model = _load("mlflow.sklearn", found.root)
    classifies = bool(is_classifier(model))
    kinds = signature.columns
    ways: list[list[tuple[str, Any]]] = [[("x", FloatTensorType([None, int(getattr(model, "n_features_in_", 0)) or None]))]]
    if kinds:
        ways.insert(0, [(n, (StringTensorType if k == "string" else FloatTensorType)([None, 1])) for n, k in kinds.items()])
        if "string" in kinds.values():
            del ways[1]
    for way in ways:
        try:
            graph = convert_sklearn(
                model,
                initial_types=way,
                target_opset={"": _OPSET, "ai.onnx.ml": _ML},
                options={id(model): {"zipmap": False}} if classifies else None,
            )
            break
        except Exception as e:  # skl2onnx has an error of its own for each estimator
            why = first_line(e)
    else:
        raise ProjectError(
            f"skl2onnx cannot convert it: {why}",
            field="SOURCE",
            value=type(model).__name__,
            fix="train it through Sluice (task: tabular), or export it to ONNX yourself",
        )
    if kinds and len(way) == 1:
        graph = joined(graph, list(kinds))
    labels = tuple(_label(v) for v in model.classes_) if classifies else None
    return Original(graph, labels, classifies, model.predict_proba if classifies else model.predict)


def of_pytorch(found: Found, signature: Signature) -> Original:
    """A module of PyTorch, exported with the example that MLflow keeps beside it."""
    import numpy as np
    import torch

    example = signature.example
    if example is None or isinstance(example, Mapping):
        raise ProjectError(
            "a PyTorch model is exported with an example of its one input, and it has none",
            field="SOURCE",
            value=found.said,
            fix="log it again with input_example=array, or export it to ONNX yourself",
        )
    rows = np.asarray(example, dtype=None if isinstance(example, np.ndarray) else np.float32)
    rows = rows.astype(np.float32) if rows.dtype == np.float64 else rows
    module = _load("mlflow.pytorch", found.root)
    # MLflow keeps a module as .pt2 where it can: that is a traced one, whose mode and device are settled
    traced = isinstance(module, torch.fx.GraphModule)
    module = module if traced else module.cpu().eval()
    shown = torch.from_numpy(rows if traced or len(rows) > 1 else np.repeat(rows, 2, axis=0))
    free = ({0: torch.export.Dim.DYNAMIC},)
    try:
        try:
            program = torch.onnx.export(module, (shown,), dynamo=True, input_names=["x"], dynamic_shapes=free, verbose=False)
        except Exception:  # traced with the example's own batch: the proof shows whether the graph can do without
            if not traced:
                raise
            program = torch.onnx.export(module, (shown,), dynamo=True, input_names=["x"], verbose=False)
    except Exception as e:
        raise ProjectError(
            f"torch cannot export it: {first_line(e)}", field="SOURCE", value=type(module).__name__, fix="export it to ONNX yourself"
        ) from e
    assert program is not None

    def answer(x: Any) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = module(torch.from_numpy(np.asarray(x).astype(rows.dtype))).numpy()
        return found

    return Original(program.model_proto, answer=answer)


def _load(module: str, root: Path, **more: Any) -> Any:
    from importlib import import_module

    try:
        return import_module(module).load_model(str(root), **more)
    except ImportError as e:
        raise MissingExtra(f"this model needs {e.name}, which is not installed", field="SOURCE", fix=f"pip install {e.name}") from e
    except Exception as e:
        raise ProjectError(
            f"cannot be loaded: {first_line(e)}",
            field="SOURCE",
            value=str(root),
            fix="does its own program still load it? mlflow's versions may differ",
        ) from e


def _label(value: Any) -> str:
    """A class as a label: 3 and 3.0 are ``3``."""
    plain = value.item() if hasattr(value, "item") else value
    return str(int(plain)) if isinstance(plain, float) and plain.is_integer() else str(plain)
