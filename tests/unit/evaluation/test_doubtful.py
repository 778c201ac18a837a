"""Held-out labels that are wrong are named; classes that overlap, and few rows, are no reason to name any."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from sluice.gates.config import EvaluateConfig
from sluice.gates.doubtful import Doubtful, doubtful


def answers(rng, n, sharp, classes=3):
    """Probabilities, and labels drawn by them: a calibrated model."""
    p = rng.dirichlet(np.full(classes, sharp), n)
    return p, np.array([rng.choice(classes, p=row) for row in p])


@pytest.mark.parametrize("sharp", [0.1, 0.3, 1.0])
def test_a_calibrated_model_of_classes_that_overlap_doubts_seldom(sharp):
    rng = np.random.default_rng(0)
    said = [doubtful(*answers(rng, int(n), sharp)) for n in rng.integers(60, 600, 60)]
    assert sum(s is not None for s in said) <= 1


def test_labels_that_were_changed_are_named_and_hardly_any_other():
    rng = np.random.default_rng(1)
    p, y = answers(rng, 400, 0.02)
    wrong = rng.choice(400, 20, replace=False)
    y[wrong] = (y[wrong] + 1) % 3
    at, allowed = doubtful(p, y)
    assert len(set(at) & set(wrong)) >= 17 and len(set(at) - set(wrong)) <= 3 and allowed < 3
    assert p[at].max(axis=1).tolist() == sorted(p[at].max(axis=1), reverse=True), "the surest first"
    y[wrong] = -1
    assert doubtful(p, y) is None, "a label that is not known is not doubted"
    assert doubtful(p[:40], y[:40]) is None


def test_the_gate_says_which_rows_and_what_the_model_says():
    rng = np.random.default_rng(2)
    p, y = answers(rng, 200, 0.02)
    wrong = np.arange(5, 200, 20)
    y[wrong] = (p[wrong].argmax(axis=1) + 1) % 3
    table = pa.table({"row_id": [f"{i:016x}" for i in range(200)]})
    asked = SimpleNamespace(classes=True, independent=False)
    dataset = SimpleNamespace(problem=asked, rows=lambda split: 200, read=lambda split, columns: table)
    facts = SimpleNamespace(dataset=dataset, outputs=p, targets=y, labels=["a", "b", "c"])
    said = Doubtful().judge(facts, EvaluateConfig())
    assert said.decision == "pass" and "held-out labels may be wrong" in said.cautions[0]
    assert {r["row"] - 1 for r in said.evidence["doubtful"]["rows"]} >= set(wrong.tolist()[:5])
    assert "may be wrong" in Doubtful().section(said) and said.evidence["doubtful"]["rows"][0]["row_id"] in Doubtful().section(said)
    asked.classes = False
    assert Doubtful().judge(facts, EvaluateConfig()).evidence == {}
