"""The picture of a study: how it went, trial by trial, and what each setting did."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from sluice.report import svg
from sluice.report.page import document
from sluice.report.tables import Html, table

_SHOWN = 8


def study_page(name: str, e: dict[str, Any]) -> str:
    """One HTML file, nothing loaded from anywhere.

    Args:
        name: the project's.
        e: what `sluice.tuning.study.evidence` gives.
    """
    best = e["best"]
    head = (
        f"<header><h1>{escape(name)}: study {escape(e['study'])}</h1><div class=sub>{len(e['trials'])} trials · best {escape(e['metric'])} "
        f"{svg.number(best['value'])} in trial {best['number']}</div></header>"
    )
    body = f'<section><h2>Trials</h2><div class="grid2">{_history(e)}{_curves(e)}</div>{_settings(e)}{_table(e)}</section>'
    return document(f"{name}: study", head + body)


def _history(e: dict[str, Any]) -> str:
    done = [(float(t["number"]), float(t["value"])) for t in e["trials"] if t["state"] == "complete" and t["value"] is not None]
    if not done:
        return ""
    pick = min if e["direction"] == "minimize" else max
    so_far = [(n, pick(v for _, v in done[: i + 1])) for i, (n, _) in enumerate(done)]
    plot = _plot([n for n, _ in done], [v for _, v in done]).axes("trial", e["metric"], whole=True)
    plot.line(so_far, svg.COLOURS[1], step=True)
    _dots(plot, done, e)
    return f"<figure>{plot.svg('value of each trial')}{svg.legend(['a trial', 'best so far'])}</figure>"


def _curves(e: dict[str, Any]) -> str:
    """Each trial's metric over its epochs; those that were pruned end early."""
    curves = [(t, [(float(s), float(v)) for s, v in t["curve"]]) for t in e["trials"] if t["curve"]]
    if not curves:
        return ""
    every = [p for _, c in curves for p in c]
    plot = _plot([p[0] for p in every], [p[1] for p in every]).axes("epoch", e["metric"], whole=True)
    for t, points in sorted(curves, key=lambda c: c[0]["number"] == e["best"]["number"]):
        colour = "var(--good)" if t["number"] == e["best"]["number"] else svg.COLOURS[0] if t["state"] == "complete" else "var(--muted)"
        plot.line(points, colour, dots=len(points) == 1, dash="" if t["state"] == "complete" else "3 3")
    return f'<figure>{plot.svg("metric over epochs")}<div class="note">green: the best; dashed: pruned</div></figure>'


def _settings(e: dict[str, Any]) -> str:
    """The value against each setting, the most telling first."""
    done = [t for t in e["trials"] if t["state"] == "complete" and t["value"] is not None]
    every = sorted({k for t in done for k in t["params"]}, key=lambda k: (-e["importance"].get(k, 0.0), k))
    names = every[:_SHOWN]
    out = ""
    for name in names:
        values = [t["params"].get(name) for t in done]
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        log = numeric and min(values) > 0 and max(values) / min(values) >= 100
        kinds = sorted({str(v) for v in values})
        xs = [math.log10(v) if log else float(v) for v in values] if numeric else [float(kinds.index(str(v))) for v in values]
        plot = _plot(xs, [t["value"] for t in done])
        plot.axes(f"log10 {name}" if log else name, e["metric"], x_ticks=numeric)
        for i, kind in enumerate(() if numeric else kinds):
            plot.parts.append(f'<text x="{plot.px(i):.1f}" y="{plot.box[3] + 15}" text-anchor="middle">{svg.short(kind, 14)}</text>')
        _dots(plot, [(x, t["value"]) for x, t in zip(xs, done, strict=True)], e, [t["number"] for t in done])
        weight = f'<div class="note">importance {e["importance"][name]:.0%}</div>' if name in e["importance"] else ""
        out += f"<figure>{plot.svg(f'value against {name}')}{weight}</figure>"
    left = f'<p class="note">and {len(every) - _SHOWN} more settings, which told less: {escape(", ".join(every[_SHOWN:]))}; their values are in the table</p>'
    return f'<h3>Settings</h3><div class="grid2">{out}</div>{left if len(every) > _SHOWN else ""}' if out else ""


def _table(e: dict[str, Any]) -> str:
    names = sorted({k for t in e["trials"] for k in t["params"]})
    rows: list[list[Any]] = []
    for t in e["trials"]:
        number = Html(f'<b class="ok-text">{t["number"]}</b>') if t["number"] == e["best"]["number"] else t["number"]
        rows.append(
            [
                number,
                t["state"] if not t["error"] else f"diverged: {svg.cut(t['error'], 120)}",
                t["value"],
                *(t["params"].get(n) for n in names),
                t["seconds"],
            ]
        )
    head = ["trial", "state", e["metric"], *names, "seconds"]
    return f"<details open><summary>All trials</summary>{table(head, rows, (2, len(head) - 1))}</details>"


def _plot(xs: list[float], ys: list[float]) -> svg.Plot:
    low, high = min(ys), max(ys)
    pad = (high - low) * 0.08 or abs(high) * 0.05 or 0.5
    return svg.Plot((min(xs), max(xs)), (low - pad, high + pad))


def _dots(plot: svg.Plot, points: list[svg.Point], e: dict[str, Any], numbers: list[int] | None = None) -> None:
    for i, (x, y) in enumerate(points):
        number = numbers[i] if numbers else int(x)
        best = number == e["best"]["number"]
        plot.parts.append(
            f'<circle cx="{plot.px(x):.1f}" cy="{plot.py(y):.1f}" r="{5 if best else 3.2}" fill="{"var(--good)" if best else svg.COLOURS[0]}">'
            f"<title>trial {number}: {svg.number(y)}</title></circle>"
        )
