"""The step `validate_data`: put the form together to one project, and check its rows, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import ClassVar

from sluice.steps.step import REST, Evidence, Step

#: Columns that are drawn.
_COLUMNS = 60
#: Rules that are listed.
_RULES = 200
_STATUS = {"pass": ("ok-text", "✔"), "warn": ("warn-text", "!"), "refuse": ("bad-text", "✘")}


class ValidateData(Step):
    """Put the form together to one project, and check its rows, before anything is trained."""

    name, title, after = "validate_data", "Data", ""
    component = "components.validate_data.component:validate_data"
    gives: ClassVar = {"project": "project"}
    asks = True

    def section(self, e: Evidence) -> str:
        """The rules of the project's schema and the checks, the refused ones on top; then each column as a small picture."""
        from sluice.report import svg
        from sluice.report.tables import Html, table

        order = {"refuse": 0, "warn": 1, "pass": 2}
        checks = []
        ruled = bool(e.get("rules"))  # then a broken rule stands in the table of rules
        for c in sorted(e.get("checks", ()), key=lambda c: order[c["status"]]):
            if ruled and c["name"] == "schema" and c.get("value") is not None:
                continue
            css, sign = _STATUS[c["status"]]
            examples = svg.cut(", ".join(map(str, c.get("examples") or ())), 300)
            detail = escape(c["message"]) + (
                f'<div class="note">for example: {escape(examples)}</div>' if examples and c["status"] != "pass" else ""
            )
            checks.append([Html(f'<b class="{css}">{sign}</b>'), c["name"], Html(detail)])
        labels = sorted((e.get("labels") or {}).items(), key=lambda kv: -kv[1])
        out = _rules(e.get("rules") or ()) + "<h3>Checks</h3>" + table(["", "check", "found"], checks)
        if labels:
            out += "<h3>Labels</h3>" + svg.rows_of_bars(
                [(str(k), float(v)) for k, v in labels], total=float(sum(v for _, v in labels)) or None, rest=REST.format("validate_data")
            )
        every = list(e.get("columns", ()))
        columns = "".join(_column(c) for c in every[:_COLUMNS])
        left = every[_COLUMNS:]
        names = (
            f'<details><summary>{len(left):,} more columns, of {len(every):,}</summary><p class="note">{escape(", ".join(str(c["name"]) for c in left))}; '
            f"{REST.format('validate_data')}</p></details>"
        )
        return out + (f'<h3>Columns</h3><div class="columns">{columns}</div>{names if left else ""}' if columns else "")


def _rules(rules: Sequence[Evidence]) -> str:
    """Every rule of the project's file of rules: what it is about, what it says, how many rows break it and which first."""
    from sluice.data.rules.rule import told
    from sluice.report import svg
    from sluice.report.tables import Html, table

    if not rules:
        return ""
    rows = []
    for r in rules:
        css, sign = _STATUS[r["status"]]
        shown = "; ".join(map(told, r.get("examples") or ()))
        rows.append([Html(f'<b class="{css}">{sign}</b>'), r["column"] or "", r["rule"], r["broken"], r["rows"], svg.cut(shown, 200)])
    head = ["", "column", "rule", "rows that break it", "of rows", "for example"]
    refused = sum(r["status"] == "refuse" for r in rules)
    said = f"{len(rules)} rules of the project's schema" + (f", {refused} broken" if refused else ", all kept")
    body = table(head, rows[:_RULES], (3, 4)) + (f'<p class="note">{REST.format("validate_data")}</p>' if len(rows) > _RULES else "")
    return f"<h3>Schema</h3><details{' open' if refused else ''}><summary>{said}</summary>{body}</details>"


def _column(c: Evidence) -> str:
    from sluice.report import svg

    nulls = f" · {100 * c['nulls'] / max(c['rows'], 1):.1f} % null" if c.get("nulls") else ""
    facts = f"{c['type']}{nulls} · {svg.number(c['distinct'])} distinct" if c.get("distinct") is not None else f"{c['type']}{nulls}"
    picture = ""
    hist = c.get("histogram") or c.get("length_histogram")
    if hist:
        picture = svg.histogram(hist["edges"], hist["counts"], small=True)
        if not c.get("histogram"):
            picture += '<div class="note">length in characters</div>'
    elif c.get("top"):
        top = c["top"].items() if isinstance(c["top"], dict) else [(t["value"], t["count"]) if isinstance(t, dict) else t for t in c["top"]]
        every = sum(v for _, v in top) == c["rows"] - (c.get("nulls") or 0)  # of pictures the sizes are named, not each picture
        picture = svg.rows_of_bars([(str(k), float(v)) for k, v in top], limit=4, of=None if every else c.get("distinct"))
    return f'<div class="column"><b>{escape(str(c["name"]))}</b><div class="note">{escape(facts)}</div>{picture}</div>'
