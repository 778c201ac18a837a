"""A diagnosis for people: the sentence first, then what it stands on, in tables that the terminal shows too, pictures and one line of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sluice.report import svg
from sluice.report.tables import table

Found = Mapping[str, Any]
#: Title and heads, rows, and which columns are numbers.
Part = tuple[list[str], list[list[Any]], tuple[int, ...]]

_CLASS = {"data fault": "refuse", "concept drift": "refuse", "shift": "warn", "worse": "refuse", "healthy": "pass", "unknown": "warn"}


def tables(found: Found) -> list[Part]:
    """What it stands on, of which there is something."""
    parts: list[Part] = []
    features = [
        [
            f["feature"],
            "data fault" if (f["cause"] or {}).get("fault") else "answers" if f["answer"] else "real shift",
            (f["cause"] or {}).get("text", "has moved"),
            f["since"],
            svg.number(f["score"], 3),
            svg.number(f["limit"], 3),
        ]
        for f in found["features"]
    ]
    if features:
        parts.append((["What moved", "column", "", "it", "since (UTC)", "distance", "counts from"], features, (4, 5)))
    slices = (found.get("slices") or {}).get("lost") or []
    if slices:
        rows = [
            [
                s["slice"],
                s["rows_before"],
                s["rows"],
                svg.number(s["before"], 3),
                svg.number(s["after"], 3),
                f"{s['loss']:+.3f}",
                f"{s['low']:+.3f} to {s['high']:+.3f}",
            ]
            for s in slices
        ]
        parts.append(
            (
                ["Which slices lost", "where", "rows before", "rows since", "errors before", "errors since", "more", "interval"],
                rows,
                (1, 2, 3, 4, 5, 6),
            )
        )
    worth = found.get("importance") or []
    if worth:
        rows = [
            [
                w["column"],
                f"{round(w['before'], 3) + 0.0:.3f}",
                f"{round(w['after'], 3) + 0.0:.3f}",
                f"{round(w['change'], 3) + 0.0:+.3f}",
                "changed" if w["moved"] else "",
            ]
            for w in worth
        ]
        parts.append((["What columns are worth to the model", "column", "before", "since", "change", ""], rows, (1, 2, 3)))
    line = found.get("timeline") or []
    if line:
        parts.append((["What happened", "at (UTC)", "what", ""], [[e["at"], e["what"], e["text"]] for e in line[-40:]], ()))
    return parts


def body(found: Found) -> str:
    """The page."""
    kind = found["kind"]
    head = (
        f'<header><h1>{escape(str(found["model"]))}</h1><span class="badge {_CLASS[kind]}">{escape(kind)}</span>'
        f'<div class="sub">{found["rows"]:,} predictions in {found["windows"]:,} windows{_version(found)}</div></header>'
    )
    out = [head, f"<section><h2>In a sentence</h2><p><b>{escape(found['sentence'])}</b></p>{_cautions(found)}</section>"]
    quality = found.get("quality")
    if quality:
        out.append(_quality(quality, found))
    for names, rows, numeric in tables(found):
        note = _NOTES.get(names[0], "")
        picture = _line(found) if names[0] == "What happened" else ""
        out.append(
            f'<section><h2>{escape(names[0])}</h2>{picture}{table(names[1:], rows, numeric)}<p class="note">{escape(note)}</p></section>'
        )
    if found.get("labels"):
        out.append(_labels(found["labels"]))
    return "".join(out)


_NOTES = {
    "What moved": "a data fault is a change under which the rows since look exactly as those before; what none explains is a real shift",
    "Which slices lost": "errors of the rows before and since; only what is beyond chance, all slices looked at together",
    "What columns are worth to the model": "how much worse it answers labelled rows where the column's values change places among them; a change of more than 0.1 is marked",
}


def _version(found: Found) -> str:
    return f" · version {escape(found['version'])}" if found["version"] else ""


def _cautions(found: Found) -> str:
    items = "".join(f"<li>{escape(c)}</li>" for c in found["cautions"])
    return f'<ul class="reasons">{items}</ul>' if items else ""


def _quality(quality: Found, found: Found) -> str:
    windows = [w for w in quality["windows"] if w["value"] is not None]
    numbers = {w["number"] for w in windows}
    series = {quality["metric"]: [(w["number"], w["value"]) for w in windows]}
    band = [(w["number"], w["low"], w["high"]) for w in windows if w["low"] is not None]
    since = (found.get("concept") or {}).get("since") or min((f["since"] for f in found["features"] if f["since"]), default="")
    mark = next((w["number"] for w in windows if since and w["ended"] >= since), None)
    drawn = ""
    if len(numbers) > 1:
        drawn = svg.lines(
            series, "window of labelled rows", quality["metric"], mark=mark, mark_text=since, band=band, band_name="its 95 % interval"
        )
    said = []
    for name in ("before", "after"):
        one = quality.get(name)
        if one and one["value"] is not None:
            limits = f" ({one['low']:.4g} to {one['high']:.4g})" if one["low"] is not None else ""
            said.append(f"{'before' if name == 'before' else 'since'}: {one['value']:.4g}{limits} on {one['rows']:,} rows")
    if quality["held_out"] is not None:
        said.append(f"held-out rows: {quality['held_out']:.4g}")
    if quality["floor"] is not None:
        said.append(f"floor: {quality['floor']:g}{', which the last window is under' if quality['below'] else ''}")
    guess = found.get("estimate")
    if guess and guess["value"] is not None:
        said.append(f"by the model's own confidence: {guess['value']:.4g} ({guess['low']:.4g} to {guess['high']:.4g}); {guess['blind']}")
    items = "".join(f"<li>{escape(s)}</li>" for s in said)
    return f"<section><h2>Quality</h2>{drawn}<ul>{items}</ul></section>"


def _labels(labels: Found) -> str:
    late = labels["seconds_late"]
    said = f"{labels['labelled']:,} of {labels['predictions']:,} rows have a label"
    if late["median"] is not None:
        said += f", half of them within {_time(late['median'])}, nine of ten within {_time(late['p90'])}"
    for name, what in (
        ("duplicates", "told again"),
        ("corrected", "corrected"),
        ("orphans", "of no answer that is here"),
        ("early", "before their answer"),
    ):
        if labels[name]:
            said += f"; {labels[name]:,} {what}"
    return f"<section><h2>Labels</h2><p>{escape(said)}.</p></section>"


def _time(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"


def _line(found: Found) -> str:
    """Dots on a line of time, a row for each kind of event."""
    import datetime

    at = [(datetime.datetime.fromisoformat(e["at"]).timestamp(), e) for e in found["timeline"] if e["at"]]
    if len(at) < 2:
        return ""
    kinds = list(dict.fromkeys(e["what"] for _, e in at))
    low, high = at[0][0], max(at[-1][0], at[0][0] + 1)
    width, left, step = 900, 90, 26
    height = step * len(kinds) + 28
    parts = []
    for i, kind in enumerate(kinds):
        y = 16 + i * step
        parts.append(
            f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(kind)}</text><line x1="{left}" x2="{width - 10}" y1="{y}" y2="{y}" stroke="currentColor" stroke-opacity=".2"/>'
        )
    for when, e in at:
        x = left + (width - left - 20) * (when - low) / (high - low)
        y = 16 + kinds.index(e["what"]) * step
        colour = "var(--bad)" if e["what"] in ("drift", "quality", "alert") else "var(--good)"
        parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{colour}"><title>{escape(e["at"])} {escape(e["text"])}</title></circle>')
    ends: Sequence[tuple[float, str, str]] = ((left, "start", at[0][1]["at"]), (width - 10, "end", at[-1][1]["at"]))
    parts += [f'<text x="{x}" y="{height - 4}" text-anchor="{anchor}">{escape(text)}</text>' for x, anchor, text in ends]
    named = 'aria-label="what happened, on a line of time"'
    drawn = f'<svg viewBox="0 0 {width} {height}" role="img" {named}>{"".join(parts)}</svg>'
    return f'<figure class="wide" tabindex="0" role="group" {named}>{drawn}</figure>'
