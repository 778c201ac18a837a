"""The baselines beside the candidate: their numbers, and the paired differences drawn against zero."""

from __future__ import annotations

from html import escape
from typing import Any

from sluice.report import svg

_WORD = {
    "better": ("ok-text", "better than no model"),
    "ranks": ("warn-text", "ranks the rows, though the metric does not show it"),
    "no_better": ("bad-text", "no better than no model"),
    "inconclusive": ("warn-text", "too few rows to tell it from no model"),
}


def floor(found: dict[str, Any]) -> str:
    """The section of `evaluation.floor.judge`'s result."""
    css, word = _WORD[found["verdict"]]
    known = [c for c in (found["trivial"], found["simple"]) if "missing" not in c]
    rows = "".join(_row(c) for c in known)
    metric = escape(str(found["trivial"]["metric"]))
    head = f'<tr><th></th><th class="n">{metric}</th><th class="n">candidate is better by</th><th class="n">interval</th><th class="n">rows</th></tr>'
    out = f'<h3>Against no model and a simple one, on the same rows</h3><p><b class="{css}">{escape(word)}</b>: {escape(str(found["said"]))}</p>'
    if found.get("ahead"):
        out += f'<p><b class="warn-text">{escape(str(found["ahead"]))}</b></p>'
    out += f'<div class="scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
    drawn = [c for c in known if None not in (c["difference"], c["low"], c["high"])]
    if drawn:
        out += svg.differences(
            [(str(c["name"]), c["difference"], c["low"], c["high"]) for c in drawn], f"{found['trivial']['metric']}: candidate better by"
        )
    notes = [f"{c['name']}: {c['facts']['note']}" for c in known if c["facts"].get("note")]
    if "missing" in found["simple"]:
        notes.append(f"{found['simple']['name']} was left out: {found['simple']['missing']}")
    else:
        facts = found["simple"]["facts"]
        notes.append(
            f"{found['simple']['name']}: {facts['features']:,} features, {facts['rows_trained']:,} training rows, {facts['seconds']:.1f} s"
        )
    return out + "".join(f'<p class="note">{escape(n)}</p>' for n in notes)


def _row(c: dict[str, Any]) -> str:
    limits = f"{svg.number(c['low'])} to {svg.number(c['high'])}" if c["low"] is not None else ""
    difference = svg.number(c["difference"]) if c["difference"] is not None else ""
    value = svg.number(c["baseline"]) if c["baseline"] is not None else ""
    return (
        f'<tr><td>{escape(str(c["name"]))}</td><td class="n">{value}</td><td class="n">{difference}</td><td class="n">{limits}</td>'
        f'<td class="n">{c["rows"]:,}</td></tr>'
    )
