"""A classifier's answers in pictures: curves over every threshold, the threshold it has, who is taken for whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from sluice.report import svg
from sluice.report.tables import Html, cell, table

Evidence = dict[str, Any]
_SHOWN_RECALLS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def answered(found: Evidence) -> str:
    """How a probability becomes a label, and which label the metrics of one label are of."""
    rule, positive = found.get("decision"), found.get("positive")
    said = []
    if positive is not None:
        said.append(
            f"The positive label is <b>{escape(str(positive))}</b> ({escape(str(found.get('positive_because', '')))}): "
            "average precision, precision, recall and F1 are of it."
        )
    if rule is not None:
        said.append(
            f"<b>{escape(str(rule['label']))}</b> is answered where its probability is at least <b>{svg.number(rule['threshold'])}</b> "
            f"({escape(str(rule['aim']))} on the validation rows)."
        )
    elif positive is not None and len(found["confusion"]["labels"]) == 2:
        said.append("The more probable label is answered; <code>evaluate.decision</code> chooses a threshold.")
    return f'<p class="note">{" ".join(said)}</p>' if said else ""


def curves(found: Evidence) -> str:
    """ROC and precision against recall, with a table of both beside them for those who do not see pictures."""
    roc, pr = found.get("roc"), found.get("precision_recall")
    if not roc or not pr:
        return ""
    point = pr["point"]
    plot = svg.Plot((0, 1), (0, 1), width=400, height=300).axes("false positive rate (other rows named)", "true positive rate (recall)")
    plot.line([(0, 0), (1, 1)], "var(--muted)", dash="4 3")
    other = svg.Plot((0, 1), (0, 1), width=400, height=300).axes(
        "recall (rows of the label that are named)", "precision (rows named that are right)"
    )
    other.line([(0, pr["share"]), (1, pr["share"])], "var(--muted)", dash="4 3")
    for i, (ours, theirs) in enumerate(zip(_lines(roc, "fpr", "tpr"), _lines(pr, "recall", "precision"), strict=True)):
        plot.line(ours, svg.COLOURS[i])
        other.line(theirs, svg.COLOURS[i])
    if point:
        other.dot(
            point["recall"],
            point["precision"],
            "var(--bad)",
            f"what is answered: recall {point['recall']:.3f}, precision {point['precision']:.3f}",
        )
    names = [(f"{roc['of']}: {svg.number(roc['auc'])}", f"{pr['of']}: {svg.number(pr['area'])}")]
    if roc.get("macro") and pr.get("macro"):
        names.append((f"mean of the labels: {svg.number(roc['macro']['area'])}", f"mean of the labels: {svg.number(pr['macro']['area'])}"))
    chance = '<span><i class="dash"></i>by chance: 0.5</span>'
    more = f'<span><i class="dash"></i>all rows named: {svg.number(pr["share"], 3)}</span>'
    more += '<span><i class="dot"></i>what is answered</span>' if point else ""
    return (
        '<h3>Over every threshold</h3><div class="grid2">'
        f"<figure><figcaption>ROC curve, area under it</figcaption>{plot.svg('ROC curve')}{svg.legend([n[0] for n in names], chance)}</figure>"
        f"<figure><figcaption>Precision and recall, average precision</figcaption>{other.svg('precision against recall')}"
        f"{svg.legend([n[1] for n in names], more)}</figure></div>{_as_table(roc, pr)}"
    )


def _lines(curve: Evidence, x: str, y: str) -> list[list[svg.Point]]:
    found = [list(zip(curve[x], curve[y], strict=True))]
    return found + ([list(zip(curve["macro"]["x"], curve["macro"]["y"], strict=True))] if curve.get("macro") else [])


def _as_table(roc: Evidence, pr: Evidence) -> str:
    """The curves' numbers at round recalls, and what is answered."""
    rows: list[list[Any]] = []
    for recall in _SHOWN_RECALLS:
        at = next((i for i, r in enumerate(pr["recall"]) if r >= recall - 1e-9), None)
        alarm = next((f for f, t in zip(roc["fpr"], roc["tpr"], strict=True) if t >= recall - 1e-9), None)
        if at is not None and (not rows or pr["threshold"][at] != rows[-1][0]):
            rows.append([pr["threshold"][at], pr["recall"][at], pr["precision"][at], alarm])
    if pr["point"]:
        rows.append([Html("<b>what is answered</b>"), pr["point"]["recall"], pr["point"]["precision"], ""])
    shown = table(["probability of at least", "recall", "precision", "false positive rate"], rows, (0, 1, 2, 3))
    return f"<details><summary>The curves as a table ({escape(str(pr['of']))})</summary>{shown}</details>"


def confusion(matrix: Evidence) -> str:
    """The picture, and the same as a table with the share of each row."""
    labels, counts = matrix["labels"], matrix["matrix"]
    out = "<h3>Confusion matrix</h3>" + svg.confusion(labels, counts)
    if len(labels) > 12:
        return out
    rows = [[label, *(f"{n:,} ({n / (sum(row) or 1):.1%})" for n in row), sum(row)] for label, row in zip(labels, counts, strict=True)]
    shown = table(["truth \\ answer", *map(str, labels), "rows"], rows, range(1, len(labels) + 2))
    return f"{out}<details><summary>As a table</summary>{shown}</details>"


def per_label(rows: Sequence[Evidence]) -> str:
    """Each label's scores with their intervals, the weakest first."""
    if not rows:
        return ""
    score: Callable[[Evidence, str], Html] = lambda r, name: Html(cell(r[name]) + _range((r.get("intervals") or {}).get(name)))  # noqa: E731
    shown = table(
        ["label", "precision", "recall", "F1", "ROC AUC", "average precision", "rows"],
        [
            [r["label"], *(score(r, n) for n in ("precision", "recall", "f1")), r.get("roc_auc"), r.get("average_precision"), r["support"]]
            for r in sorted(rows, key=lambda r: r["f1"])
        ],
        (1, 2, 3, 4, 5, 6),
    )
    few = len(rows) <= 6
    return f"<details{' open' if few else ''}><summary>Per label, weakest first ({len(rows)})</summary>{shown}</details>"


def _range(limits: Sequence[float] | None) -> str:
    return f'<div class="note">{svg.between(limits[0], limits[1], 3)}</div>' if limits else ""
