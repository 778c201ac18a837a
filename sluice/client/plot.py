"""A run in pictures: the deciding metric, the gates, what the rollout saw. Inline SVG of the report's own kind."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from html import escape
from typing import Any

from sluice.core.gate import Gate
from sluice.report import page, svg

Evidence = dict[str, Any]
#: What an e-value is drawn as at most: beyond it nobody doubts.
_MOST_E = 1e6


def pictures(outcome: dict[str, Any], gates: Sequence[Gate]) -> str:
    """HTML: as many of the three pictures as the run came to."""
    parts = [f"<h3>Gates</h3>{page.strip(outcome, list(gates), links=False)}"]
    for step, draw in (("evaluate", _evaluated), ("rollout", rollout)):
        found = next((g.evidence for g in gates if g.step == step), None)
        if found is not None:
            with contextlib.suppress(KeyError, TypeError, ValueError, IndexError, AttributeError):  # evidence that a log left out
                parts.append(draw(found))
    return "".join(parts)


def _evaluated(e: Evidence) -> str:
    found, compared, floor = e.get("evaluation") or {}, e.get("comparison") or {}, e.get("floor") or {}
    if found.get("value") is None:
        return ""
    metric = str(found["metric"])
    points: list[tuple[str, float, float | None, float | None, str]] = [
        ("this model", found["value"], found.get("low"), found.get("high"), svg.COLOURS[0])
    ]
    if compared.get("champion") is not None:
        points.append(("champion, on the same rows", compared["champion"], None, None, svg.COLOURS[1]))
    simple = floor.get("simple") or {}  # the trivial one is so far away that no interval could be seen beside it
    if simple.get("baseline") is not None:
        points.append((str(simple["name"]), simple["baseline"], None, None, "var(--muted)"))
    out = f"<h3>{escape(metric)}, {found.get('confidence', 0.95):.0%} interval, {found['rows']:,} held-out rows</h3>" + values(
        points, metric, found.get("minimum")
    )
    limits = [compared.get(k) for k in ("difference", "low", "high", "margin")]
    if None not in limits:
        out += svg.difference(*limits)  # type: ignore[arg-type]
        out += f'<p class="note">{escape(str(compared["verdict"]).replace("_", " "))}: {svg.number(compared["difference"])} ({svg.between(compared["low"], compared["high"])})</p>'
    return out


def values(points: Sequence[tuple[str, float, float | None, float | None, str]], metric: str, minimum: float | None) -> str:
    """Values one under another on one axis, each with its interval where it has one, and the bar."""
    every = [x for _, v, low, high, _ in points for x in (v, low, high) if x is not None] + ([minimum] if minimum is not None else [])
    pad = (max(every) - min(every)) * 0.12 or abs(every[0]) * 0.05 or 0.01
    span = (min(every) - pad, max(every) + pad)
    plot = svg.Plot(span, (0, len(points)), width=560, height=48 + 34 * len(points), left=14, top=16).axes(metric, y_ticks=False)
    if minimum is not None:
        plot.rule(x=minimum, text="evaluate.minimum", colour="var(--bad)", before=minimum > sum(span) / 2)
    for i, (name, value, low, high, colour) in enumerate(points):
        y = len(points) - i - 0.72
        plot.parts.append(
            f'<text x="{plot.px(span[0]) + 4:.1f}" y="{plot.py(y) - 10:.1f}">{svg.short(f"{name}: {svg.number(value)}", 60)}</text>'
        )
        if low is not None and high is not None:
            plot.line([(low, y), (high, y)], colour)
        plot.dot(value, y, colour, f"{name}: {svg.number(value)}" + (f" ({svg.between(low, high)})" if low is not None else ""))
    return f"<figure>{plot.svg(metric)}</figure>"


def rollout(e: Evidence) -> str:
    """A rollout as HTML: traffic to the candidate and the evidence, over seconds; "" for fewer than two points of time."""
    timeline: list[Evidence] = [at for at in e.get("timeline") or () if "t" in at]
    if len(timeline) < 2:
        return ""
    weights = {"% of the traffic to the candidate": [(float(at["t"]), float(at.get("weight") or 0)) for at in timeline]}
    out = f'<h3>Rollout</h3><div class="grid2">{svg.lines(weights, "seconds", "%")}'
    for key, title in (("e_worse", "evidence that it is worse, 10^"), ("e_within", "evidence that it is no worse than the margin, 10^")):
        curves: dict[str, list[svg.Point]] = {}
        for at in timeline:
            for test in at.get("tests") or ():
                if test.get(key) is not None:
                    strength = math.log10(min(max(float(test[key]), 1 / _MOST_E), _MOST_E))
                    curves.setdefault(str(test.get("metric")), []).append((float(at["t"]), strength))
        if curves:
            out += f"<div><p class=note>{title}</p>{svg.lines(curves, 'seconds')}</div>"
    last: list[Evidence] = next((at["tests"] for at in reversed(timeline) if at.get("tests")), [])
    known = [
        (f"{t['metric']}: {t.get('verdict', '')}", float(t["difference"]), float(t["low"]), float(t["high"]))
        for t in last
        if None not in (t.get("difference"), t.get("low"), t.get("high"))
    ]
    # More errors are worse: turned round, so that green is good here too.
    turned = [(name, -value, -high, -low) for name, value, low, high in known]
    return out + (svg.differences(turned, "share of answers by which it is better than stable") if turned else "") + "</div>"
