"""Differences of named things with their intervals, one below the other, about a line that says nothing differs."""

from __future__ import annotations

from collections.abc import Sequence

from sluice.report import svg

_ROW, _LEFT = 22, 340


def forest(items: Sequence[tuple[str, float, float | None, float | None, bool]], title: str, bound: float | None = None) -> str:
    """A point and a line over its interval each; those that are refused in the colour of what is bad.

    Args:
        items: name, value, its limits (None where there are none), and whether it is refused.
        title: what the values are.
        bound: where a line is drawn beside that at 0.
    """
    ends = [v for _, value, low, high, _ in items for v in (value, low, high) if v is not None]
    if not ends:
        return ""
    x = (min(0.0, *ends, bound or 0.0), max(0.0, *ends, bound or 0.0))
    plot = svg.Plot(x, (0, len(items)), width=760, height=52 + _ROW * len(items), left=_LEFT, top=16).axes(title, y_ticks=False)
    plot.rule(x=0)
    if bound:
        plot.rule(x=bound, text="bound", colour="var(--bad)", before=True)
    for i, (name, value, low, high, bad) in enumerate(items):
        y, colour = plot.py(len(items) - i - 0.5), "var(--bad)" if bad else svg.COLOURS[0]
        plot.parts.append(f'<text x="{_LEFT - 8}" y="{y + 3.5:.1f}" text-anchor="end">{svg.short(name, 56)}</text>')
        if low is not None and high is not None:
            plot.parts.append(
                f'<line x1="{plot.px(low):.1f}" x2="{plot.px(high):.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-width="2"/>'
            )
        said = f"{name}: {svg.number(value)}" + (f" ({svg.between(low, high)})" if low is not None else "")
        plot.dot(value, len(items) - i - 0.5, colour, said)
    return plot.wide(title)
