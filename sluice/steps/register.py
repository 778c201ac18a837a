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
        return table(["", ""], rows)
