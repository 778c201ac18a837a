"""Two classifiers on the same rows, whose labels need not be the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sluice.problems import clustered
from sluice.problems.answers import Answers


def pair(ours: Answers, labels: Sequence[str], theirs: Answers, their_labels: Sequence[str]) -> tuple[Answers, Answers, np.ndarray]:
    """Both models' answers in the labels of both, to the rows whose true label both know.

    Args:
        ours: with the truth, in `labels`.
        theirs: in `their_labels`; the truth is taken from `ours`.

    Returns:
        Ours, theirs, and which of all rows (bool [rows]) these are.
    """
    union = sorted({*labels, *their_labels})
    shared = np.isin(ours.targets, [i for i, name in enumerate(labels) if name in set(their_labels)])
    of = None if ours.positive is None else labels[ours.positive]
    first, second = (_spread(a, known, union, ours, labels, of).rows(shared) for a, known in ((ours, labels), (theirs, their_labels)))
    return first, second, shared


def told_apart(ours: Answers, theirs: Answers) -> dict[str, float]:
    """Rows answered differently, rows that one of two alone is right on, and the exact p-value that these fall either way alike (of units where rows belong together)."""
    right, too = ours.predicted == ours.targets, theirs.predicted == theirs.targets
    return {
        "n_discordant": int((ours.predicted != theirs.predicted).sum()),
        "candidate_only_right": int((right & ~too).sum()),
        "champion_only_right": int((~right & too).sum()),
        "p_value": clustered.sign_test(right, too, ours.units),
    }


def _spread(a: Answers, known: Sequence[str], union: Sequence[str], truth: Answers, labels: Sequence[str], positive: str | None) -> Answers:
    """A model's answers in the labels of `union`, and the truth, told in `labels`, in them too.

    A label the model does not know gets the probability -1, which is never the largest, ranks last, and clips to none.
    """
    place = np.array([union.index(name) for name in known], dtype=np.int64)
    out = np.full((len(a.outputs), len(union)), -1.0)
    out[:, place] = a.outputs
    targets = np.array([union.index(name) for name in labels] + [-1], dtype=np.int64)[truth.targets]
    return Answers.of(out, targets, place[a.predicted], None if positive is None else union.index(positive), truth.units)
