"""The format: does a graph answer as the model did, and which is the smallest that loses little?"""

from __future__ import annotations

from html import escape
from typing import Any

from sluice.core.check import Check, Decision
from sluice.core.section import Section
from sluice.formats.base import BASE
from sluice.gates.facts import Exported


class Format(Check):
    """Refuses where no format that was asked for may be packaged, or the first graph does not answer as the model it was exported from.

    Its settings are those by which formats are made and measured: `export` as a whole.
    """

    name, step, Config = "format", "export_onnx", Section

    def judge(self, facts: Exported, config: Any) -> Decision:
        """What the export came to: the formats were measured while one was chosen."""
        return Decision(facts.result.decision, facts.result.reasons, facts.result.evidence)

    def section(self, decision: Decision) -> str:
        """Each format beside what it costs."""
        from sluice.report.tables import Html, table

        e = decision.evidence
        rows = []
        for f in e["formats"]:
            verdict = (
                '<b class="ok-text">chosen</b>'
                if f["format"] == e.get("chosen")
                else "within budget"
                if f["ok"]
                else "not tried"
                if f.get("tried") is False
                else '<b class="bad-text">refused</b>'
            )
            rows.append(
                [
                    f["format"],
                    f"{f['bytes'] / 1024:,.0f} KiB" if f.get("bytes") is not None else "",
                    f.get("max_abs_diff"),
                    f"{100 * f['agreement']:.4g} %" if f.get("agreement") is not None else "",
                    f.get("metric"),
                    _loss(f),
                    f.get("latency_ms"),
                    f.get("batch_ms"),
                    Html(verdict),
                ]
            )
        head = ["format", "size", "largest difference", "same answers", "metric", "loss", "ms, 1 row", "ms, 16 rows", ""]
        out = table(head, rows, (1, 2, 3, 4, 5, 6, 7)) + _traded(e["formats"], e.get("chosen"))
        out += "".join(_moved(f) for f in e["formats"] if f.get("moved"))
        return out + (f'<p class="note">package <code>sha256:{escape(str(e["digest"]))}</code></p>' if e.get("digest") else "")


def _loss(f: dict[str, Any]) -> str:
    """The loss with the upper end of its interval."""
    from sluice.report import svg

    if f.get("loss") is None:
        return ""
    return svg.number(f["loss"]) + (f" (at most {svg.number(f['loss_high'])})" if f.get("loss_high") is not None else "")


def _traded(formats: list[dict[str, Any]], chosen: str | None) -> str:
    """What each format loses against how long it takes for a row: those that no other one beats in both are joined. Of one format nothing is drawn."""
    from sluice.report import svg

    known = [f for f in formats if f.get("loss") is not None and f.get("latency_ms")]
    if len(known) < 2:
        return ""
    losses = [0.0, *(v for f in known for v in (f["loss"], f.get("loss_high")) if v is not None)]
    plot = svg.Plot((0, 1.15 * max(f["latency_ms"] for f in known)), (min(losses), max(losses)), height=190, top=24, left=60)
    plot.axes("milliseconds a row, one thread", "loss of the metric")
    best = [f for f in known if not any(_beats(g, f) for g in known)]
    plot.line(sorted((f["latency_ms"], f["loss"]) for f in best), "var(--muted)", dash="4 3")
    for i, f in enumerate(sorted(known, key=lambda f: f["latency_ms"])):
        colour = "var(--good)" if f["format"] == chosen else svg.COLOURS[0] if f["ok"] else "var(--bad)"
        said = f"{f['format']}: {f['latency_ms']} ms, loss {svg.number(f['loss'])}, {f['bytes']:,} bytes"
        plot.dot(f["latency_ms"], f["loss"], colour, said)
        x, y, high = (plot.px(f["latency_ms"]), plot.py(f["loss"]), plot.py(max(f["loss"], f.get("loss_high") or f["loss"])))
        plot.parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{high:.1f}" stroke="{colour}"/>'
            f'<text class="label" x="{x + 9:.1f}" y="{y - 8 - 13 * (i % 4):.1f}">{escape(f["format"])}</text>'
        )
    note = "loss with the upper end of its interval; green: chosen, blue: within budget, red: refused; bytes and losses decide, since times are of a machine that may be busy"
    return f'<figure>{plot.svg("loss against time of each format")}</figure><p class="note">{note}</p>'


def _beats(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """No worse in both, better in one."""
    pairs = [(a[k], b[k]) for k in ("latency_ms", "loss")]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def _moved(f: dict[str, Any]) -> str:
    """The held-out row whose answer a format moved furthest from that of the graph as it was exported."""
    from sluice.report import svg

    m = f["moved"]
    of = m.get("what") or (f"probability of {m['label']}" if m.get("label") is not None else "value")
    return (
        f'<p class="note">furthest from {BASE} in {escape(f["format"])}: row <code>{escape(m["row_id"])}</code> ({escape(m["row"])}), '
        f"{escape(of)} {svg.number(m[BASE])} in {BASE}, {svg.number(m['answer'])} here</p>"
    )
