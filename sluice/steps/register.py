"""The step `register`: store the package and register it as the candidate."""

from __future__ import annotations

from html import escape
from typing import ClassVar

from sluice.steps.step import Evidence, Step


class Register(Step):
    """Store the package and register it as the candidate."""

    name, title, after = "register", "Registry", "evaluate"
    component = "components.register.component:register"
    gives: ClassVar = {"digest": "Output", "project": "handed"}

    def section(self, e: Evidence) -> str:
        """Where the version stands, and what it was made of."""
        from sluice.report.card import html
        from sluice.report.tables import Html, table

        rows = [
            ["model", e["model"]],
            ["version", e["version"]],
            ["package", Html(f"<code>sha256:{escape(str(e['digest']))}</code>")],
            ["stored at", Html(f"<code>{escape(e['uri'])}</code>")],
        ]
        if e.get("page"):
            rows.append(["in MLflow", Html(f'<a href="{escape(str(e["page"]), quote=True)}">{escape(str(e["page"]))}</a>')])
        rows += [
            [{"git": "git commit"}.get(k, f"{k} digest"), Html(f"<code>{escape(str(v))}</code>")] for k, v in e["lineage"].items() if v
        ]
        if e.get("proof"):
            key = e.get("signed_by")
            rows.append(["beside it", ", ".join(e["proof"])])
            rows.append(["signed by", Html(f"key <code>{escape(str(key))}</code>") if key else "nobody: there was no key to sign with"])
        told = e.get("card")
        shown = f"<details><summary>Model card</summary>{html(told)}</details>" if told else ""
        return table(["", ""], rows) + shown
