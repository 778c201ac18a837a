"""A look at a log for people: a table, a page, a picture of each feature over time."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from sluice.monitor import quality_watch
from sluice.report import svg
from sluice.report.tables import Html, table

#: Features with a picture; rows of tables.
_PICTURES, _ROWS = 60, 200

Told = Mapping[str, Any]
HEAD = ["feature", "distance", "", "by chance up to", "counts from", "no value", "new or outside", "mean", ""]


def rows_of(last: Told) -> list[list[str]]:
    """The last window's parts as cells of a table under `HEAD`."""
    return [
        [
            name_of(s),
            svg.number(s["score"], 3),
            s["method"],
            svg.number(s["noise"], 3),
            svg.number(s["limit"], 3),
            _percent(s["nulls"]),
            _percent(s["unseen"] if s["unseen"] is not None else s["outside"]),
            svg.number(s["mean"], 4) if s["mean"] is not None else "",
            ("moved: " + ", ".join(s["moves"]) + ("" if s["watched"] else " (not watched)")) if s["moved"] else "",
        ]
        for s in last["scores"][:_ROWS]
    ]


def name_of(score: Told) -> str:
    """What a person calls a part."""
    return str(score["feature"]) if score["part"] in ("value", "") else f"{score['feature']} ({score['part']})"


def headline(found: Told) -> str:
    """A look in one sentence."""
    if not found["windows"]:
        return f"no window has closed yet: {found['open']:,} rows so far" if found["rows"] else "no predictions yet"
    standing = found["standing"]
    if not standing:
        return f"nothing has moved: {found['windows']:,} windows of {found['rows']:,} predictions, the last until {found['last']['ended'] or 'now'}"
    names = list(dict.fromkeys(a["feature"] for a in standing))
    since = min((a["since"] for a in standing if a["since"]), default="")
    return f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''} moved" + (f", since {since}" if since else "")


def body(name: str, found: Told) -> str:
    """The page's body: what stands, each feature over time, the last window in numbers.

    Args:
        name: the model's. found: a `Look` in plain JSON.
    """
    judged = found.get("quality")
    worse = bool(judged and judged["wrong"])
    word = "moved" if found["standing"] else "worse" if worse else "quiet"
    css = "refuse" if found["standing"] or worse else "pass"
    badge = f'<span class="badge {css}">{word}</span>'
    first = (
        f'<p><b class="bad-text">{escape("; ".join(judged["wrong"]))}</b></p>' if judged and worse else ""
    )  # the answer, before what has not moved
    sub = f"{found['rows']:,} predictions · {found['windows']:,} windows · {found['open']:,} rows in the open one"
    out = f'<header><h1>{escape(name)}</h1>{badge}<div class="sub">{sub}</div></header><section>{first}<p>{escape(headline(found))}</p>{alarms(found)}</section>'
    if judged:
        out += f"<section><h2>Quality</h2>{_quality(judged)}</section>"
    if found["faults"]:
        out += f"<section><h2>Not read</h2><ul>{''.join(f'<li>{escape(f)}</li>' for f in found['faults'][:20])}</ul></section>"
    return out + (f"<section><h2>Drift</h2>{section(found)}</section>" if found["last"] else "")


def _quality(judged: Told) -> str:
    """What the labels that came say."""
    said = [(w, True) for w in judged["wrong"]] or [(quality_watch.headline(judged), False)]
    risen = judged["risen"]
    maybe = quality_watch.maybe_rose(risen or {})
    if maybe:
        said.append((maybe, False))
    elif risen and not risen["standing"]:
        said.append(
            (f"answers are as often right as they were: {risen['rows']:,} labelled rows behind the first {risen['first']:,}", False)
        )
    said += [(w, False) for w in (judged["unwatched"], f"{100 * judged['share']:.3g} % of the predictions are labelled") if w]
    items = "".join(f"<li>{f'<b class=bad-text>{escape(w)}</b>' if bad else escape(w)}</li>" for w, bad in said)
    return f"<ul>{items}</ul>"


def alarms(found: Told) -> str:
    """What stands, as a list."""
    said = "".join(
        f'<li><b class="bad-text">{escape(a["text"])}</b>{escape(" since " + a["since"]) if a["since"] else ""}</li>'
        for a in found["standing"]
    )
    return f"<ul>{said}</ul>" if said else ""


def section(found: Told) -> str:
    """Pictures over time and the last window, without a heading."""
    last = found["last"]
    note = (
        "the line is the distance, dashed from where on it counts: above chance, and above the threshold less what so few rows leave open"
    )
    when = f", {escape(last['begun'])} to {escape(last['ended'])}" if last["begun"] else ""
    return (
        timeline(found["history"])
        + pictures(found)
        + f"<h3>Window {last['window']}: {last['rows']:,} rows{when}</h3>"
        + table(HEAD, [_marked(row) for row in rows_of(last)], (1, 3, 4, 5, 6, 7))
        + f'<p class="note">{note}</p>'
    )


def timeline(history: list[dict[str, Any]]) -> str:
    """The largest shift of each window, and where alarms began."""
    known = [(float(h["window"]), float(h["score"])) for h in history if h["score"] is not None]
    if len(known) < 2:
        return ""
    plot = svg.Plot((known[0][0], known[-1][0]), (0.0, max(y for _, y in known) * 1.1 or 1.0), width=940, height=200, left=64)
    plot.axes("window", "largest shift", whole=True).line(known, svg.COLOURS[0], dots=len(known) < 80)
    for h in history:
        if h["alarms"]:
            at = next((y for x, y in known if x == h["window"]), 0.0)
            plot.dot(float(h["window"]), at, "var(--bad)", f"{h['begun']} {'; '.join(h['alarms'])}")
    return plot.wide("the largest shift of each window")


def pictures(found: Told) -> str:
    """Each part's distance over the windows, those that moved or came nearest to it first."""
    history = found["history"]
    names = [name_of(s) for s in found["last"]["scores"]]
    boxes = []
    for name in names[:_PICTURES]:
        series = [(float(h["window"]), *h["parts"][name]) for h in history if name in h["parts"] and h["parts"][name][0] is not None]
        if not series:
            continue
        top = max(max(s[1], s[2] or 0.0) for s in series)
        plot = svg.Plot((series[0][0], series[-1][0]), (0.0, top * 1.1 or 1.0), width=300, height=120, left=40, bottom=20, top=6)
        plot.axes(x_ticks=False).line([(s[0], s[1]) for s in series], svg.COLOURS[0], dots=len(series) < 40)
        plot.line([(s[0], s[2]) for s in series if s[2] is not None], "var(--muted)", dash="4 3")
        for s in series:
            if s[3]:
                plot.dot(s[0], s[1], "var(--bad)", f"window {int(s[0])}")
        boxes.append(f'<div class="column"><b>{escape(svg.cut(name, 60))}</b>{plot.svg(f"{name} over time")}</div>')
    rest = f'<p class="note">{len(names) - _PICTURES} more are in the table</p>' if len(names) > _PICTURES else ""
    return f'<div class="columns">{"".join(boxes)}</div>{rest}'


def _marked(row: list[str]) -> list[Any]:
    return [*row[:-1], Html(f'<b class="bad-text">{escape(row[-1])}</b>') if row[-1] else ""]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
