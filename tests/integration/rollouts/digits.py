"""Real packages of handwritten digits without any training framework: one softmax layer as an ONNX graph."""

from __future__ import annotations

import base64
import functools
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from sluice.core.datatypes import TensorSpec
from sluice.package import package
from sluice.rollouts.load_generator import Request

LABELS = [str(i) for i in range(10)]


@functools.cache
def rows() -> tuple[np.ndarray, np.ndarray]:
    """(images [n, 8, 8] uint8 of 0..255, labels [n]), shuffled."""
    data = load_digits()
    order = np.random.default_rng(17).permutation(len(data.target))
    return (data.images[order] * 15.9375).astype(np.uint8), data.target[order]


@functools.cache
def weights(train_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A softmax layer fitted on the first rows: (W [64, 10], b [10])."""
    x, y = rows()
    fitted = LogisticRegression(max_iter=300).fit(x[:train_rows].reshape(train_rows, 64) / 255.0, y[:train_rows])
    return fitted.coef_.T.astype(np.float32), fitted.intercept_.astype(np.float32)


def build(root: Path, name: str, train_rows: int, *, shuffled: bool = False, work: int = 0, broken: bool = False) -> Path:
    """A package.

    Args:
        root: the directory to make. name: the model's.
        train_rows: more make it better.
        shuffled: answers the wrong digit, each as often as before.
        work: size of square matrices multiplied for nothing at each request.
        broken: answers NaN.
    """
    w, b = weights(train_rows)
    if shuffled:
        w, b = np.roll(w, 1, axis=1), np.roll(b, 1)
    if broken:
        w = np.full_like(w, np.nan)
    nodes = [
        helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["f", "scale"], ["g"]),
        helper.make_node("Flatten", ["g"], ["x"]),
        helper.make_node("Gemm", ["x", "w", "b"], ["logits"]),
    ]
    constants = {"scale": np.float32(255), "w": w, "b": b}
    last = "logits"
    if work:
        # Filled from the input, so that nothing is folded away beforehand.
        constants |= {"side": np.array([work, work], np.int64), "tiny": np.float32(1e-30)}
        nodes += [helper.make_node("ReduceMean", ["x"], ["m"], keepdims=0), helper.make_node("Expand", ["m", "side"], ["a0"])]
        nodes += [helper.make_node("MatMul", [f"a{i}", f"a{i}"], [f"a{i + 1}"]) for i in range(2)]
        nodes += [
            helper.make_node("ReduceMean", ["a2"], ["n"], keepdims=0),
            helper.make_node("Mul", ["n", "tiny"], ["t"]),
            helper.make_node("Add", ["logits", "t"], ["delayed"]),
        ]
        last = "delayed"
    nodes.append(helper.make_node("Softmax", [last], ["probabilities"], axis=1))
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    root.mkdir(parents=True)
    onnx.save(model, root / "model.onnx")
    package.write(
        root,
        name=name,
        task="image",
        objective="classification",
        inputs=[TensorSpec("image", "UINT8", (-1, 1, 8, 8))],
        outputs=[TensorSpec("probabilities", "FP32", (-1, 10))],
        labels=LABELS,
        preprocess={"kind": "image", "channels": 1, "size": [8, 8]},
        precision="fp32",
        metrics={},
        provenance={},
    )
    return root


def requests(name: str, n: int = 400) -> list[Request]:
    """Held-out rows as V1 requests with their labels."""
    x, y = rows()
    out = []
    for image, label in zip(x[-n:], y[-n:], strict=True):
        png = io.BytesIO()
        Image.fromarray(image).save(png, "PNG")
        body: Any = {"instances": [{"b64": base64.b64encode(png.getvalue()).decode()}]}
        out.append(Request(json.dumps(body).encode(), f"/v1/models/{name}:predict", str(label)))
    return out
