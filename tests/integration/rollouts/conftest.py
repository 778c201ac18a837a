from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sluice.core.datatypes import TensorSpec
from sluice.package import package
from sluice.rollouts.load_generator import Request

SERVER = [sys.executable, str(Path(__file__).with_name("standin.py"))]
LABELS = ("a", "b", "c")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """A package whose stand-in server behaves as told."""

    def build(name: str, **behaviour: Any) -> Path:
        root = tmp_path / "packages" / name
        root.mkdir(parents=True)
        (root / "model.onnx").write_bytes(b"graph of " + name.encode())
        (root / "behaviour.json").write_text(json.dumps(behaviour))
        package.write(
            root,
            name="m",
            task="tabular",
            objective="classification",
            inputs=[TensorSpec("x", "FP32", (-1, 1))],
            outputs=[TensorSpec("probabilities", "FP32", (-1, 3))],
            labels=list(LABELS),
            preprocess={"kind": "tensor"},
            precision="fp32",
            metrics={},
            provenance={},
        )
        return root

    return build


@pytest.fixture
def requests() -> list[Request]:
    return [Request(json.dumps({"instances": [n]}).encode(), "/v1/models/m:predict", LABELS[n % 3]) for n in range(60)]
