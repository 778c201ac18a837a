"""The committed dashboards as pictures: every panel from a real Prometheus, laid out as Grafana lays them out, taken by a browser.

python -m tests.tools.dashboard_pictures OUT [--prometheus HOST:PORT] [--minutes N] [--docs FILE]

No Grafana is asked: what is drawn is ours, so a picture shows what a panel has to say (its lines, units, names and colours), not Grafana's own look.
Without --prometheus the programs of `tests/integration/monitoring` are started and watched for that long.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import Any

from sluice.report.svg import ticks
from tests.tools import dashboards

#: Of lines, one after another; of what a threshold says.
_LINES = ("#1f60c4", "#37872d", "#e0752d", "#8f3bb8", "#c4162a", "#0b7a75", "#9a7d0a", "#5c6670")
_COLOURS = {"green": "#1a7f37", "orange": "#b35900", "red": "#c62828", "blue": "#1f5fbf"}
#: Pixels: of the page, of a step of the grid down, between panels, below a plot for its names, left of it for its numbers.
_WIDTH, _STEP, _GAP, _NAMES, _LEFT = 1440, 30, 8, 44, 62
_HEAD = 930  # of a dashboard, down to its second row of graphs
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_SHORT, _PREFIX = ("", " K", " Mil", " Bil", " Tri"), ("", "k", "M", "G", "T")
_TIMES = ((86400.0, "days"), (3600.0, "hours"), (60.0, "mins"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SUFFIX = {"short": "", "reqps": " req/s", "ops": " ops/s", "percent": "%", "celsius": " °C"}
_PREFIXED = {"watt": "W", "hertz": "Hz"}
_STYLE = f"""
body {{ margin: 16px; width: {_WIDTH}px; font: 13px system-ui, sans-serif; background: #f4f5f5; color: #24292e }}
h1 {{ font-size: 20px }} .grid {{ display: grid; grid-template-columns: repeat(24, 1fr); grid-auto-rows: {_STEP}px; gap: {_GAP}px }}
.p {{ background: #fff; border: 1px solid #e1e2e3; border-radius: 2px; padding: 6px 8px; overflow: hidden; min-width: 0; display: flex; flex-direction: column }}
.p h2, .row {{ font-size: 13px; font-weight: 500; margin: 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }}
.row {{ align-self: end; font-weight: 600 }} .big {{ flex: 1; display: flex; align-items: center; justify-content: center; font-size: 30px; white-space: nowrap }}
.names {{ max-height: {_NAMES}px; overflow: hidden; font-size: 11px; line-height: 14px }} .names i {{ display: inline-block; width: 12px; height: 3px; margin: 0 4px 3px 8px }}
table {{ border-collapse: collapse; width: 100% }} td, th {{ text-align: left; padding: 4px 8px; border-bottom: 1px solid #e1e2e3 }} text {{ font-size: 11px; fill: #57606a }}
"""


def shown(value: float, unit: str) -> str:
    """A number as Grafana writes it in a unit of its own."""
    if unit == "percentunit":
        return f"{_three(100 * value)}%"
    if unit == "s":
        scale, name = next(((s, n) for s, n in _TIMES if abs(value) >= s), _TIMES[3] if value == 0 else _TIMES[-1])
        return f"{_three(value / scale)} {name}"
    if unit == "bytes":
        power = min(int(math.log(abs(value), 1024)) if abs(value) >= 1 else 0, len(_BINARY) - 1)
        return f"{_three(value / 1024**power)} {_BINARY[power]}"
    power = min(int(math.log10(abs(value)) / 3 + 1e-9) if abs(value) >= 1 else 0, len(_SHORT) - 1)
    size = _three(value / 1000**power)
    return f"{size} {_PREFIX[power]}{_PREFIXED[unit]}" if unit in _PREFIXED else f"{size}{_SHORT[power]}{_SUFFIX[unit]}"


def _three(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Asked:
    """A Prometheus over the last `minutes`."""

    def __init__(self, address: str, minutes: float):
        self.address, self.end = address, time.time()
        self.begin, self.step = self.end - 60 * minutes, max(1.0, 60 * minutes / 300)

    def get(self, path: str, **query: object) -> list[dict[str, Any]]:
        address = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=60) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def series(self, panel: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
        """By their names in the panel's legend."""
        out: dict[str, list[tuple[float, float]]] = {}
        for target in panel["targets"]:
            asked = dashboards.filled(target["expr"])
            for found in self.get("query_range", query=asked, start=self.begin, end=self.end, step=self.step):
                legend, labels = target.get("legendFormat") or "", found["metric"]
                name = re.sub(r"\{\{(\w+)\}\}", lambda m, labels=labels: labels.get(m[1], ""), legend) or json.dumps(labels)
                out[name] = [(float(t), float(v)) for t, v in found["values"] if math.isfinite(float(v))]
        return {k: v for k, v in out.items() if v}


def _time(panel: dict[str, Any], asked: Asked, width: float, height: float) -> str:
    series, defaults = asked.series(panel), panel["fieldConfig"]["defaults"]
    unit = defaults.get("unit", "short")
    if defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal":
        series = _stacked(series)
    values = [v for points in series.values() for _, v in points]
    low = min([defaults.get("min", math.inf), *values], default=0.0)
    high = max(values, default=1.0)
    if high <= low:
        low, high = (low, low + 1.0) if low == 0 else (low - abs(low) / 20, low + abs(low) / 20)
    down, across = height - 18, width - _LEFT

    def at(t: float, v: float) -> str:
        return f"{_LEFT + (t - asked.begin) / (asked.end - asked.begin) * across:.1f},{12 + (high - v) / (high - low) * (down - 18):.1f}"

    parts = []
    for tick in ticks(low, high, 4):
        x, y = at(asked.begin, tick).split(",")
        parts.append(f'<line x1="{x}" x2="{width}" y1="{y}" y2="{y}" stroke="#e1e2e3"/><text x="{_LEFT - 6}" y="{float(y) + 4}" ')
        parts.append(f'text-anchor="end">{escape(shown(tick, unit))}</text>')
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        moment = time.strftime("%H:%M:%S", time.gmtime(asked.begin + share * (asked.end - asked.begin)))
        parts.append(f'<text x="{_LEFT + share * across}" y="{height - 2}" text-anchor="{anchor}">{moment}</text>')
    for i, points in enumerate(series.values()):
        drawn = " ".join(at(*p) for p in points)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{_LINES[i % len(_LINES)]}" stroke-width="1.5"/>')
    nothing = "" if series else f'<text x="{width / 2}" y="{height / 2}" text-anchor="middle">No data</text>'
    return f'<svg width="{width}" height="{height}">{"".join(parts)}{nothing}</svg><div class="names">{_names(list(series))}</div>'


def _stacked(series: dict[str, list[tuple[float, float]]]) -> dict[str, list[tuple[float, float]]]:
    below: dict[float, float] = {}
    out = {}
    for name, points in series.items():
        for t, v in points:
            below[t] = below.get(t, 0.0) + v
        out[name] = [(t, below[t]) for t, _ in points]
    return out


def _names(names: list[str]) -> str:
    return "".join(f'<i style="background:{_LINES[i % len(_LINES)]}"></i>{escape(n)}' for i, n in enumerate(names))


def _stat(panel: dict[str, Any], asked: Asked, width: float, height: float) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    found = [points[-1][1] for points in asked.series(panel).values()]
    if not found:
        return f'<div class="big">{escape(defaults.get("noValue", "No data"))}</div>'
    steps = defaults["thresholds"]["steps"]
    colours = [next(s["color"] for s in reversed(steps) if s["value"] is None or v >= s["value"]) for v in found]
    said = " ".join(
        f'<span style="color:{_COLOURS[c]}">{escape(shown(v, defaults.get("unit", "short")))}</span>'
        for v, c in zip(found, colours, strict=True)
    )
    return f'<div class="big">{said}</div>'


def _table(panel: dict[str, Any], asked: Asked, width: float, height: float) -> str:
    hidden = panel["transformations"][0]["options"]["excludeByName"]
    rows = [found["metric"] for target in panel["targets"] for found in asked.get("query", query=dashboards.filled(target["expr"]))]
    head = sorted({k for row in rows for k in row} - set(hidden))
    body = "".join("<tr>" + "".join(f"<td>{escape(row.get(k, ''))}</td>" for k in head) + "</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{escape(k)}</th>' for k in head)}</tr>{body}</table>"


def _states(panel: dict[str, Any], asked: Asked, width: float, height: float) -> str:
    series = asked.series(panel)
    parts, tall = [], min(24.0, height / max(len(series), 1))
    for i, (name, points) in enumerate(series.items()):
        y = i * tall
        parts.append(f'<text x="0" y="{y + tall * 0.7}">{escape(name)}</text>')
        for t, _ in points:
            x = 180 + (t - asked.begin) / (asked.end - asked.begin) * (width - 180)
            step = asked.step / (asked.end - asked.begin) * (width - 180) + 0.5
            parts.append(f'<rect x="{x:.1f}" y="{y + 3}" width="{step:.1f}" height="{tall - 6}" fill="{_COLOURS["blue"]}"/>')
    return f'<svg width="{width}" height="{height}">{"".join(parts)}</svg>'


_DRAWN = {"timeseries": _time, "stat": _stat, "table": _table, "state-timeline": _states}


def page(board: dict[str, Any], asked: Asked) -> str:
    """A dashboard as HTML."""
    parts = []
    for panel in [p for row in board["panels"] for p in (row, *(row.get("panels") or ()))]:
        at = panel["gridPos"]
        place = f"grid-column:{at['x'] + 1}/span {at['w']};grid-row:{at['y'] + 1}/span {at['h']}"
        title = escape(panel.get("title") or "")
        if panel["type"] == "row":
            parts.append(f'<div class="row" style="{place}">▾ {title}</div>')
            continue
        width = at["w"] * (_WIDTH + _GAP) / 24 - _GAP - 18
        height = at["h"] * (_STEP + _GAP) - _GAP - 14 - 18 - (_NAMES if panel["type"] == "timeseries" else 0)
        parts.append(f'<div class="p" style="{place}"><h2>{title}</h2>{_DRAWN[panel["type"]](panel, asked, width, height)}</div>')
    title = escape(board["title"])
    return f'<!doctype html><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1><div class="grid">{"".join(parts)}</div>'


def main() -> int:
    from playwright.sync_api import sync_playwright

    from tests.integration.monitoring.test_queries import observed
    from tests.tools.ui_pictures import browser

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--prometheus", metavar="HOST:PORT", help="default: one of programs that are started here")
    parser.add_argument("--minutes", type=float, default=2.0, help="until now")
    parser.add_argument("--docs", type=Path, help="where the head of the dashboard Models goes too, small, for the documentation")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if (address := args.prometheus) is None:
            root = stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-pictures-"))
            address = stack.enter_context(observed(Path(root))).address
            time.sleep(60 * args.minutes)
        asked = Asked(address, args.minutes)
        pages = {name.removesuffix(".json"): page(board, asked) for name, board in dashboards.dashboards().items()}
    with sync_playwright() as playwright:
        chromium = browser(playwright)
        for name, html in pages.items():
            (args.out / f"{name}.html").write_text(html)
            view = chromium.new_page(viewport={"width": _WIDTH + 32, "height": 900})
            view.goto((args.out / f"{name}.html").absolute().as_uri())
            view.screenshot(path=args.out / f"{name}.png", full_page=True)
            view.close()
        chromium.close()
    if args.docs:
        small(args.out / "sluice-models.png", args.docs)
    return 0


def small(picture: Path, out: Path) -> None:
    """The head of a dashboard's picture, in few bytes."""
    from PIL import Image

    with Image.open(picture) as whole:
        head = whole.convert("RGB").crop((0, 0, whole.width, min(whole.height, _HEAD)))
    head.resize((_WIDTH * 3 // 4, head.height * _WIDTH * 3 // 4 // head.width), Image.Resampling.LANCZOS).quantize(256).save(
        out, optimize=True
    )


if __name__ == "__main__":
    sys.exit(main())
