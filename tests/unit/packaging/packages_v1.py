"""The packages of v1 that are kept, and what each answered when it was made."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parents[2] / "data" / "packages-v1"
NAMES = sorted(p.name for p in ROOT.iterdir() if p.is_dir())
#: What the kernels of two processors may differ by, of the answers' own size.
CLOSE = 1e-4


class Kept(NamedTuple):
    """`rows` as a client's JSON has them (images in base64), `answers` [rows, labels] or [rows], `labels` answered; None for values."""

    root: Path
    digest: str
    rows: list[Any]
    answers: np.ndarray
    labels: list[str] | None

    def raw(self, blob: bool) -> list[Any]:
        """The rows as processors take them."""
        return [base64.b64decode(row) for row in self.rows] if blob else self.rows


def kept(name: str) -> Kept:
    found = json.loads((ROOT / name / "answers.json").read_text(encoding="utf-8"))
    return Kept(ROOT / name / "package", found["digest"], found["rows"], np.array(found["answers"], np.float32), found["labels"])
