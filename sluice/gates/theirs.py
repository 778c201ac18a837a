"""The champion's answers to the held-out rows, from its package, as it runs in production."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sluice.core.errors import DataError, InputError

if TYPE_CHECKING:
    import numpy as np

    from sluice.gates.facts import Judged
    from sluice.problems.decision import Rule


@dataclasses.dataclass(frozen=True, eq=False)
class Theirs:
    """What the champion answers.

    Attributes:
        outputs: to the rows of `Judged.outputs`.
        labels: the champion's, in the candidate's spelling.
        rule: how its outputs become a label.
        digest: of its package.
    """

    outputs: np.ndarray
    labels: list[str]
    rule: Rule | None
    digest: str


def theirs(facts: Judged) -> Theirs | str:
    """Ask the champion; or why it cannot be compared, a sentence, where there is none, it solves another problem or cannot read these rows."""
    from sluice.core.spelling import Spelling
    from sluice.engines.predictor import Predictor
    from sluice.engines.rows import spelled_by
    from sluice.engines.scoring import judged

    champion, candidate = facts.champion, facts.package
    if champion is None:
        return facts.champion_note
    if champion.objective != candidate.objective or champion.task != facts.project.task:
        return f"the champion solves another problem ({champion.task}, {champion.objective}): not comparable"
    try:
        predict, spelled = Predictor(champion).predict, spelled_by(champion)
        outputs, _ = judged(lambda rows: predict(spelled(list(rows))), champion.preprocess, champion.labels, facts.dataset, "test")
    except (InputError, DataError) as e:
        return f"the champion cannot read these rows, so nothing was compared: {e.message}"
    labels, rule = list(champion.labels), champion.rule
    if not set(labels) & set(candidate.labels):  # made when 1.0 was another class than 1
        spelling = Spelling.kept(candidate.labels)
        labels = [spelling.text(v) for v in labels]
        rule = dataclasses.replace(rule, label=spelling.text(rule.label)) if rule is not None else None
    return Theirs(outputs, labels, rule, champion.digest)
