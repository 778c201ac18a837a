"""The doubtful labels: held-out rows whose label the model is sure is another, more often than its own probabilities allow.

Confident learning (Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70, 2021) asks for probabilities of rows
that were not trained on, which the held-out rows' are. A row counts where the model's answer is another label, with at least that label's
mean probability among rows that have it, and its own label's probability is next to nothing. Classes that overlap have such rows, too: as many as the probabilities themselves
say. It is more than these, beyond chance, that speaks for wrong labels (or for a model that is too sure). It refuses nothing.
"""

from __future__ import annotations

import math
from html import escape

import numpy as np
from numpy.typing import NDArray

from sluice.core.check import Check, Decision
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig

#: The most a doubtful row's own label may have; rows that are needed; rows shown; how seldom chance alone may be called doubt.
_NOTHING, _FEWEST, _SHOWN, _BY_CHANCE = 0.05, 50, 20, 1e-3
#: Doubtful rows beyond those allowed deserve a word from this share of all on, and where they are at least as many as these.
_SHARE = 0.02


class Doubtful(Check):
    """Names the held-out rows whose label the model is sure is another, where there are more of them than its probabilities allow."""

    name, step, Config = "doubtful", "evaluate", MetricConfig

    def judge(self, facts: Judged, config: MetricConfig) -> Decision:
        """``doubtful``: how many rows, how many the probabilities allow, and the first with their row ids; a caution where there are more."""
        asked = facts.dataset.problem
        p, y = facts.outputs, facts.targets
        if not asked.classes or asked.independent or p.ndim != 2 or p.shape[1] != len(facts.labels) or len(y) != facts.dataset.rows("test"):
            return Decision("pass")
        found = doubtful(np.asarray(p, np.float64), np.asarray(y, np.int64))
        if found is None:
            return Decision("pass")
        at, allowed = found
        ids = facts.dataset.read("test", ["row_id"]).column("row_id").to_pylist()
        shown = [
            {
                "row": int(i) + 1,
                "row_id": ids[int(i)],
                "label": facts.labels[int(y[i])],
                "answer": facts.labels[int(p[i].argmax())],
                "probability": round(float(p[i].max()), 4),
            }
            for i in at[:_SHOWN]
        ]
        named = "; ".join(f"row {r['row']}: {r['label']!r}, the model says {r['answer']!r}" for r in shown[:3])
        said = (
            f"{len(at):,} of {len(y):,} held-out labels may be wrong, where the model's probabilities allow {allowed:.1f} ({named}); look at these rows, "
            "listed in the report: wrong labels make every figure here too low, and the training rows have them, too (or the model is too sure of itself)"
        )
        return Decision("pass", evidence={"doubtful": {"rows": shown, "found": len(at), "allowed": allowed}}, cautions=(said,))

    def section(self, decision: Decision) -> str:
        """The rows, the surest first."""
        from sluice.report.tables import table

        found = decision.evidence.get("doubtful")
        if not found:
            return ""
        rows = [[r["row"], r["row_id"], r["label"], r["answer"], r["probability"]] for r in found["rows"]]
        note = f"{found['found']} such rows of the test split, {found['allowed']:.1f} would be by the model's own probabilities"
        body = table(["row of test", "row id", "label", "the model's answer", "probability"], rows, (0, 4))
        return f'<details><summary>Labels that may be wrong ({found["found"]})</summary>{body}<p class="note">{escape(note)}</p></details>'


def doubtful(p: NDArray[np.float64], y: NDArray[np.int64]) -> tuple[NDArray[np.int64], float] | None:
    """Rows whose label is doubtful, the surest first, and how many the probabilities allow; None where there are no more than these.

    Args:
        p: probabilities [rows, labels] of rows that were not trained on. y: their labels, -1 where one is unknown.
    """
    known = (y >= 0) & np.isfinite(p).all(axis=1)
    if known.sum() < _FEWEST:
        return None
    at = np.flatnonzero(known)
    q, label = p[at], y[at]
    sums = np.bincount(label, q[np.arange(len(label)), label], q.shape[1])
    counts = np.bincount(label, minlength=q.shape[1])
    usual = np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)  # the mean self-confidence of each label
    answer = q.argmax(axis=1)
    sure = (q.max(axis=1) >= usual[answer]) & (q.max(axis=1) >= 0.5)
    suspects = sure & (q[np.arange(len(label)), label] <= _NOTHING)
    # By the probabilities a row's label is j with p_j: so often is it one that has next to nothing.
    expected = float(np.where(q <= _NOTHING, q, 0.0)[sure].sum())
    beyond = suspects.sum() - expected
    if suspects.sum() < 2 or beyond < _SHARE * len(label) or beyond < expected or _at_least(int(suspects.sum()), expected) >= _BY_CHANCE:
        return None
    order = np.argsort(-q.max(axis=1)[suspects], kind="stable")
    return at[np.flatnonzero(suspects)[order]], round(expected, 3)


def _at_least(k: int, mean: float) -> float:
    """The probability that a Poisson variable is k or more: above that of the sum of independent rare events of this mean."""
    if mean <= 0:
        return 0.0
    term, total = math.exp(-mean), 0.0
    for i in range(k):
        total += term
        term *= mean / (i + 1)
    return max(0.0, 1.0 - total)
