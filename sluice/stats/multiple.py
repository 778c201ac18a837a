"""Several tests at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def holm(tests: Sequence[Callable[[float], bool]], alpha: float) -> list[bool]:
    """Which hypotheses are rejected, so that with probability 1 - alpha none of them is true, however the tests depend on each other.

    Holm: A simple sequentially rejective multiple test procedure (Scandinavian Journal of Statistics 6, 1979, 65-70), by rounds: all that are rejected at
    alpha over the number of those left are, until a round rejects none. That is the procedure in order of p-values, which need not be known.

    Args:
        tests: each says whether its hypothesis is rejected at a level; whoever rejects at one rejects at every higher one.
        alpha: of all.
    """
    rejected = [False] * len(tests)
    while left := [i for i, gone in enumerate(rejected) if not gone]:
        level = alpha / len(left)
        hit = [i for i in left if tests[i](level)]
        if not hit:
            break
        for i in hit:
            rejected[i] = True
    return rejected


def in_order(tests: Sequence[Callable[[float], bool]], alpha: float) -> list[bool]:
    """As `holm`, for hypotheses in an order that is fixed beforehand: each at the whole level, until the first that is not rejected.

    Maurer, Hothorn, Lehmacher: Multiple comparisons in drug clinical trials and preclinical assays: a-priori ordered hypotheses (1995).
    """
    rejected = [False] * len(tests)
    for i, test in enumerate(tests):
        if not test(alpha):
            break
        rejected[i] = True
    return rejected
