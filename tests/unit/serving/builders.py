"""Small real packages: ONNX graphs built node by node, sealed like any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sluice.core.datatypes import TensorSpec
from sluice.package.package import Package, write
from sluice.problems.decision import Rule

F, I64, U8, S = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8, TensorProto.STRING
LABELS = ["a", "b", "c"]


def save(
    root: Path, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], weights: dict[str, np.ndarray] | None = None
) -> None:
    root.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        list(nodes), "g", list(inputs), list(outputs), [numpy_helper.from_array(v, k) for k, v in (weights or {}).items()]
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), root / "model.onnx")


def tensor(name: str, kind: int, shape: Sequence[int | None]) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def seal(
    root: Path,
    name: str,
    task: str,
    inputs: list[TensorSpec],
    preprocess: dict[str, Any],
    *,
    labels: list[str] | None = None,
    precision: str = "fp32",
    rule: Rule | None = None,
) -> Package:
    chosen = LABELS if labels is None else labels
    output = TensorSpec("probabilities", "FP32", (-1, len(chosen))) if chosen else TensorSpec("value", "FP32", (-1,))
    return write(
        root,
        name=name,
        task=task,
        objective="classification" if chosen else "regression",
        inputs=inputs,
        outputs=[output],
        labels=chosen,
        preprocess=preprocess,
        precision=precision,
        metrics={"accuracy": 0.9},
        provenance={"seed": 1},
        rule=rule,
    )


def classifier(root: Path, name: str = "points", scale: float = 1.0) -> Package:
    """Tensor in: x FP32 [-1, 4] to three probabilities; the largest of x's first three wins."""
    weights = np.eye(4, 3, dtype=np.float32) * np.float32(scale)
    save(
        root,
        [helper.make_node("MatMul", ["x", "W"], ["z"]), helper.make_node("Softmax", ["z"], ["probabilities"], axis=1)],
        [tensor("x", F, [None, 4])],
        [tensor("probabilities", F, [None, 3])],
        {"W": weights},
    )
    spec = {"kind": "tensor", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]}
    return seal(root, name, "tensor", [TensorSpec("x", "FP32", (-1, 4))], spec)


def rare(root: Path, name: str = "rare") -> Package:
    """Tensor in: x FP32 [-1], the probability of "Yes"; it is answered from 0.2 on."""
    save(
        root,
        [
            helper.make_node("Sub", ["one", "x"], ["no"]),
            helper.make_node("Unsqueeze", ["no", "axis"], ["a"]),
            helper.make_node("Unsqueeze", ["x", "axis"], ["b"]),
            helper.make_node("Concat", ["a", "b"], ["probabilities"], axis=1),
        ],
        [tensor("x", F, [None])],
        [tensor("probabilities", F, [None, 2])],
        {"one": np.ones((), np.float32), "axis": np.array([1], np.int64)},
    )
    spec = {"kind": "tensor", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    return seal(root, name, "tensor", [TensorSpec("x", "FP32", (-1,))], spec, labels=["No", "Yes"], rule=Rule("Yes", 0.2, "f1"))


def echo(root: Path, name: str = "echo") -> Package:
    """Regression whose value is its input: whoever asks gets their own number back."""
    save(root, [helper.make_node("Identity", ["x"], ["value"])], [tensor("x", F, [None])], [tensor("value", F, [None])])
    spec = {"kind": "tensor", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    return seal(root, name, "tensor", [TensorSpec("x", "FP32", (-1,))], spec, labels=[])


def constant(root: Path, value: float, name: str = "constant") -> Package:
    """Regression that always says `value`: an answer tells which version gave it."""
    save(
        root,
        [helper.make_node("Mul", ["x", "zero"], ["z"]), helper.make_node("Add", ["z", "c"], ["value"])],
        [tensor("x", F, [None])],
        [tensor("value", F, [None])],
        {"zero": np.zeros((), np.float32), "c": np.float32(value).reshape(())},
    )
    spec = {"kind": "tensor", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    return seal(root, name, "tensor", [TensorSpec("x", "FP32", (-1,))], spec, labels=[])


def slow(root: Path, name: str = "slow", size: int = 700, layers: int = 4) -> Package:
    """Regression that multiplies matrices for some tens of milliseconds and then says its input."""
    r = np.random.default_rng(0)
    weights = {f"W{i}": (r.normal(size=(size, size)) / size**0.5).astype(np.float32) for i in range(layers)}
    nodes = [helper.make_node("MatMul", [f"W{i}" if i == 0 else f"m{i - 1}", f"W{(i + 1) % layers}"], [f"m{i}"]) for i in range(layers)]
    nodes += [helper.make_node("ReduceMean", [f"m{layers - 1}"], ["mean"], keepdims=0), helper.make_node("Mul", ["mean", "zero"], ["none"])]
    # Depends on x, or ONNX Runtime would work it all out once, when it loads.
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["xm"], keepdims=0),
        helper.make_node("Add", ["W0", "xm"], ["V0"]),
        *nodes,
        helper.make_node("Add", ["x", "none"], ["value"]),
    ]
    nodes[2] = helper.make_node("MatMul", ["V0", "W1"], ["m0"])
    save(root, nodes, [tensor("x", F, [None])], [tensor("value", F, [None])], {**weights, "zero": np.zeros((), np.float32)})
    spec = {"kind": "tensor", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    return seal(root, name, "tensor", [TensorSpec("x", "FP32", (-1,))], spec, labels=[])


def tokenizer() -> bytes:
    """Whitespace words; unknown ones are id 1."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[PAD]", "[UNK]", "send", "money", "home", "what", "is", "my", "balance", "book", "a", "flight"]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    raw: str = made.to_str()
    return raw.encode()


def text(root: Path, name: str = "intents", max_length: int = 16) -> Package:
    """Text in: the mean of the words' vectors, padding left out, to three probabilities."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "tokenizer.json").write_bytes(tokenizer())
    table = np.random.default_rng(3).normal(size=(12, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=F),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["vectors", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["wide", "one"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("Softmax", ["mean"], ["probabilities"], axis=1),
    ]
    save(
        root,
        nodes,
        [tensor("input_ids", I64, [None, None]), tensor("attention_mask", I64, [None, None])],
        [tensor("probabilities", F, [None, 3])],
        {"table": table, "last": np.array([2]), "one": np.array([1])},
    )
    inputs = [TensorSpec("input_ids", "INT64", (-1, -1)), TensorSpec("attention_mask", "INT64", (-1, -1))]
    return seal(root, name, "text", inputs, {"kind": "text", "tokenizer": "tokenizer.json", "max_length": max_length, "pad_id": 0})


def image(root: Path, name: str = "digits") -> Package:
    """Grey 4 x 4 pictures: the mean of the upper, middle and lower pixels decides."""
    parts = np.zeros((16, 3), np.float32)
    parts[:5, 0] = parts[5:11, 1] = parts[11:, 2] = 1.0
    nodes = [
        helper.make_node("Cast", ["image"], ["f"], to=F),
        helper.make_node("Flatten", ["f"], ["flat"]),
        helper.make_node("Mul", ["flat", "step"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "W"], ["z"]),
        helper.make_node("Softmax", ["z"], ["probabilities"], axis=1),
    ]
    save(
        root,
        nodes,
        [tensor("image", U8, [None, 1, 4, 4])],
        [tensor("probabilities", F, [None, 3])],
        {"W": parts, "step": np.float32(1 / 255).reshape(())},
    )
    return seal(root, name, "image", [TensorSpec("image", "UINT8", (-1, 1, 4, 4))], {"kind": "image", "channels": 1, "size": [4, 4]})


def png(pixels: np.ndarray) -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, format="PNG")
    return out.getvalue()


def audio(root: Path, name: str = "words") -> Package:
    """A tenth of a second at 8 kHz: the loudest third decides."""
    thirds = np.zeros((800, 3), np.float32)
    thirds[:267, 0] = thirds[267:533, 1] = thirds[533:, 2] = 1.0
    nodes = [
        helper.make_node("Mul", ["audio", "audio"], ["power"]),
        helper.make_node("MatMul", ["power", "W"], ["z"]),
        helper.make_node("Softmax", ["z"], ["probabilities"], axis=1),
    ]
    save(root, nodes, [tensor("audio", F, [None, 800])], [tensor("probabilities", F, [None, 3])], {"W": thirds})
    return seal(root, name, "audio", [TensorSpec("audio", "FP32", (-1, 800))], {"kind": "audio", "sample_rate": 8000, "samples": 800})


def wav(samples: np.ndarray, rate: int = 8000) -> bytes:
    """A mono WAV file of 16 bits from numbers in [-1, 1]."""
    import io
    import wave

    out = io.BytesIO()
    with wave.open(out, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(rate)
        f.writeframes((samples * 32767).astype("<i2").tobytes())
    return out.getvalue()


def tabular(
    root: Path, name: str = "churn", labels: list[str] = LABELS, rule: Rule | None = None, numerals: dict[str, str] | None = None
) -> Package:
    """A number and a category to two or three probabilities; a missing number counts as 0."""
    nodes = [
        helper.make_node("IsNaN", ["age"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "age"], ["filled"]),
        helper.make_node(
            "LabelEncoder",
            ["job"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=["nurse", "cook"],
            values_floats=[1.0, 2.0],
            default_float=0.0,
        ),
        helper.make_node("Concat", ["filled", "code"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "W"], ["z"]),
        helper.make_node("Softmax", ["z"], ["probabilities"], axis=1),
    ]
    weights = np.array([[0.05, 0.0, -0.05], [0.0, 1.0, 0.5]], np.float32)[:, : len(labels)]
    save(
        root,
        nodes,
        [tensor("age", F, [None, 1]), tensor("job", S, [None, 1])],
        [tensor("probabilities", F, [None, len(labels)])],
        {"W": weights, "zero": np.zeros((), np.float32)},
    )
    written = {"numerals": numerals} if numerals else {}
    spec = {"kind": "tabular", "columns": [{"name": "age", "type": "numeric", **written}, {"name": "job", "type": "categorical"}]}
    return seal(
        root, name, "tabular", [TensorSpec("age", "FP32", (-1, 1)), TensorSpec("job", "BYTES", (-1, 1))], spec, labels=labels, rule=rule
    )


def dynamic(root: Path, name: str = "dynamic") -> Package:
    """`classifier` with activations quantised by each run's own range."""
    r = np.random.default_rng(1)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "zp"]),
        helper.make_node("DequantizeLinear", ["q", "s", "zp"], ["d"]),
        helper.make_node("MatMul", ["d", "W"], ["z"]),
        helper.make_node("Softmax", ["z"], ["probabilities"], axis=1),
    ]
    save(root, nodes, [tensor("x", F, [None, 4])], [tensor("probabilities", F, [None, 3])], {"W": r.normal(size=(4, 3)).astype(np.float32)})
    spec = {"kind": "tensor", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]}
    return seal(root, name, "tensor", [TensorSpec("x", "FP32", (-1, 4))], spec, precision="int8")


def nan(root: Path, name: str = "constant") -> Package:
    """Gives no number for what is below 0, and runs well on zeros, as it is warmed up."""
    save(root, [helper.make_node("Sqrt", ["x"], ["value"])], [tensor("x", F, [None])], [tensor("value", F, [None])])
    spec = {"kind": "tensor", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    return seal(root, name, "tensor", [TensorSpec("x", "FP32", (-1,))], spec, labels=[])
