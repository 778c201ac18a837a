"""What logs say, for people: tables that the terminal shows too, and pictures by hour."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from sluice.report import svg
from sluice.report.tables import table

Found = Mapping[str, Any]
Part = tuple[list[str], list[list[Any]], tuple[int, ...]]
_RATES = ["requests", "failed", "refused", "median ms", "p99 ms", "slow"]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.3g} %"


def _rates(r: Found) -> list[Any]:
    return [
        f"{r['requests']:,}",
        _percent(r["errors"]),
        _percent(r["refused"]),
        svg.number(r["p50"], 3),
        svg.number(r["p99"], 3),
        _percent(r["slow"]),
    ]


def _answers(r: Found) -> list[Any]:
    return [f"{r['rows']:,}", svg.number(r["confidence"], 3), f"{r['labelled']:,}", svg.number(r["off"], 3)]


def tables(found: Found) -> list[Part]:
    """All of which there is something."""
    parts: list[Part] = []
    access, predictions = found["access"], found["predictions"]
    if access:
        numbers = (2, 3, 4, 5, 6, 7)
        parts.append(
            (
                ["Requests by version", "model", "version", *_RATES],
                [[r["model"], r["version"], *_rates(r)] for r in access["by_version"]],
                numbers,
            )
        )
        parts.append(
            (["Requests by hour", "hour (UTC)", *_RATES], [[r["hour"], *_rates(r)] for r in access["by_hour"]], (1, 2, 3, 4, 5, 6))
        )
        for name, key in (("The slowest", "slowest"), ("The last that failed", "failed")):
            rows = [
                [r["time"], f"{r['model']} {r['version']}", r["status"], r["ms"], f"{r['bytes_in'] or 0:,}", r["request_id"]]
                for r in access[key]
            ]
            parts.append(([name, "at (UTC)", "model", "status", "ms", "bytes", "request"], rows, (2, 3, 4)))
        parts.append(
            (
                ["Clients whose requests fail", "client", "requests", "failed"],
                [[r["client"], r["requests"], _percent(r["failed"])] for r in access["clients"] if r["failed"]],
                (1, 2),
            )
        )
    if predictions:
        heads = ["rows", "mean confidence", "labelled", "wrong, or off by"]
        parts.append(
            (
                ["Answers by version", "model", "version", *heads],
                [[r["model"], r["version"], *_answers(r)] for r in predictions["by_version"]],
                (2, 3, 4, 5),
            )
        )
        parts.append(
            (
                ["Answers by hour", "hour (UTC)", "model", "version", *heads],
                [[r["hour"], r["model"], r["version"], *_answers(r)] for r in predictions["by_hour"]],
                (3, 4, 5, 6),
            )
        )
        rows = [
            [
                r["time"],
                r["model"],
                r["answer"],
                svg.number(r["probability"], 3),
                r["label"],
                ", ".join(f"{k}={v}" for k, v in r["features"].items() if v is not None)[:300],
                r["request_id"],
            ]
            for r in predictions["worst"]
        ]
        parts.append((["The worst inputs", "at (UTC)", "model", "answer", "sure", "true", "input", "request"], rows, (3,)))
    return [p for p in parts if p[1]]


def sentence(found: Found) -> str:
    """What stands out."""
    access, predictions = found["access"], found["predictions"]
    said = []
    if access and access["requests"]:
        said.append(
            f"{access['requests']:,} requests, {_percent(access['errors'])} failed, {_percent(access['slow']) or '0 %'} slower than {found['slow_ms']:g} ms"
        )
        by = [r for r in access["by_version"] if r["requests"] >= 30]
        worst = max(by, key=lambda r: r["errors"] or 0, default=None)
        if worst and len(by) > 1 and (worst["errors"] or 0) > 1.5 * (access["errors"] or 0) and worst["errors"] > 0.01:
            said.append(f"version {worst['version']} of {worst['model']} fails most: {_percent(worst['errors'])}")
        hours = [r for r in access["by_hour"] if r["requests"] >= 30]
        bad = max(hours, key=lambda r: r["errors"] or 0, default=None)
        if bad and len(hours) > 1 and (bad["errors"] or 0) > 1.5 * (access["errors"] or 0) and bad["errors"] > 0.01:
            said.append(f"the worst hour is {bad['hour']} UTC: {_percent(bad['errors'])}")
    elif access:
        said.append("no request to a model")
    if predictions:
        labelled = sum(r["labelled"] for r in predictions["by_version"])
        said.append(f"{predictions['rows']:,} answers, {labelled:,} with a label")
    return "; ".join(said) + "."


def body(found: Found) -> str:
    """The page."""
    out = [
        f"<header><h1>Logs</h1></header><section><p><b>{escape(found['sentence'])}</b></p>{_items(found['over'] + found['faults'])}</section>"
    ]
    for names, rows, numeric in tables(found):
        out.append(f"<section><h2>{escape(names[0])}</h2>{_picture(names[0], found)}{table(names[1:], rows, numeric)}</section>")
    return "".join(out)


def _items(said: list[str]) -> str:
    return f'<ul class="reasons">{"".join(f"<li>{escape(s)}</li>" for s in said)}</ul>' if said else ""


def _picture(name: str, found: Found) -> str:
    if name == "Requests by hour" and len(found["access"]["by_hour"]) > 1:
        rows = found["access"]["by_hour"]
        series = {n: [(float(i), 100 * (r[k] or 0.0)) for i, r in enumerate(rows)] for n, k in (("failed", "errors"), ("slow", "slow"))}
        return svg.lines(series, f"hours from {rows[0]['hour']} UTC", "per cent of requests")
    if name == "Answers by hour":
        by: dict[str, list[tuple[float, float]]] = {}
        hours = sorted({r["hour"] for r in found["predictions"]["by_hour"]})
        for r in found["predictions"]["by_hour"]:
            by.setdefault(f"{r['model']} {r['version']}", []).append((float(hours.index(r["hour"])), float(r["rows"])))
        return svg.lines(dict(list(by.items())[:6]), f"hours from {hours[0]} UTC", "answers") if len(hours) > 1 else ""
    return ""
