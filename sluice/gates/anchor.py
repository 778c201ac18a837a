"""The anchor: is the candidate worse than the best champion so far? "No worse" than the last one, forty times over, may be far worse than the first."""

from __future__ import annotations

import dataclasses
from html import escape
from typing import Any

from pydantic import Field

from sluice.core.check import Check, Decision
from sluice.gates.facts import Judged
from sluice.gates.paired import against, drawn, paid, sentence
from sluice.problems.config import MetricConfig


class AnchorConfig(MetricConfig):
    """How much worse than the anchor is still no worse."""

    anchor_margin: float | None = Field(
        None,
        ge=0,
        description="how much worse than the anchor, the best champion so far, is still no worse, as `margin` is; null: as `margin`",
        exclude_if=lambda margin: margin is None,
    )


class Anchor(Check):
    """Refuses where the anchor is better beyond doubt, and by more than `anchor_margin` as far as the rows can tell.

    The anchor is the registry's alias ``anchor``: the first champion, then each that was found better than the anchor before it, at a
    level that pays for every comparison on its rows, or one that a person names with a reason (`sluice anchor`). After candidates that were refused, or that all
    together look worse, the next is refused sooner (`sluice.stats.spending.raised`): a process that makes worse models tries often, and needs luck once.
    """

    name, step, Config = "anchor", "evaluate", AnchorConfig
    then = "make it as good as the anchor (`sluice anchor NAME` shows it), or where that cannot be had any more name another: sluice anchor NAME --set VERSION --reason TEXT"

    def judge(self, facts: Judged, config: AnchorConfig) -> Decision:
        """The decision of `decide`. Evidence ``anchor``: the comparison with ``digest``, ``refused`` and ``lost``, why it can be compared no more."""
        from sluice.gates.theirs import asked
        from sluice.problems.comparison import Before

        if facts.anchor is None or facts.champion is None:
            return Decision("pass", evidence={"anchor": {"whence": facts.anchor_note}} if facts.anchor_note else {})
        before = Before(facts.compared_before, facts.refused_before, facts.decline, share(facts.compared_before))
        margin = config.margin if config.anchor_margin is None else config.anchor_margin
        compared, why = against(asked(facts.anchor, "anchor", facts), facts, config.model_copy(update={"margin": margin}), before)
        if compared is None or compared["difference"] is None:
            why = why or f"the anchor cannot be compared any more: {(compared or {}).get('note') or 'no row that both can be right on'}"
            lost = f"{why}; the champion is the anchor from now on"
            return Decision(
                "pass", (lost,), {"anchor": {"whence": facts.anchor_note, "digest": facts.anchor.digest, "lost": lost}}, (lost,)
            )
        past = {"refused": before.refused, "decline": before.decline}
        told = {**compared, "digest": facts.anchor.digest, "whence": facts.anchor_note, **past, "lost": ""}
        return dataclasses.replace(decide(told), evidence={"anchor": told})

    def section(self, decision: Decision) -> str:
        """The difference and its interval, against the margin; where the champion is the anchor, that."""
        found = decision.evidence.get("anchor")
        if not found:
            return ""
        said = f'<p class="note">{escape(found["lost"] if found.get("lost") else found["whence"])}</p>'
        return (
            drawn("Against the anchor, the best champion so far", found, "anchor") + said
            if "verdict" in found
            else f"<h3>Anchor</h3>{said}"
        )


def share(compared_before: float) -> float:
    """How much of the error level a comparison has with nothing before it: half on new rows, since the champion's check decides too and a decline is seen on such rows; on
    rows that were compared on before, where none is, all of it."""
    return min(1.0, 0.5 + 0.5 * compared_before)


def decide(compared: dict[str, Any]) -> Decision:
    """What the comparison with the anchor says.

    Args:
        compared: of `sluice.problems.comparison.compare`, with ``refused``, the candidates refused in a row before this one.
    """
    said = sentence(compared)
    if compared["verdict"] != "worse":
        words = {"better": "better than", "no_worse": "no worse than"}.get(compared["verdict"], "not shown to be worse than")
        return Decision("pass", (f"{words} the anchor, the best champion so far: {said}",))
    return Decision("refuse", (f"worse than the anchor, the best champion so far: {said}{paid(compared)}",))
