"""A run as a notebook sees it: outcome, gates, metrics, and pictures of them."""

from __future__ import annotations

import contextlib
import dataclasses
from html import escape
from pathlib import Path
from typing import Any

from sluice.client import advice, plot
from sluice.client.html import Html
from sluice.core.gate import Gate
from sluice.report import page, svg

#: A line of `repr`, so that the whole fits a screen.
_WIDE = 220


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that has ended, or one that still goes on.

    Attributes:
        outcome: what ``sluice run --json`` prints; ``outcome["outcome"]`` is ``running`` while it goes on.
        gates: every step's decision and evidence, in pipeline order; of a run on a cluster, as far as
            its steps' logs still tell, with long evidence left out.
        back: how the client that knows it is written.
    """

    outcome: dict[str, Any]
    gates: tuple[Gate, ...]
    back: str = "client"

    @property
    def promoted(self) -> bool:
        """Whether its model serves since."""
        return bool(self.outcome["outcome"] == "promoted")

    @property
    def digest(self) -> str | None:
        """Its package's digest; None where none was made."""
        return self.outcome.get("digest")

    @property
    def id(self) -> str:
        """Its name in the home."""
        return str(self.outcome["run"])

    @property
    def report(self) -> Path:
        """The report, one HTML file. Raises `KeyError` for a run on a cluster: `Client.report` draws it."""
        return Path(self.outcome["report"])

    @property
    def url(self) -> str | None:
        """Its page in the dashboard; null for a run of this machine, and where no dashboard is known."""
        return self.outcome.get("url") or None

    def gate(self, step: str) -> Gate | None:
        """What a step decided; None for one that did not run."""
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

    @property
    def rollout(self) -> Rollout | None:
        """The rollout: who got how much traffic when, and what the tests said; null for a run that did not come to it."""
        found = self.gate("rollout")
        return None if found is None else Rollout(found)

    @property
    def why(self) -> str | None:
        """Why it did not end promoted, in one line; null where it did, or goes on."""
        return advice.why(self.outcome)

    @property
    def next(self) -> str | None:
        """What to do about it, in one line; null for a run that ended promoted."""
        return advice.what_next(self.outcome, self.back)

    def plot(self) -> Html:
        """The gates, the deciding metric with its interval against the champion's, and the rollout's evidence, as far as the run came."""
        return Html(plot.pictures(self.outcome, self.gates))

    def __repr__(self) -> str:
        o = self.outcome
        facts = [
            f"version {o['version']}" if o.get("version") else "",
            f"sha256:{self.digest[:12]}" if self.digest else "",
            f"{o['seconds']:.0f} s" if "seconds" in o else "",
        ]
        lines = [", ".join([f"{o.get('name') or self.id}: {str(o['outcome']).replace('_', ' ')}", *filter(None, facts)])]
        lines += [f"  {line}" for line in self._judged()]
        if self.gates:
            lines.append("  " + "  ".join(f"{g.step} {g.decision}" for g in self.gates))
        lines += [f"  {name}: {said}" for name, said in (("why", self.why), ("next", self.next)) if said]
        lines += [f"  {where}" for where in (o.get("report") or self.url,) if where]
        return "\n".join(line if len(line) <= _WIDE + 60 else line[: _WIDE + 59] + "…" for line in lines)

    def _judged(self) -> list[str]:
        """The deciding metric, and the comparison with the champion."""
        found = self.gate("evaluate")
        e = (found.evidence.get("evaluation") if found else None) or {}
        if e.get("value") is None:
            return []
        limits = f", {e.get('confidence', 0.95):.0%} interval {svg.between(e['low'], e['high'])}" if e.get("low") is not None else ""
        lines = [f"{e['metric']} {svg.number(e['value'])}{limits}, {e['rows']:,} held-out rows"]
        c = found.evidence.get("comparison") if found else None
        if c and c.get("difference") is not None:
            between = f" ({c['low']:+.4g} to {c['high']:+.4g})" if c.get("low") is not None else ""
            lines.append(f"against the champion: {str(c['verdict']).replace('_', ' ')}, {c['difference']:+.4g}{between}")
        return lines

    def _repr_html_(self) -> str:
        o, word = self.outcome, str(self.outcome["outcome"])
        figures, took = "", f" · {o['seconds']:.0f} s" if "seconds" in o else ""
        with contextlib.suppress(KeyError, TypeError):  # evidence that a log left out
            figures = page.key_figures(list(self.gates))
        said = "".join(f"<p><b>{name}</b> {escape(text)}</p>" for name, text in (("Why:", self.why), ("Next:", self.next)) if text)
        cautions = "".join(f'<li class="warn-text">{escape(str(c))}</li>' for c in o.get("cautions") or ())
        where = str(o.get("report") or self.url or "")
        link = (
            f'<a href="{escape(where, quote=True)}" target="_blank">{escape(where)}</a>'
            if where.startswith("http")
            else f"<code>{escape(where)}</code>"
        )
        return Html(
            f'<header><h2 style="margin:0">{escape(str(o["project"]))} <span class="badge {escape(word, quote=True)}">{escape(word.replace("_", " "))}</span></h2>'
            f'<div class="sub">{escape(str(o.get("name") or self.id))}{took}</div></header>'
            f"{f'<section class=error>{said}</section>' if said else ''}{page.strip(o, list(self.gates), links=False)}{figures}"
            f'{f"<ul class=reasons>{cautions}</ul>" if cautions else ""}<p class="note">{link}</p>'
        )._repr_html_()


@dataclasses.dataclass(frozen=True)
class Rollout:
    """A rollout that has ended, as its step wrote it down.

    Attributes:
        gate: the step's decision, reasons and evidence.
    """

    gate: Gate

    @property
    def promoted(self) -> bool:
        """Whether the candidate serves since."""
        return self.gate.decision == "pass"

    @property
    def timeline(self) -> list[dict[str, Any]]:
        """A moment each: seconds since it began (``t``), phase, per cent of the traffic to the candidate (``weight``), tests."""
        return list(self.gate.evidence.get("timeline") or [])

    @property
    def tests(self) -> list[dict[str, Any]]:
        """The last word of each test: metric, verdict, difference with its limits."""
        return next((list(at["tests"]) for at in reversed(self.timeline) if at.get("tests")), [])

    def plot(self) -> Html:
        """The weights over time, and the evidence of each test."""
        return Html(plot.rollout(self.gate.evidence) or "<p>It went straight to stable: there was no champion to compare it with.</p>")

    def __repr__(self) -> str:
        lines = [f"rollout {self.gate.decision}, {self.gate.seconds:.0f} s: {'; '.join(self.gate.reasons)}"]
        return "\n".join([*lines, *(f"  {t.get('metric')}: {t.get('verdict', '')}" for t in self.tests)])

    def _repr_html_(self) -> str:
        return Html(page.section_or_note(self.gate))._repr_html_()
