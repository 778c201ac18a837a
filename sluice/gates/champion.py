"""The champion: is the candidate worse than the model in production, on the same rows?"""

from __future__ import annotations

import dataclasses
from html import escape
from typing import Any

from sluice.core.check import Check, Decision
from sluice.gates.bar import number
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig, of_units


class ChampionConfig(MetricConfig):
    """How the two are compared: `margin`, `on_inconclusive` and `confidence`."""


class Champion(Check):
    """Refuses where the champion is better by more than the margin beyond doubt, which happens to a candidate no worse than it with
    probability (1 - confidence) / 2 at most; or where it cannot be told and `on_inconclusive` says so. The bare difference refuses
    nobody: of candidates as good as the champion a third would look worse by a margin of half a point on a few hundred rows."""

    name, step, Config = "champion", "evaluate", ChampionConfig

    def judge(self, facts: Judged, config: ChampionConfig) -> Decision:
        """The decision of `decide`. Raises as `sluice.problems.comparison.compare`."""
        comparison, note = against(facts, config) if facts.champion is not None else (None, facts.champion_note)
        found = decide(comparison, config)
        return dataclasses.replace(found, evidence={"comparison": comparison, "champion_note": note})

    def section(self, decision: Decision) -> str:
        """The difference and its interval, against the margin."""
        from sluice.report import svg

        compared, note = decision.evidence.get("comparison"), decision.evidence.get("champion_note")
        if not compared:
            return f'<h3>Against the champion</h3><p class="note">{escape(note)}</p>' if note else ""
        out = "<h3>Against the champion, on the same rows</h3>"
        if None not in (compared["difference"], compared["low"], compared["high"]):
            out += svg.difference(compared["difference"], compared["low"], compared["high"], compared["margin"])
        out += f'<p class="note">{escape(str(compared["verdict"]).replace("_", " "))}: {svg.number(compared["difference"])} '
        return out + f"({svg.number(compared['low'])} to {svg.number(compared['high'])})</p>"


def against(facts: Judged, config: ChampionConfig) -> tuple[dict[str, Any] | None, str]:
    """Candidate and champion on the same rows; the champion runs from its package, as it does in production.

    Returns:
        Of `sluice.problems.comparison.compare`, with ``champion_digest``; or None, and why nothing was compared.
    """
    from sluice.problems.comparison import compare

    theirs, candidate = facts.theirs, facts.package
    if isinstance(theirs, str):
        return None, theirs
    result = compare(
        facts.outputs,
        theirs.outputs,
        facts.targets,
        facts.labels,
        theirs.labels,
        config,
        rule=candidate.rule,
        champion_rule=theirs.rule,
        positive=facts.positive,
        asked=facts.dataset.problem,
        units=facts.units,
    )
    return {**result, "champion_digest": theirs.digest}, ""


def decide(comparison: dict[str, Any] | None, config: ChampionConfig) -> Decision:
    """What the comparison says. ``inconclusive`` goes on: the rollout will tell.

    Args:
        comparison: of `sluice.problems.comparison.compare`; None where there is no champion to compare with.
        config: what happens where it cannot be told.
    """
    if comparison is None:
        return Decision("pass")
    verdict, said = comparison["verdict"], _sentence(comparison)
    if verdict == "worse":
        return Decision("refuse", (f"worse than the champion: {said}",))
    if verdict != "inconclusive":
        return Decision("pass", (f"{'better than' if verdict == 'better' else 'no worse than'} the champion: {said}",))
    if config.on_inconclusive == "refuse":
        return Decision("refuse", (f"cannot be told from the champion and evaluate.on_inconclusive is refuse: {said}",))
    open_ = f"the held-out rows cannot tell it from the champion, so the rollout decides: {said}{_resolution(comparison)}"
    return Decision("inconclusive", (open_,))


def _sentence(c: dict[str, Any]) -> str:
    note = f" ({c['note']})" if c["note"] else ""
    if c["difference"] is None:
        return f"{c['metric']} cannot be compared on {c['rows']} shared rows{of_units(c)}{note}"
    limits = f", {c['confidence']:.0%} interval {c['low']:+.4g} to {c['high']:+.4g}" if c["low"] is not None else ""
    return (
        f"{c['metric']} {number(c['candidate'])} against {number(c['champion'])}, {_gain(c)}{limits}, "
        f"margin {c['margin']:.4g}, on {c['rows']} rows{of_units(c)}{note}"
    )


def _resolution(c: dict[str, Any]) -> str:
    """What difference these rows can show, and how many the margin needs: the interval's half-width falls with the root of the rows."""
    if c["low"] is None or not c["high"] > c["low"]:
        return ""
    from sluice.gates.floor import rounded_up

    half = (c["high"] - c["low"]) / 2
    needed = (
        f", the margin needs about {rounded_up(c.get('units', c['rows']) * (half / c['margin']) ** 2):,}"
        if c["margin"] > 0 and half > c["margin"]
        else ""
    )
    return f"; so many {'units' if c.get('unit') else 'rows'} show a difference from about {half:.2g} on{needed}"


def _gain(c: dict[str, Any]) -> str:
    d = c["difference"]
    return "equal" if d == 0 else f"{'better' if d > 0 else 'worse'} by {abs(d):.4g}"
