"""What an evaluation of forecasts says beside its metrics, and how the report draws it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from sluice.problems.answers import Answers
from sluice.problems.of_forecasts import MIDDLE, NOMINAL, Coverage, truth

#: Series drawn, times before a forecast that are drawn, and series listed with the largest errors.
_DRAWN, _PAST, _WORST = 6, 48, 8


def details(a: Answers, config: Any) -> dict[str, Any]:
    """Plain JSON: ``horizon``, ``coverage`` {value, low, high, nominal}, ``steps`` [{step, mase, naive, coverage}], ``series`` (those with the largest
    errors) [{name, mase, rows}], ``examples`` [{name, past, true, low, middle, high, naive}]."""
    t = truth(a)
    error = np.abs(t.values - a.outputs[:, :, MIDDLE]) / t.scale
    plain = np.abs(t.values - t.naive) / t.scale
    inside = (t.values >= a.outputs[:, :, 0]) & (t.values <= a.outputs[:, :, -1])
    known = ~np.isnan(t.values)
    steps = [
        {
            "step": h + 1,
            "mase": _mean(error[:, h], known[:, h]),
            "naive": _mean(plain[:, h], known[:, h]),
            "coverage": _mean(inside[:, h].astype(np.float64), known[:, h]),
        }
        for h in range(a.outputs.shape[1])
    ]
    covered = Coverage("coverage", "series_forecast", "higher")
    limits = covered.interval(a, config.confidence, config.resamples)
    return {
        "horizon": a.outputs.shape[1],
        "coverage": {
            "value": covered.value(a),
            "low": limits[0] if limits else None,
            "high": limits[1] if limits else None,
            "nominal": NOMINAL,
        },
        "steps": steps,
        "series": _worst(a, error),
        "examples": _examples(a),
    }


def _mean(values: np.ndarray, known: np.ndarray) -> float | None:
    return float(values[known].mean()) if known.any() else None


def _names(a: Answers) -> tuple[str, ...]:
    return tuple(getattr(a.units, "names", ()))


def _worst(a: Answers, error: np.ndarray) -> list[dict[str, Any]]:
    """The series with the largest errors, worst first; nothing where units are no series."""
    names = _names(a)
    if a.units is None or not names:
        return []
    rows = np.nan_to_num(np.nanmean(np.where(np.isnan(error).all(axis=1)[:, None], 0.0, error), axis=1))
    sizes = a.units.sizes()
    means = a.units.sums(rows) / sizes
    return [{"name": names[i], "mase": float(means[i]), "rows": int(sizes[i])} for i in np.argsort(-means, kind="stable")[:_WORST].tolist()]


def _examples(a: Answers) -> list[dict[str, Any]]:
    """The newest forecast of a few series, evenly chosen; of one series a few of its forecasts."""
    names, t = _names(a), truth(a)
    if a.units is not None and names:
        last = {int(code): row for row, code in enumerate(a.units.codes)}
        rows = [last[code] for code in sorted(last)]
    else:
        rows = list(range(len(a.targets)))
    chosen = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(_DRAWN, len(rows))).astype(np.int64))]
    return [
        {
            "name": names[int(a.units.codes[i])] if a.units is not None and names else f"forecast {i + 1} of {len(a.targets)}",
            "past": _plain(t.past[i, -_PAST:]),
            "true": _plain(t.values[i]),
            "low": _plain(a.outputs[i, :, 0]),
            "middle": _plain(a.outputs[i, :, MIDDLE]),
            "high": _plain(a.outputs[i, :, -1]),
            "naive": _plain(t.naive[i]),
        }
        for i in chosen
    ]


def _plain(values: np.ndarray) -> list[float | None]:
    """Seven digits are more than a picture shows."""
    return [float(f"{v:.7g}") if np.isfinite(v) else None for v in values.tolist()]


def drawn(found: Mapping[str, Any]) -> str:
    """Pictures and tables of what `details` found."""
    from sluice.report import svg
    from sluice.report.tables import table

    c = found["coverage"]
    limits = f" ({svg.between(c['low'], c['high'], 3)})" if c["low"] is not None else ""
    out = f"<h3>Forecasts and what came</h3><p class='note'>The band is to hold {c['nominal']:.0%} of the values; it holds {c['value']:.1%}{limits}.</p>"
    out += f'<div class="grid2">{"".join(map(_example, found["examples"]))}</div>'
    lines = {
        name: [(float(s["step"]), float(s[key])) for s in found["steps"] if s[key] is not None]
        for name, key in (("forecast", "mase"), ("seasonal naive", "naive"))
    }
    share = {
        "in the band": [(float(s["step"]), float(s["coverage"])) for s in found["steps"] if s["coverage"] is not None],
        f"{c['nominal']:.0%}": [(float(s["step"]), float(c["nominal"])) for s in found["steps"]],
    }
    error, held = svg.lines(lines, "steps ahead", "MASE"), svg.lines(share, "steps ahead", "share of the values")
    out += f'<h3>Error, and values in the band, by step</h3><div class="grid2">{error}{held}</div>'
    if found["series"]:
        rows = [(s["name"], s["mase"], s["rows"]) for s in found["series"]]
        out += f"<h3>Series with the largest errors</h3>{table(('series', 'MASE', 'forecasts'), rows, (1, 2))}"
    return out


def _example(e: Mapping[str, Any]) -> str:
    """One forecast: its past, the band, the middle, the naive forecast, and what came."""
    from sluice.report import svg

    lists = [e[k] for k in ("past", "true", "low", "middle", "high")]
    every = [v for values in lists for v in values if v is not None]
    n = len(e["past"])
    pad = (max(every) - min(every)) * 0.06
    plot = svg.Plot((-float(n - 1), float(len(e["middle"]))), (min(every) - pad, max(every) + pad), height=190).axes("steps")
    plot.band([(h + 1.0, low, high) for h, (low, high) in enumerate(zip(e["low"], e["high"], strict=True))], svg.COLOURS[0])
    plot.line([(float(i - n + 1), v) for i, v in enumerate(e["past"]) if v is not None], svg.COLOURS[4])
    plot.line([(h + 1.0, v) for h, v in enumerate(e["naive"]) if v is not None], svg.COLOURS[4], dash="2 3")
    plot.line([(h + 1.0, v) for h, v in enumerate(e["middle"]) if v is not None], svg.COLOURS[0])
    plot.line([(h + 1.0, v) for h, v in enumerate(e["true"]) if v is not None], svg.COLOURS[1])
    keys = (("past", 4), ("forecast and its band", 0), ("what came", 1))
    legend = "".join(f'<span><i style="background:{svg.COLOURS[i]}"></i>{name}</span>' for name, i in keys)
    legend += '<span><i class="dash"></i>seasonal naive</span>'
    name = escape(svg.cut(e["name"], 60))
    return f'<figure><figcaption>{name}</figcaption>{plot.svg(e["name"])}<div class="legend">{legend}</div></figure>'
