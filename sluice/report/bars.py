"""Amounts of named things as horizontal bars, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sluice.report import svg

_ROW = 24


def bars(items: Sequence[tuple[str, float, float | None, float | None]], title: str) -> str:
    """A bar from 0 to each value, with a line over its interval; grey where the interval holds 0.

    Args:
        items: name, value, and its limits, None where there are none.
        title: what the values are.
    """
    ends = [v for _, value, low, high in items for v in (value, low, high) if v is not None]
    if not ends:
        return ""
    plot = svg.Plot((min(0.0, *ends), max(0.0, *ends)), (0, len(items)), width=460, height=44 + _ROW * len(items), left=150, top=6)
    plot.axes(title, y_ticks=False)
    for i, (name, value, low, high) in enumerate(items):
        y = plot.py(len(items) - i - 0.5)
        unsure = low is not None and high is not None and low <= 0 <= high
        a, b = sorted((plot.px(0), plot.px(value)))
        said = f"{name}: {svg.number(value)}" + (f" ({svg.between(low, high)})" if low is not None else "")
        plot.parts.append(
            f'<text x="{plot.box[0] - 6}" y="{y + 3.5:.1f}" text-anchor="end">{svg.short(name, 22)}</text>'
            f'<rect x="{a:.1f}" y="{y - 7:.1f}" width="{max(b - a, 0.5):.1f}" height="14" fill="{"var(--muted)" if unsure else svg.COLOURS[0]}">'
            f"<title>{escape(said)}</title></rect>"
        )
        if low is not None and high is not None:
            plot.parts.append(
                f'<line x1="{plot.px(low):.1f}" x2="{plot.px(high):.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" stroke-width="1.5"/>'
            )
    plot.rule(x=0)
    return f"<figure>{plot.svg(title)}</figure>"
