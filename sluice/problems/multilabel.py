"""Several labels at once, or none: each label has a probability of its own."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.problems.arrays import Arrays
from sluice.problems.metric import Metric

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule

#: Between the labels of a row where they are told as one text.
BETWEEN = "|"


class MultiLabel(Arrays):
    """A set of labels; the graph gives a probability for each, and those from 0.5 on are answered."""

    name: ClassVar[str] = "multilabel"
    served: ClassVar[str] = "multilabel"
    label: ClassVar[str] = "names"
    independent: ClassVar[bool] = True
    output: ClassVar[str] = "probabilities"
    #: A label that comes or goes.
    answer_change: ClassVar[float] = 0.5
    tells: ClassVar[Mapping[str, tuple[str, tuple[int, ...]]]] = MappingProxyType({"labels": ("BYTES", ())})

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        """Every label of any row, sorted."""
        import pyarrow.compute as pc

        return sorted(pc.list_flatten(column).unique().drop_null().to_pylist())

    def unknown(self, column: pa.ChunkedArray, labels: Sequence[str]) -> Any:
        return next(iter(sorted(set(self.labels(column)) - set(labels))), None)

    def described(self, labels: Sequence[str]) -> str:
        return f"a row has any of {len(labels)} labels"

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """float64 [rows, labels], 1 where a row has the label; what the model does not know counts nowhere."""
        index = {label: i for i, label in enumerate(labels)}
        out = np.zeros((len(column), len(labels)))
        for row, names in enumerate(column.to_pylist()):
            out[row, [index[n] for n in names or () if n in index]] = 1.0
        return out

    def heard(self, answer: Any, labels: Sequence[str], reference: Mapping[str, Any]) -> str:
        """A list of labels of the model, or one of them."""
        from sluice.problems import told

        names = told.back(answer) if isinstance(answer, str) else answer
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise ValueError("must be a list of labels")
        if strange := sorted(set(names) - set(labels)):
            raise ValueError(f"has {strange[0]!r}, which is no label of this model ({', '.join(labels[:20])})")
        return told.plain(names)

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        from sluice.problems.of_sets import MicroF1, RowF1, SetLoss, WholeSet

        every = (
            MicroF1("micro_f1", self.name, "higher"),
            RowF1("row_f1", self.name, "higher"),
            WholeSet("exact_match", self.name, "higher"),
            SetLoss("mean_log_loss", self.name, "lower"),
        )
        return {m.name: m for m in every}

    def constant(self, targets: np.ndarray, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """Each label's share; of metrics of sets those labels throughout that together reach the best F1 on the training rows."""
        shares = targets.mean(axis=0)
        if metric == "mean_log_loss":
            return "each label's share of the training rows", np.asarray(shares)
        order = np.argsort(-shares, kind="stable")
        counts = np.arange(1, len(order) + 1)
        best = int(np.argmax(2 * np.cumsum(shares[order]) / (counts + shares.sum()))) + 1
        chosen = np.zeros(len(labels))
        chosen[order[:best]] = 1.0
        return f"answering {', '.join(repr(labels[i]) for i in order[:best][:3])}{' and more' * (best > 3)} throughout", chosen

    def scale(self, reference: np.ndarray) -> float:
        return 1.0

    def change(self, outputs: np.ndarray, base: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The largest difference of a probability."""
        found: np.ndarray = np.abs(outputs.astype(np.float64) - base).max(axis=1)
        return found

    def agreement(self, outputs: np.ndarray, others: np.ndarray, labels: Sequence[str], rule: Rule | None, reference: np.ndarray) -> float:
        from sluice.problems.of_sets import answered

        return float((answered(outputs) == answered(others)).all(axis=1).mean())

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """``sets``: each label's precision, recall and F1 (0 where there is nothing to divide by), and its rows."""
        from sluice.problems.of_sets import answered

        said, true = answered(a.outputs), a.targets > 0.5
        hit, named, there = ((x).sum(axis=0) for x in (said & true, said, true))
        rows = zip(labels, hit.tolist(), named.tolist(), there.tolist(), strict=True)
        return {
            "sets": [
                {"label": n, "precision": h / max(s, 1), "recall": h / max(t, 1), "f1": 2 * h / max(s + t, 1), "support": t}
                for n, h, s, t in rows
            ]
        }

    def section(self, found: Mapping[str, Any]) -> str:
        """Each label's scores, the worst first."""
        return f"<h3>Each label by itself</h3>{scores(found['sets'], 'rows')}"

    def told(self, outputs: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
        """``labels``: those answered, the likeliest first, with `BETWEEN` between them."""
        from sluice.problems.of_sets import answered

        out = np.empty(len(outputs), dtype=object)
        for i, (row, said) in enumerate(zip(outputs, answered(outputs), strict=True)):
            out[i] = BETWEEN.join(labels[k] for k in np.argsort(-row, kind="stable") if said[k])
        return {"labels": out}

    def observed(self, outputs: np.ndarray) -> np.ndarray:
        """How many labels are answered."""
        from sluice.problems.of_sets import answered

        return answered(outputs).sum(axis=1).astype(np.float64)


def scores(found: Sequence[Mapping[str, Any]], counted: str) -> str:
    """A table of labels with their precision, recall and F1, the worst first.

    Args:
        found: ``label``, ``precision``, ``recall``, ``f1`` and ``support`` each.
        counted: what the support is a number of.
    """
    rows = sorted(found, key=lambda s: (s["f1"], s["label"]))[:50]
    cells = "".join(
        f"<tr><td>{escape(s['label'])}</td>"
        + "".join(f'<td class="n">{s[k]:.3f}</td>' for k in ("precision", "recall", "f1"))
        + f'<td class="n">{s["support"]:,}</td></tr>'
        for s in rows
    )
    head = f'<tr><th>label</th><th class="n">precision</th><th class="n">recall</th><th class="n">F1</th><th class="n">{counted}</th></tr>'
    more = f'<p class="note">the worst 50 of {len(found):,} labels</p>' if len(found) > len(rows) else ""
    return f'<div class="scroll" tabindex="0"><table><thead>{head}</thead><tbody>{cells}</tbody></table></div>{more}'
