"""Two models side by side, as a notebook sees them."""

from __future__ import annotations

import contextlib
import dataclasses
from html import escape

from sluice.client import plot
from sluice.client.html import Html
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.registry.versions import Version
from sluice.report import svg

#: value, low, high; limits are null where the home has not the run that measured them
Measured = tuple[float, float | None, float | None]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two versions: metrics with their intervals on each one's own held-out rows, and the settings in which they differ.

    Attributes:
        a, b: the versions. metrics: name -> what `a` and `b` reach; null where one has no such metric.
        settings: key -> a's and b's; empty where they are the same. known: whether both versions' settings are known.
        same_rows: both were measured on the same data, so the numbers can be set against each other.
    """

    a: Version
    b: Version
    metrics: dict[str, tuple[Measured | None, Measured | None]]
    settings: dict[str, tuple[str, str]]
    known: bool
    same_rows: bool

    @property
    def difference(self) -> dict[str, float]:
        """b's metric less a's, of those both have."""
        return {n: y[0] - x[0] for n, (x, y) in self.metrics.items() if x and y}

    def plot(self, *names: str) -> Html:
        """Each metric with its intervals, one under another.

        Args:
            names: of metrics; default the first four both have.

        Raises:
            KeyError: there is no such metric.
        """
        chosen = names or tuple(n for n, (x, y) in self.metrics.items() if x and y)[:4]
        parts = [] if self.same_rows else ['<p class="note">Measured on different rows: the numbers cannot be set against each other.</p>']
        for name in chosen:
            points = [
                (_called(v), found[0], found[1], found[2], svg.COLOURS[i])
                for i, (v, found) in enumerate(zip((self.a, self.b), self.metrics[name], strict=True))
                if found
            ]
            if points:
                parts.append(f"<h3>{escape(name)}</h3>{plot.values(points, name, None)}")
        return Html("".join(parts))

    def __repr__(self) -> str:
        lines = [f"{_called(self.a)} and {_called(self.b)}" + ("" if self.same_rows else ", measured on different rows")]
        lines += [f"  {n}: {_said(x)}, {_said(y)}" for n, (x, y) in self.metrics.items()]
        lines += [f"  {k}: {x or '-'} -> {y or '-'}" for k, (x, y) in self.settings.items()]
        if not self.settings:
            lines.append("  settings: the same" if self.known else "  settings: not known, the tracking run is gone")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        a, b = escape(_called(self.a)), escape(_called(self.b))
        rows = [f"<tr><td>{escape(n)}<td>{_said(x)}<td>{_said(y)}</tr>" for n, (x, y) in self.metrics.items()]
        rows += [f"<tr><td>{escape(k)}<td>{escape(x)}<td>{escape(y)}</tr>" for k, (x, y) in self.settings.items()]
        return Html(f"<table><tr><th><th>{a}<th>{b}</tr>{''.join(rows)}</table>")._repr_html_()


def of(a: Version, b: Version, home: Home, settings: dict[str, tuple[str, str]], known: bool) -> Comparison:
    """The comparison of two versions, with the intervals of the runs in a home that made them."""
    limits = [_intervals(v, home) for v in (a, b)]
    names = [n for n in a.metrics if n in b.metrics] + sorted(set(a.metrics) ^ set(b.metrics))
    metrics = {
        n: (
            (a.metrics[n], *limits[0].get(n, (None, None))) if n in a.metrics else None,
            (b.metrics[n], *limits[1].get(n, (None, None))) if n in b.metrics else None,
        )
        for n in names
    }
    data = [v.tags.get("sluice.data") for v in (a, b)]
    return Comparison(a, b, metrics, settings, known, data[0] is not None and data[0] == data[1])


def _intervals(v: Version, home: Home) -> dict[str, tuple[float | None, float | None]]:
    for o in home.outcomes(v.model):
        if o.get("digest") == v.digest:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                found = Gate.read(home.runs / o["run"] / "gates" / "evaluate.json").evidence["evaluation"]["metrics"]
                return {n: (m.get("low"), m.get("high")) for n, m in found.items()}
    return {}


def _called(v: Version) -> str:
    return f"{v.model}@{v.number}" + (f" ({', '.join(v.aliases)})" if v.aliases else "")


def _said(found: Measured | None) -> str:
    if found is None:
        return "-"
    limits = f" ({svg.between(found[1], found[2])})" if found[1] is not None and found[2] is not None else ""
    return svg.number(found[0]) + limits
