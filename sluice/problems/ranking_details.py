"""What a report says of a ranking beside its metrics: new users and known ones, the head and the tail of the items, and some rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.problems.of_lists import METRICS, came, hits
from sluice.problems.truth import Truth

if TYPE_CHECKING:
    from sluice.problems.answers import Answers

#: Lengths of a history, where the next group begins.
_LENGTHS = (0, 1, 5, 20, 100)
#: The head: the most popular items that together were taken so often; the others are the tail.
_HEAD_SHARE = 0.5
_PLACES, _ROWS = 10, 5


def details(a: Answers, labels: Sequence[str], config: Any) -> dict[str, Any]:
    """Plain JSON: ``histories`` (ndcg_10 with its interval by the length of the history), ``items`` (of the head and the tail: how many came, which
    share of them was found among the first ten, which share of the places they have), ``unknown`` (items that came and the model does not know),
    ``rows`` (the last items of a history, what was recommended, what came)."""
    truth = Truth(a.targets)
    return {
        "histories": _histories(a, truth, config),
        "items": _items(a, truth),
        "unknown": int((truth.codes == -2).sum()),
        "rows": _rows(a, truth, labels),
    }


def _histories(a: Answers, truth: Truth, config: Any) -> list[dict[str, Any]]:
    """Each group of lengths there are rows of; the metric is the first one."""
    out, metric = [], METRICS[0]
    edges = [*_LENGTHS, 1 << 62]
    for low, high in zip(edges, edges[1:], strict=False):
        rows = (truth.length >= low) & (truth.length < high)
        if rows.any():
            part = a.rows(rows)
            limits = metric.interval(part, config.confidence, config.resamples)
            name = "new users: 0" if not low else f"{low} to {high - 1}" if high < 1 << 62 else f"{low} or more"
            ends = {"low": limits[0] if limits else None, "high": limits[1] if limits else None}
            out.append({"history": name, "rows": int(rows.sum()), "value": metric.value(part), **ends})
    return out


def _items(a: Answers, truth: Truth) -> list[dict[str, Any]]:
    """The head and the tail, told apart by the bits of what came; none where these are not known."""
    there = truth.codes >= 0
    if not (truth.bits[there] > 0).any():
        return []
    # Half of what came has at most so many bits: the items of the head.
    most = float(np.quantile(truth.bits[there], _HEAD_SHARE))
    found = hits(a, _PLACES)
    places, bits = a.outputs[:, :_PLACES, 0] >= 0, a.outputs[:, :_PLACES, 2]
    out = []
    for name, came_here, listed in (
        ("the most popular items, half of what came", there & (truth.bits <= most), places & (bits <= most)),
        ("the other items (tail)", there & (truth.bits > most), places & (bits > most)),
    ):
        n = int(came_here.sum())
        out.append(
            {
                "items": name,
                "came": n,
                "found": float((found & listed).sum() / n) if n else None,
                "share": float(listed.sum() / max(1, places.sum())),
            }
        )
    return out


def _rows(a: Answers, truth: Truth, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Some rows with a history, evenly spaced; one without."""
    names = [*labels, "(unknown)", ""]
    known, new = np.flatnonzero(truth.length > 0), np.flatnonzero(truth.length == 0)
    chosen = [*known[np.linspace(0, len(known) - 1, min(_ROWS, len(known))).astype(int)].tolist(), *new[:1].tolist()] if len(known) else []
    found, total = hits(a, _PLACES), came(a)
    return [
        {
            "length": int(truth.length[i]),
            "last": [names[c] for c in truth.last[i].tolist() if c != -1],
            "recommended": [names[int(c)] for c in a.outputs[i, :_PLACES, 0].tolist() if c >= 0],
            "hits": found[i].tolist(),
            "came": int(total[i]),
        }
        for i in chosen
    ]


def section(found: Mapping[str, Any]) -> str:
    """The same as HTML."""
    from sluice.report.tables import Html, table

    def between(low: float | None, high: float | None) -> str:
        return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"

    out = "<h3>By the length of the history</h3>" + table(
        ["items before", "rows", "ndcg_10", "interval"],
        [[h["history"], h["rows"], h["value"], between(h["low"], h["high"])] for h in found["histories"]],
        numeric=(1, 2),
    )
    if found["items"]:
        out += "<h3>Popular items and the tail</h3>" + table(
            ["items", "came", "found among the first ten", "share of the places"],
            [[i["items"], i["came"], i["found"], i["share"]] for i in found["items"]],
            numeric=(1, 2, 3),
        )
    if found["unknown"]:
        out += f"<p>{found['unknown']:,} items that came are none the model knows: they count as missed.</p>"
    rows = []
    for r in found["rows"]:
        listed = ", ".join(f"<b>{escape(n)}</b>" if hit else escape(n) for n, hit in zip(r["recommended"], r["hits"], strict=False))
        before = f"… {', '.join(r['last'])} ({r['length']})" if r["length"] else "nothing (a new user)"
        rows.append([before, Html(listed), f"{sum(r['hits'])} of {r['came']}"])
    if rows:
        out += "<h3>Some users</h3>" + table(["took before (of how many)", "recommended; bold: what came", "hits"], rows)
    return out
