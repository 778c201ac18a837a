"""Charts as inline SVG: no scripts, no fonts, readable in light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

Point = tuple[float, float]
COLOURS = ("var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)")


def number(value: float | None, digits: int = 4) -> str:
    """A number as people write it: ``0.9833``, ``12,300``, ``1.2e-07``."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1e6 or abs(value) < 1e-4:
        return f"{value:.{digits - 2}e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def between(low: float | None, high: float | None, digits: int = 4) -> str:
    """Two limits with as many decimals each, so that they are compared at a glance: ``0.9568 to 0.9850``; none is rounded to 0."""
    plain = f"{number(low, digits)} to {number(high, digits)}"
    if low is None or high is None or not math.isfinite(most := max(abs(low), abs(high))) or not 1e-3 <= most < 1000:
        return plain
    shown = [f"{v:.{_places(most, digits)}f}" for v in (low, high)]
    if any(float(text) == 0 != v for text, v in zip(shown, (low, high), strict=True)):
        return plain
    fewer = min(len(text) - len(text.rstrip("0")) for text in shown if float(text) != int(float(text))) if _fractions(shown) else 0
    return " to ".join(number(float(t)) if float(t) == int(float(t)) else t[: len(t) - fewer] for t in shown)


def _fractions(shown: Sequence[str]) -> bool:
    return any(float(t) != int(float(t)) for t in shown)


def signed(value: float, digits: int = 4) -> str:
    """A difference, its direction said: ``+0.0338``, ``-1,235``."""
    size = abs(value)
    if not size:
        return "0"
    text = f"{size:.{_places(size, digits)}f}" if 1e-3 <= size < 1000 and size != int(size) else number(size, digits)
    return f"{'-' if value < 0 else '+'}{text}"


def _places(size: float, digits: int) -> int:
    """Decimals of numbers up to `size`: as many as have `digits` digits in all, for shares (0.01 to 1) as many as `digits`."""
    exponent = math.floor(math.log10(size)) if size < 1 else math.ceil(math.log10(size)) - 1
    return digits - 1 - (max(exponent, -1) if exponent >= -2 else exponent + 1)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers inside [low, high]; `[low]` where there is none."""
    if not high > low:
        return [low]
    raw = (high - low) / max(count - 1, 1)
    unit = 10 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= raw - 1e-12)
    first = math.ceil(low / step - 1e-9)
    found = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
    # Where the span is near the spacing of floats, rounding may carry a tick outside, or several to one number.
    slack = (high - low) * 1e-6
    return list(dict.fromkeys(t for t in found if low - slack <= t <= high + slack)) or [low]


def short(text: str, most: int) -> str:
    """Text for an SVG, escaped: of more than `most` characters its beginning, and the whole as its tooltip."""
    return escape(text) if len(text) <= most else f"{escape(text[: most - 1])}…<title>{escape(text)}</title>"


def cut(text: str, most: int) -> str:
    """Text for a page, not yet escaped: of more than `most` characters its beginning, and how many more there are."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


class Plot:
    """Axes in pixels: data go in, SVG text comes out."""

    def __init__(
        self, x: Point, y: Point, width: int = 460, height: int = 220, left: int = 52, bottom: int = 34, top: int = 14, right: int = 14
    ):
        self.x, self.y, self.width, self.height = _widen(x), _widen(y), width, height
        self.box = (left, top, width - right, height - bottom)
        self.parts: list[str] = []

    def px(self, value: float) -> float:
        """Pixels from the left of a value on the x axis."""
        left, _, right, _ = self.box
        return left + (value - self.x[0]) / (self.x[1] - self.x[0]) * (right - left)

    def py(self, value: float) -> float:
        """Pixels from the top of a value on the y axis."""
        _, top, _, bottom = self.box
        return bottom - (value - self.y[0]) / (self.y[1] - self.y[0]) * (bottom - top)

    def axes(self, x_label: str = "", y_label: str = "", *, x_ticks: bool = True, y_ticks: bool = True, whole: bool = False) -> Plot:
        """Both axes with their ticks and names; `whole`: between two numbers of x that are counted there is none."""
        left, top, right, bottom = self.box
        for v in ticks(*self.y, 4) if y_ticks else ():
            y = self.py(v)
            self.parts.append(
                f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text x="{left - 6}" y="{y + 3.5:.1f}" text-anchor="end">{number(v, 3)}</text>'
            )
        for v in [t for t in ticks(*self.x, 6) if not whole or t == int(t)] if x_ticks else ():
            self.parts.append(f'<text x="{self.px(v):.1f}" y="{bottom + 15}" text-anchor="middle">{number(v, 3)}</text>')
        self.parts.append(f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        if x_label:
            self.parts.append(
                f'<text class="label" x="{(left + right) / 2}" y="{self.height - 4}" text-anchor="middle">{escape(x_label)}</text>'
            )
        if y_label:
            self.parts.append(
                f'<text class="label" transform="translate(11 {(top + bottom) / 2}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
            )
        return self

    def line(self, points: Sequence[Point], colour: str, *, step: bool = False, dots: bool = False, dash: str = "") -> Plot:
        """A line through points in data units, or steps between them."""
        known = [(self.px(a), self.py(b)) for a, b in points if math.isfinite(b)]
        path = ""
        for i, (a, b) in enumerate(known):
            path += f"M{a:.1f} {b:.1f}" if i == 0 else (f"H{a:.1f}V{b:.1f}" if step else f"L{a:.1f} {b:.1f}")
        self.parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        if dots:
            self.parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.6" fill="{colour}"/>' for a, b in known]
        return self

    def band(self, points: Sequence[tuple[float, float, float]], colour: str) -> Plot:
        """The area between two lines: (x, low, high) each."""
        there = [(self.px(x), self.py(low), self.py(high)) for x, low, high in points]
        path = "L".join([*(f"{x:.1f} {a:.1f}" for x, a, _ in there), *(f"{x:.1f} {b:.1f}" for x, _, b in reversed(there))])
        self.parts.append(f'<path d="M{path}Z" fill="{colour}" fill-opacity="0.18"/>')
        return self

    def bar(self, x0: float, x1: float, height: float, colour: str, title: str = "") -> Plot:
        """A bar between two values of x, from 0 up."""
        a, b, top, base = self.px(x0), self.px(x1), self.py(height), self.py(max(self.y[0], 0))
        self.parts.append(
            f'<rect x="{a + 0.5:.1f}" y="{top:.1f}" width="{max(b - a - 1, 0.5):.1f}" height="{max(base - top, 0):.1f}" '
            f'fill="{colour}"><title>{escape(title)}</title></rect>'
        )
        return self

    def dot(self, x: float, y: float, colour: str, title: str) -> Plot:
        """A point, with a text for whoever points at it."""
        self.parts.append(
            f'<circle cx="{self.px(x):.1f}" cy="{self.py(y):.1f}" r="6" fill="{colour}" stroke="var(--card)" stroke-width="1.5">'
            f"<title>{escape(title)}</title></circle>"
        )
        return self

    def rule(
        self, *, x: float | None = None, y: float | None = None, text: str = "", colour: str = "var(--muted)", before: bool = False
    ) -> Plot:
        """A line across the plot at a value of one axis."""
        left, top, right, bottom = self.box
        if x is not None:
            p = self.px(x)
            self.parts.append(
                f'<line x1="{p:.1f}" x2="{p:.1f}" y1="{top}" y2="{bottom}" stroke="{colour}" stroke-dasharray="4 3"/>'
                f'<text x="{p + (-4 if before else 4):.1f}" y="{top - 2}" text-anchor="{"end" if before else "start"}">{escape(text)}</text>'
            )
        if y is not None:
            p = self.py(y)
            self.parts.append(
                f'<line x1="{left}" x2="{right}" y1="{p:.1f}" y2="{p:.1f}" stroke="{colour}" stroke-dasharray="4 3"/>'
                f'<text x="{right}" y="{p - 4:.1f}" text-anchor="end">{escape(text)}</text>'
            )
        return self

    def wide(self, name: str) -> str:
        """The picture of a plot too wide for a phone: there it scrolls and stays legible."""
        return f'<figure class="wide" tabindex="0" role="group" aria-label="{escape(name, quote=True)}">{self.svg(name)}</figure>'

    def svg(self, name: str) -> str:
        """The picture as inline SVG; `name` is what those hear who do not see it."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(name, quote=True)}" '
            f'style="max-width:{self.width}px">{"".join(self.parts)}</svg>'
        )


def _widen(span: Point) -> Point:
    low, high = span
    return (low, high) if high > low else (low - max(0.5, abs(low) * 0.01), low + max(0.5, abs(low) * 0.01))


def legend(names: Sequence[str], more: str = "") -> str:
    """Names of lines beside their colours."""
    items = "".join(f'<span><i style="background:{COLOURS[i % len(COLOURS)]}"></i>{escape(n)}</span>' for i, n in enumerate(names))
    return f'<div class="legend">{items}{more}</div>'


def lines(
    series: dict[str, list[Point]],
    x_label: str,
    y_label: str = "",
    *,
    mark: float | None = None,
    mark_text: str = "",
    band: Sequence[tuple[float, float, float]] = (),
    band_name: str = "",
) -> str:
    """Curves over a common x; `band`: (x, low, high) each, drawn behind them in the first one's colour."""
    series = {k: [p for p in v if math.isfinite(p[1])] for k, v in series.items()}
    series = {k: v for k, v in series.items() if v}
    if not series:
        return ""
    every = [p for v in series.values() for p in v] + [(x, y) for x, *limits in band for y in limits]
    plot = Plot((min(p[0] for p in every), max(p[0] for p in every)), _padded([p[1] for p in every]))
    plot.axes(x_label, y_label, whole=all(p[0] == int(p[0]) for p in every))
    if mark is not None:
        plot.rule(x=mark, text=mark_text, before=plot.px(mark) > 0.8 * plot.width)
    if band:
        plot.band(band, COLOURS[0])
    for i, points in enumerate(series.values()):
        plot.line(points, COLOURS[i % len(COLOURS)], dots=len(points) <= 40)
    more = f'<span><i style="background:{COLOURS[0]};opacity:.3"></i>{escape(band_name)}</span>' if band else ""
    return f"<figure>{plot.svg(y_label or x_label)}{legend(list(series), more)}</figure>"


def _padded(values: Sequence[float]) -> Point:
    low, high = min(values), max(values)
    pad = (high - low) * 0.06 or abs(high) * 0.05 or 0.5
    return (low - pad if low < 0 or low - pad > 0 else 0.0, high + pad)


def histogram(edges: Sequence[float], counts: Sequence[float], x_label: str = "", *, small: bool = False) -> str:
    """Counts between consecutive edges."""
    if len(edges) < 2 or not any(counts):
        return ""
    size = {"width": 190, "height": 62, "left": 4, "bottom": 16, "top": 4, "right": 4} if small else {}
    plot = Plot((edges[0], edges[-1]), (0, max(counts)), **size).axes(x_label, y_ticks=not small, x_ticks=not small)
    for a, b, n in zip(edges, edges[1:], counts, strict=False):
        plot.bar(a, b, n, COLOURS[0], f"{number(a)} to {number(b)}: {number(n)}")
    if small:
        for v, anchor in ((edges[0], "start"), (edges[-1], "end")):
            plot.parts.append(f'<text x="{plot.px(v):.1f}" y="60" text-anchor="{anchor}">{number(v, 3)}</text>')
    return plot.svg(x_label or "histogram")


def rows_of_bars(
    items: Sequence[tuple[str, float]], *, total: float | None = None, limit: int = 12, of: int | None = None, rest: str = ""
) -> str:
    """Named amounts as horizontal bars, in HTML so that long names wrap.

    Args:
        limit: how many are drawn; how many are not is said.
        of: how many there are, where `items` is a part of them.
        rest: where the others are, in words.
    """
    if not items:
        return ""
    most = max(v for _, v in items) or 1
    shown = "".join(
        f'<div class="hbar"><span title="{escape(n)}">{escape(n)}</span><b style="width:{100 * v / most:.1f}%"></b>'
        f"<em>{number(v)}{f' ({100 * v / total:.1f} %)' if total else ''}</em></div>"
        for n, v in items[:limit]
    )
    left = max(of or 0, len(items)) - min(limit, len(items))
    more = f'<div class="note">and {left:,} more{f": {escape(rest)}" if rest else ""}</div>' if left > 0 else ""
    return f'<div class="hbars">{shown}{more}</div>'


def confusion(labels: Sequence[str], matrix: Sequence[Sequence[int]], limit: int = 30) -> str:
    """Rows are the truth, columns the prediction; colour is the share of the row. Beyond `limit` labels: the worst ones."""
    keep = list(range(len(labels)))
    if len(labels) > limit:
        wrong = [sum(r) - r[i] + sum(row[i] for row in matrix) - matrix[i][i] for i, r in enumerate(matrix)]
        keep = sorted(sorted(keep, key=lambda i: -wrong[i])[:limit])
    cell = 56 if len(keep) <= 5 else 36 if len(keep) <= 12 else 16
    left = 8 + 7 * min(max(len(str(labels[i])) for i in keep), 18)
    size = cell * len(keep)
    parts = []
    for r, i in enumerate(keep):
        total = sum(matrix[i]) or 1
        parts.append(f'<text x="{left - 6}" y="{r * cell + cell / 2 + 4}" text-anchor="end">{short(str(labels[i]), 18)}</text>')
        for c, j in enumerate(keep):
            n = matrix[i][j]
            share = n / total
            colour = "var(--good)" if i == j else "var(--bad)"
            parts.append(
                f'<rect x="{left + c * cell}" y="{r * cell}" width="{cell - 1}" height="{cell - 1}" fill="{colour}" '
                f'fill-opacity="{0.08 + 0.92 * share if n else 0.04:.3f}"><title>{escape(str(labels[i]))} read as '
                f"{escape(str(labels[j]))}: {n} of {total}</title></rect>"
            )
            if n and cell >= 30:
                ink = "var(--on)" if share > 0.55 else "currentColor"
                middle = left + c * cell + cell / 2 - 0.5
                parts.append(
                    f'<text x="{middle}" y="{r * cell + cell / 2 - 2}" text-anchor="middle" style="fill:{ink}" pointer-events="none">{n}</text>'
                    f'<text x="{middle}" y="{r * cell + cell / 2 + 10}" text-anchor="middle" style="fill:{ink};font-size:9px" '
                    f'pointer-events="none">{share:.0%}</text>'
                )
    for c, j in enumerate(keep):
        x = left + c * cell + cell / 2 + 3
        parts.append(f'<text transform="translate({x} {size + 8}) rotate(-60)" text-anchor="end">{short(str(labels[j]), 18)}</text>')
    height = size + 12 + (left if len(keep) else 0)
    note = f'<div class="note">the {limit} labels with most confusions, of {len(labels)}</div>' if len(labels) > limit else ""
    return (
        f'<figure><svg viewBox="0 0 {left + size + 4} {height}" style="max-width:{left + size + 4}px" role="img" '
        f'aria-label="confusion matrix">{"".join(parts)}</svg><div class="note">rows: truth, columns: answer; share of the row</div>{note}</figure>'
    )


def reliability(bins: Sequence[dict[str, float]]) -> str:
    """Accuracy against confidence; the diagonal is a calibrated model, a dot's size its rows."""
    known = [b for b in bins if b.get("rows")]
    if not known:
        return ""
    most = max(b["rows"] for b in known)
    plot = Plot((0, 1), (0, 1), width=300, height=250).axes("confidence", "accuracy").line([(0, 0), (1, 1)], "var(--muted)", dash="4 3")
    for b in known:
        radius = 3 + 9 * math.sqrt(b["rows"] / most)
        plot.parts.append(
            f'<circle cx="{plot.px(b["confidence"]):.1f}" cy="{plot.py(b["accuracy"]):.1f}" r="{radius:.1f}" fill="{COLOURS[0]}" '
            f'fill-opacity=".65"><title>confidence {b["confidence"]:.3f}, accuracy {b["accuracy"]:.3f}, {b["rows"]} rows</title></circle>'
        )
    return f"<figure>{plot.svg('calibration')}</figure>"


def difference(value: float, low: float, high: float, margin: float, other: str = "champion") -> str:
    """A paired difference from another model with its interval, against zero and the margin: red where it is refused."""
    reach = max(abs(low), abs(high), margin) * 1.25 or 0.01
    plot = Plot((-reach, reach), (0, 1), width=460, height=84, left=14, top=16).axes(f"candidate minus {other}", y_ticks=False)
    plot.rule(x=0, text="equal").rule(x=-margin, text="margin", colour="var(--bad)", before=True)
    colour = "var(--good)" if low >= -margin else "var(--bad)" if high < 0 and value < -margin else "var(--warn)"
    y = plot.py(0.35)
    plot.parts.append(
        f'<line x1="{plot.px(low):.1f}" x2="{plot.px(high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="4" stroke-linecap="round"/>'
        f'<circle cx="{plot.px(value):.1f}" cy="{y}" r="6" fill="{colour}"/>'
    )
    return f"<figure>{plot.svg(f'difference from the {other}')}</figure>"


def differences(items: Sequence[tuple[str, float, float, float]], title: str) -> str:
    """Paired differences (name, value, low, high) one under another, against zero: green above it, red below, else undecided."""
    reach = max(max(abs(low), abs(high)) for _, _, low, high in items) * 1.25 or 0.01
    plot = Plot((-reach, reach), (0, len(items)), width=460, height=60 + 34 * len(items), left=14, top=16).axes(title, y_ticks=False)
    plot.rule(x=0, text="equal")
    for i, (name, value, low, high) in enumerate(items):
        colour = "var(--good)" if low > 0 else "var(--bad)" if high < 0 else "var(--warn)"
        y = plot.py(len(items) - i - 0.65)
        plot.parts.append(
            f'<text x="{plot.px(-reach) + 4:.1f}" y="{y - 9:.1f}">{short(name, 60)}</text>'
            f'<line x1="{plot.px(low):.1f}" x2="{plot.px(high):.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-width="4" stroke-linecap="round"/>'
            f'<circle cx="{plot.px(value):.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'
        )
    return f"<figure>{plot.svg(title)}</figure>"
