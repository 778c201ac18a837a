"""The champion: is the candidate worse than the model in production, on the same rows?"""

from __future__ import annotations

import dataclasses
from html import escape
from typing import Any

from sluice.core.check import Check, Decision
from sluice.gates.facts import Judged
from sluice.gates.paired import against, drawn, paid, resolution, sentence
from sluice.problems.config import MetricConfig


class ChampionConfig(MetricConfig):
    """How the two are compared: `margin`, `on_inconclusive` and `confidence`."""


class Champion(Check):
    """Refuses where the champion is better beyond doubt, and by more than the margin as far as the rows can tell; or where it cannot be told and
    `on_inconclusive` says so.

    A candidate as good as the champion is refused with probability (1 - confidence) / 2 at most. The bare difference refuses nobody: of
    candidates as good as the champion a third would look worse by a margin of half a point on a few hundred rows. To ask for an interval
    wholly beyond the margin would refuse fewer, and let through one in seven of those that are 2 points worse on 4,500 rows.
    """

    name, step, Config = "champion", "evaluate", ChampionConfig
    then = "see what differs (`sluice compare NAME@champion DIGEST`), {better}, or change evaluate.margin"

    def judge(self, facts: Judged, config: ChampionConfig) -> Decision:
        """The decision of `decide`. Raises as `sluice.problems.comparison.compare`."""
        from sluice.gates.ledger import told
        from sluice.problems.comparison import Before

        comparison, note = None, facts.champion_note
        if facts.champion is not None:
            tries = (facts.refused_before, facts.decline) if facts.anchor is None else (0, 0.0)  # the champion is the anchor
            before = Before(facts.compared_before, *tries)
            comparison, note = against(facts.theirs, facts, config, before)
            if comparison is not None:
                past = {"ledger": told(before.on_rows, comparison), "refused": before.refused, "decline": before.decline}
                comparison |= past
        found = decide(comparison, config) if comparison is not None or facts.champion is None else unasked(note, config)
        which = {"champion_digest": facts.champion.digest} if facts.champion is not None else {}
        return dataclasses.replace(found, evidence={"comparison": comparison, "champion_note": note, **which})

    def section(self, decision: Decision) -> str:
        """The difference and its interval, against the margin; which comparison on these rows it is."""
        compared, note = decision.evidence.get("comparison"), decision.evidence.get("champion_note")
        if not compared:
            return f'<h3>Against the champion</h3><p class="note">{escape(note)}</p>' if note else ""
        said = (compared.get("ledger") or {}).get("said")
        return drawn("Against the champion, on the same rows", compared) + (f'<p class="note">{escape(said)}</p>' if said else "")


def unasked(note: str, config: ChampionConfig) -> Decision:
    """What is decided where there is a champion that cannot be asked: nothing is known of it, so it is not passed over in silence."""
    if config.on_inconclusive == "refuse":
        return Decision("refuse", (f"{note}; evaluate.on_inconclusive is refuse",))
    said = f"warning: {note}; the rollout decides"
    return Decision("inconclusive", (said,), cautions=(said,))


def decide(comparison: dict[str, Any] | None, config: ChampionConfig) -> Decision:
    """What the comparison says. ``inconclusive`` goes on: the rollout will tell.

    Args:
        comparison: of `sluice.problems.comparison.compare`, with ``ledger`` where one is kept; None where there is no champion to compare with.
        config: what happens where it cannot be told.
    """
    if comparison is None:
        return Decision("pass")
    verdict, said = comparison["verdict"], sentence(comparison)
    past = comparison.get("ledger") or {}
    spent = (past["said"],) if past.get("said") else ()
    worn = spent if past.get("worn") else ()
    if verdict == "worse":
        return Decision("refuse", (f"worse than the champion: {said}{paid(comparison)}",), cautions=worn)
    if verdict != "inconclusive":
        words = f"{'better than' if verdict == 'better' else 'no worse than'} the champion: {said}"
        return Decision("pass", (words, *spent), cautions=worn)
    if config.on_inconclusive == "refuse":
        closed = f"cannot be told from the champion and evaluate.on_inconclusive is refuse: {said}{resolution(comparison)}"
        return Decision("refuse", (closed, *spent), cautions=worn)
    open_ = f"the held-out rows cannot tell it from the champion, so the rollout decides: {said}{resolution(comparison)}"
    return Decision("inconclusive", (open_, *spent), cautions=worn)
