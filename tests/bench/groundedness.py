"""How well supported claims are told from others: ``python -m tests.bench.groundedness [ENCODER]``.

200 claims of 50 short sources (`groundedness.txt`, written for this): two of each that the source supports, often in other words, and two that it does
not: another number, another name, the opposite, something it does not say. The area under the ROC curve with its interval over sources (a
bootstrap of the 50), and how many claims of each kind are on the wrong side of the threshold. One JSON line, by words alone or with an encoder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from sluice.llm.encoder import Encoder
from sluice.llm.groundedness import THRESHOLD, support

DATA = Path(__file__).parent / "groundedness.txt"


def pairs() -> list[tuple[int, str, str, bool]]:
    """The source's number, the source, the claim, and whether it is supported."""
    out, source, n = [], "", -1
    for line in DATA.read_text(encoding="utf-8").splitlines():
        if line[0] in "+-":
            out.append((n, source, line[1:], line[0] == "+"))
        else:
            source, n = line, n + 1
    return out


def area(scores: np.ndarray, true: np.ndarray) -> float:
    """The share of pairs of a supported claim and another in which the supported one has the higher score, ties by half."""
    a, b = scores[true][:, None], scores[~true][None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def figures(encoder: Encoder | None = None, resamples: int = 2000) -> dict[str, Any]:
    """What is told: ``auc``, ``low``, ``high`` (95 %), ``missed`` (supported claims below the threshold), ``let_by`` (others above it)."""
    every = pairs()
    groups, true = np.array([p[0] for p in every]), np.array([p[3] for p in every])
    scores = np.array([support(claim, source, encoder) for _, source, claim, _ in every])
    rng, n = np.random.default_rng(17), groups.max() + 1
    rows = [np.flatnonzero(groups == g) for g in range(n)]
    drawn = [np.concatenate([rows[g] for g in rng.integers(0, n, n)]) for _ in range(resamples)]
    low, high = np.quantile([area(scores[d], true[d]) for d in drawn], [0.025, 0.975])
    wrong = (scores >= THRESHOLD) != true
    return {
        "by": "encoder" if encoder else "words",
        "claims": len(every),
        "auc": round(area(scores, true), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "missed": int((wrong & true).sum()),
        "let_by": int((wrong & ~true).sum()),
        "examples": [(round(float(scores[i]), 2), every[i][2]) for i in np.flatnonzero(wrong)],
    }


if __name__ == "__main__":
    print(json.dumps(figures(Encoder.open(Path(sys.argv[1])) if len(sys.argv) > 1 else None), indent=1))
