"""A check of one's own: no label may be more than a part of all answers. Named in a project under `evaluate.checks`."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from sluice.core.check import Check, Decision
from sluice.core.section import Section
from sluice.gates.facts import Judged


class NoFavourite(Check):
    """Refuses a model that answers one label too often."""

    step = "evaluate"

    class Config(Section):
        """How much is too often."""

        most: float = Field(0.9, gt=0, le=1, description="largest part of all answers that one label may be")

    def judge(self, facts: Judged, config: Config) -> Decision:
        """Count the answers on the held-out rows."""
        rows = np.bincount(facts.outputs.argmax(axis=1), minlength=len(facts.labels))
        label, share = facts.labels[int(rows.argmax())], float(rows.max() / rows.sum())
        said = f"{label!r} is {share:.0%} of all answers, {config.most:.0%} are allowed"
        return Decision("refuse" if share > config.most else "pass", (said,), {"label": label, "share": share})

    def section(self, decision: Decision) -> str:
        """A bar."""
        share = decision.evidence["share"]
        return f'<p>{share:.0%}</p><meter value="{share:.4f}" max="1"></meter>'
