"""Soundness: what a model's problem itself holds against its answers, whatever the metric says."""

from __future__ import annotations

from sluice.core.check import Check, Decision
from sluice.core.section import Section
from sluice.gates.facts import Judged


class Sound(Check):
    """Refuses and warns as the problem does (`Problem.faults`): a generator that repeats itself, say."""

    name, step = "sound", "evaluate"

    def judge(self, facts: Judged, config: Section) -> Decision:
        """By what the evaluation found."""
        against, said = facts.dataset.problem.faults(facts.evaluation)
        if against:
            return Decision("refuse", tuple(against), cautions=tuple(said))
        return Decision("pass", tuple(said), cautions=tuple(said))

    def section(self, decision: Decision) -> str:
        """Nothing of its own: its sentences stand among the reasons."""
        return ""
