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
"""

from __future__ import annotations

from statistics import NormalDist

from sluice.stats.student import student

_NORMAL = NormalDist()
#: From here on a claim on the same rows takes four times the rows that the first one took.
WORN = 2.0


def claim_level(level: float, before: float) -> float:
    """The one-sided error level of a claim.

    Args:
        level: of the first one on these rows.
        before: comparisons made on them before; each counts for the share of these rows it saw, so it may be a fraction.
    """
    k = 1 + before
    return level / max(1.0, k * (k - 1))


def raised(level: float, refused: int) -> float:
    """The one-sided level at which a candidate is refused that comes after `refused` others in a row, at most 1/2: the next tries pay for them.

    A process that makes models which are too bad gets as many tries as it will, and one of them looks good enough by luck. By the triangular
    numbers 1, 3, 6, ... of the first level; at 1/2 any candidate that looks worse at all is refused. One that is as good is refused once in
    1 / level tries, so it seldom meets more than the first.
    """
    return min(0.5, level * (refused + 1) * (refused + 2) / 2)


def stretch(level: float, first: float, df: float) -> float:
    """How many times as wide a limit is at a one-sided error level as at another, by Student's t. 0 at 1/2."""
    if level >= 0.5:
        return 0.0
    return student(-_NORMAL.inv_cdf(level), max(df, 1.0)) / student(-_NORMAL.inv_cdf(first), max(df, 1.0))
