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
                    f.get("agreement"),
                    f.get("metric"),
                    f.get("loss"),
                    Html(verdict),
                ]
            )
        head = ["format", "size", "largest difference", "label agreement", "metric", "loss", ""]
        out = table(head, rows, (1, 2, 3, 4, 5))
        out += "".join(_moved(f) for f in e["formats"] if f.get("moved"))
        return out + (f'<p class="note">package <code>sha256:{escape(str(e["digest"]))}</code></p>' if e.get("digest") else "")


def _moved(f: dict[str, Any]) -> str:
    """The held-out row whose answer a format moved furthest from that of the graph as it was exported."""
    from sluice.report import svg

    m = f["moved"]
    of = m.get("what") or (f"probability of {m['label']}" if m.get("label") is not None else "value")
    return (
        f'<p class="note">furthest from {BASE} in {escape(f["format"])}: row <code>{escape(m["row_id"])}</code> ({escape(m["row"])}), '
        f"{escape(of)} {svg.number(m[BASE])} in {BASE}, {svg.number(m['answer'])} here</p>"
    )
