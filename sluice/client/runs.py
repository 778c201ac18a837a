"""A run as a notebook sees it: outcome, gates, metrics, and pictures of them."""

from __future__ import annotations

import dataclasses
from html import escape
from pathlib import Path
from typing import Any

from sluice.gates import Gate
from sluice.report import page, style, svg


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that has ended, or one on a cluster that still goes on.

    Attributes:
        outcome: what ``sluice run --json`` prints; ``outcome["outcome"]`` is ``running`` while it goes on.
        gates: every step's decision and evidence, in pipeline order; of a run on a cluster, as far as
            its steps' logs still tell, with long evidence left out.
    """

    outcome: dict[str, Any]
    gates: tuple[Gate, ...]

    @property
    def promoted(self) -> bool:
        return bool(self.outcome["outcome"] == "promoted")

    @property
    def digest(self) -> str | None:
        return self.outcome.get("digest")

    @property
    def id(self) -> str:
        return str(self.outcome["run"])

    @property
    def report(self) -> Path:
        """The report, one HTML file. Raises `KeyError` for a run on a cluster: `Client.report` draws it."""
        return Path(self.outcome["report"])

    @property
    def url(self) -> str | None:
        """Its page in the dashboard; null for a run of this machine."""
        return self.outcome.get("url")

    def gate(self, step: str) -> Gate | None:
        return next((g for g in self.gates if g.step == step), None)

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics on the held-out rows; empty when the run did not get that far."""
        found = self.gate("evaluate")
        metrics = found.evidence.get("evaluation", {}).get("metrics", {}) if found else {}
        return {name: m["value"] for name, m in metrics.items()}

    @property
    def curves(self) -> list[dict[str, Any]]:
        """The training history, one entry an epoch."""
        found = self.gate("train")
        return list(found.evidence.get("history", [])) if found else []

    def show(self, step: str) -> Html:
        """One step's evidence, drawn in the notebook. Raises `KeyError` for a step that was not reached."""
        found = self.gate(step)
        if found is None:
            raise KeyError(f"{step} was not reached; there is {', '.join(g.step for g in self.gates)}")
        return Html(page.section_or_note(found))

    def _repr_html_(self) -> str:
        word = str(self.outcome["outcome"])
        numbers = "".join(f"<li>{escape(k)}: {svg.number(v)}</li>" for k, v in self.metrics.items())
        reasons = "".join(f"<li>{escape(str(r))}</li>" for r in self.outcome.get("reasons", ())) if not self.promoted else ""
        return Html(f'<h3>{escape(str(self.outcome["project"]))} <span class="badge {escape(word, quote=True)}">{escape(word.replace("_", " "))}</span></h3>'
                    f'<ul>{numbers}{reasons}</ul><p class="note">{escape(str(self.outcome.get("report") or self.url))}</p>')._repr_html_()  # fmt: skip


class Html:
    """A piece of a report a notebook draws, with its style kept to itself."""

    def __init__(self, body: str):
        self.body = body

    def _repr_html_(self) -> str:
        policy = f'<meta http-equiv="Content-Security-Policy" content="{page.POLICY}">'
        source = escape(f"{policy}<style>{style.CSS}</style><main>{self.body}</main>", quote=True)
        # No scripts run in it; of the same origin, or the notebook could not read how high it is.
        grow = "this.style.height=this.contentWindow.document.documentElement.scrollHeight+'px'"
        return f'<iframe sandbox="allow-same-origin" srcdoc="{source}" style="width:100%;border:0" onload="{grow}"></iframe>'
