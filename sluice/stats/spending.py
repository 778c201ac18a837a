"""What a comparison costs that others went before: error levels for claims on the same rows, and for tries after refused ones.

A claim (this model is better, that one no worse) that is one of many on the same rows is right by luck the sooner, the more were
made. Of an unlimited sequence the k-th gets the level a / (k (k - 1)), the first one a: they add up to 2 a, since 1 / (k (k - 1)) telescopes to 1.
The union bound holds whatever the claims have to do with each other, for models that were not made by looking at these rows; each look
that goes into the next model costs more than any level tells, which is why worn rows are to be replaced.

References:
    Foster, Stine: alpha-investing: a procedure for sequential control of expected false discoveries (JRSS B 70, 2008, 429-444): levels spent along
        an unlimited sequence.
    Dwork, Feldman, Hardt, Pitassi, Reingold, Roth: The reusable holdout (Science 349, 2015, 636-638); Blum, Hardt: The ladder (ICML 2015):
        what adaptive reuse does to held-out rows.
    Page: Continuous inspection schemes (Biometrika 41, 1954, 100-115): the cumulative sum that forgets what lies before a change; Moustakides:
        Optimal stopping times for detecting changes in distributions (Annals of Statistics 14, 1986): of all it sees a change soonest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist

from sluice.stats.student import student

_NORMAL = NormalDist()
#: From here on a claim on the same rows takes four times the rows that the first one took.
WORN = 2.0
#: The loss, in standard errors of a comparison, that a decline is looked for; one comparison counts for so many of them at most, or a single broken candidate would
#: pass for a decline.
_SHIFT, _MOST_SHIFT = 1.3, 2.0
#: The largest decline, a likelihood ratio of 150, so that a process that was mended is believed after some tries; and the level it can lead to.
_MOST_DECLINE, _MOST_LEVEL = 5.0, 0.9


def claim_level(level: float, before: float) -> float:
    """The one-sided error level of a claim.

    Args:
        level: of the first one on these rows.
        before: comparisons made on them before; each counts for the share of these rows it saw, so it may be a fraction.
    """
    k = 1 + before
    return level / max(1.0, k * (k - 1))


def raised(level: float, refused: int, decline: float = 0.0, share: float = 1.0) -> float:
    """The one-sided level at which a candidate is refused that comes after others that were worse: the next tries pay for them.

    A process that makes models which are too bad gets as many tries as it will, and one of them looks good enough by luck. After candidates refused in a row
    by the triangular numbers 3, 6, ... of the level, at most 1/2, where any candidate that looks worse at all is refused. One that is as good is refused once in
    1 / level tries, so it seldom meets more than the first. And by what all candidates show together, whether refused or not: the level times how much likelier
    they are of a process in decline, at most 0.9, where a candidate has to look better.

    Args:
        level: of a comparison with nothing before it.
        refused: candidates in a row before this one.
        decline: of `decline`.
        share: of the level that this comparison has, where another decides too.
    """
    tries = level * (refused + 1) * (refused + 2) / 2 if refused else level * share
    return max(min(0.5, tries), min(_MOST_LEVEL, level * share * math.exp(decline)))


def decline(found: Iterable[tuple[float, float]]) -> float:
    """How much likelier comparisons are if the candidates got worse at some time than if each is as good as what it was compared with: log of the likelihood ratio.

    Page's cumulative sum of normal shifts, so that what was good long ago weighs nothing against a decline since. 0 where nothing speaks for one.

    Args:
        found: of each comparison, in their order, the difference in its standard errors (below 0: worse), and how much of its rows is new, 0 to 1.
    """
    total = 0.0
    for shift, new in found:
        bounded = max(-_MOST_SHIFT, min(_MOST_SHIFT, shift))
        total = max(0.0, min(_MOST_DECLINE, total - new * _SHIFT * (bounded + _SHIFT / 2)))
    return total


def stretch(level: float, first: float, df: float) -> float:
    """How many times as wide a limit is at a one-sided error level as at another, by Student's t. 0 at 1/2, beyond it negative."""
    if level >= 0.5:
        return 0.0 if level == 0.5 else -stretch(1 - level, first, df)
    return student(-_NORMAL.inv_cdf(level), max(df, 1.0)) / student(-_NORMAL.inv_cdf(first), max(df, 1.0))
