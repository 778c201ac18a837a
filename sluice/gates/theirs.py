"""The champion's (and the anchor's) answers to the held-out rows, from its package, as it runs in production."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sluice.core.errors import DataError, InputError

if TYPE_CHECKING:
    import numpy as np

    from sluice.gates.facts import Judged
    from sluice.package.package import Package
    from sluice.problems.decision import Rule


@dataclasses.dataclass(frozen=True, eq=False)
class Theirs:
    """What another model answers.

    Attributes:
        outputs: to the rows of `Judged.outputs`.
        labels: its own, in the candidate's spelling.
        rule: how its outputs become a label.
        digest: of its package.
    """

    outputs: np.ndarray
    labels: list[str]
    rule: Rule | None
    digest: str


def theirs(facts: Judged) -> Theirs | str:
    """Ask the champion; or why it cannot be compared, a sentence: also where there is none."""
    return facts.champion_note if facts.champion is None else asked(facts.champion, "champion", facts)


def asked(other: Package, who: str, facts: Judged) -> Theirs | str:
    """Ask another package, called `who`; or why it cannot be compared, a sentence, where it solves another problem or cannot read these rows."""
    from sluice.core.spelling import Spelling
    from sluice.engines.rows import spelled_by
    from sluice.engines.scoring import asked_and_judged

    candidate = facts.package
    if other.objective != candidate.objective or other.task != facts.project.task:
        return f"the {who} solves another problem ({other.task}, {other.objective}): not comparable"
    try:
        outputs, _ = asked_and_judged(other, facts.dataset, "test", facts.project, facts.kept, spelled_by(other))
    except (InputError, DataError) as e:
        what = f"{e.field!r} {e.message}" if e.field else e.message
        return f"the {who} cannot read these rows, so nothing was compared: {what}"
    labels, rule = list(other.labels), other.rule
    if not set(labels) & set(candidate.labels):  # made when 1.0 was another class than 1
        spelling = Spelling.kept(candidate.labels)
        labels = [spelling.text(v) for v in labels]
        rule = dataclasses.replace(rule, label=spelling.text(rule.label)) if rule is not None else None
    return Theirs(outputs, labels, rule, other.digest)
