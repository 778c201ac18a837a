"""Small real packages, built node by node so that what they answer is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

from sluice.core.datatypes import TensorSpec
from sluice.fields import Column, Processor, TabularProcessor, TextProcessor
from sluice.package import package
from sluice.package.package import Package

WORDS = {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3, "very": 4}
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]


def model_of(graph: onnx.GraphProto) -> bytes:
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=9).SerializeToString()


def tabular_graph() -> bytes:
    """value = age + (1 for a cook, 2 for a baker, 0 otherwise)."""
    one_age, one_job = (
        helper.make_tensor_value_info(n, t, [None, 1]) for n, t in (("age", TensorProto.FLOAT), ("job", TensorProto.STRING))
    )
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["job"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=["cook", "baker"],
            values_floats=[1.0, 2.0],
            default_float=0.0,
        ),
        helper.make_node("Add", ["age", "code"], ["sum"]),
        helper.make_node("Squeeze", ["sum", "axis"], ["value"]),
    ]
    return model_of(
        helper.make_graph(
            nodes,
            "g",
            [one_age, one_job],
            [helper.make_tensor_value_info("value", TensorProto.FLOAT, [None])],
            [numpy_helper.from_array(np.array([1], dtype=np.int64), "axis")],
        )
    )


def text_graph() -> bytes:
    """probabilities = softmax of the masked sum of a 2-column embedding: `good` +1 on column 0, `bad` on column 1, [PAD] spoils both."""
    table = np.array([[90, 0], [0, 0], [1, 0], [0, 1], [0, 0]], dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["e"]),
        helper.make_node("Cast", ["attention_mask"], ["m"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["m", "last"], ["m3"]),
        helper.make_node("Mul", ["e", "m3"], ["em"]),
        helper.make_node("ReduceSum", ["em", "one"], ["s"], keepdims=0),
        helper.make_node("Softmax", ["s"], ["probabilities"], axis=-1),
    ]
    tensors = [
        numpy_helper.from_array(a, n)
        for n, a in (("table", table), ("last", np.array([2], dtype=np.int64)), ("one", np.array([1], dtype=np.int64)))
    ]
    ids, mask = (helper.make_tensor_value_info(n, TensorProto.INT64, [None, None]) for n in ("input_ids", "attention_mask"))
    return model_of(
        helper.make_graph(nodes, "g", [ids, mask], [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])], tensors)
    )


def text_processor() -> TextProcessor:
    t = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    return TextProcessor(t.to_str().encode(), max_length=8)


def seal(root: Path, kind: str, **changes: Any) -> Package:
    processor: Processor = (
        text_processor() if kind == "text" else TabularProcessor([Column("age", "numeric"), Column("job", "categorical")])
    )
    root.mkdir(parents=True, exist_ok=True)
    (root / "model.onnx").write_bytes(text_graph() if kind == "text" else tabular_graph())
    for name, data in processor.files().items():
        (root / name).write_bytes(data)
    text = kind == "text"
    settings: dict[str, Any] = {
        "name": "demo",
        "task": kind,
        "objective": "classification" if text else "regression",
        "inputs": list(processor.inputs),
        "outputs": [TensorSpec("probabilities", "FP32", (-1, 2)) if text else TensorSpec("value", "FP32", (-1,))],
        "labels": ["good", "bad"] if text else [],
        "preprocess": processor.spec(),
        "precision": "fp32",
        "metrics": {"value": 0.9},
        "provenance": {"seed": 17},
    }
    return package.write(root, **settings | changes)


@pytest.fixture
def sealed(tmp_path: Path) -> Callable[..., Package]:
    """`sealed("text")` or `sealed("tabular")`, with fields of model.json replaced by keyword."""
    made = iter(range(100))
    return lambda kind, **changes: seal(tmp_path / f"package-{next(made)}", kind, **changes)
