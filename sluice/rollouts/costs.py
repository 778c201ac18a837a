"""What answers cost, as a share that the tests of yes/no outcomes take: each answer counts as its cost over a bound, and no more than 1.

A prompt's server tells for a grid of bounds what its answers cost together, each counted up to that bound (`CAPPED`). Which of them a
rollout goes by is settled once, from what stable's answers cost before there is any evidence: about two to four times their mean. So one answer that
costs a hundred times as much weighs as four, and a mean over bounded numbers is tested: the e-values of `sluice.stats.bernoulli` hold for
outcomes anywhere between 0 and 1, since ``r**x * s**(1-x)`` is convex in x and so at most ``x r + (1-x) s``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice.rollouts.state import Counts

#: The server's series, and its label of the bound.
CAPPED, BOUND = "sluice_llm_answer_cost_capped_sum", "most"
#: How many answers had a cost told, what they cost up to a bound (in what it is), and the same over the bound that was settled.
ANSWERS, PAID, SHARE = "priced", "paid:", "dear"
#: Answers of stable's that settle the bound, and how many times their mean it is at least.
_LEARN, _TIMES = 20, 2.0


def bounded(
    tests: Mapping[str, Any], blocks: Mapping[str, Counts], each: Mapping[str, Mapping[str, Counts]]
) -> tuple[dict[str, Any], dict[str, Counts], dict[str, dict[str, Counts]]]:
    """A block's counts with `SHARE` in place of the grid, and the tests with the bound once it is settled.

    Args:
        tests: the running tests; ``bound`` is null until enough of stable's answers were seen.
        blocks: by arm. each: by arm and process.
    """
    bound = tests.get("bound")
    made = {arm: _shared(c, bound) for arm, c in blocks.items()}
    by_process = {arm: {ident: _shared(c, bound) for ident, c in found.items()} for arm, found in each.items()}
    out = dict(tests)
    if bound is None:
        out |= _learnt(tests, blocks.get("stable", {}))
    return out, made, by_process


def _shared(counts: Counts, bound: str | None) -> Counts:
    kept = {k: v for k, v in counts.items() if not k.startswith(PAID) and k != ANSWERS}
    n = counts.get(ANSWERS, 0.0)
    return kept if bound is None or n <= 0 else {**kept, ANSWERS: n, SHARE: min(counts.get(PAID + bound, 0.0) / float(bound), n)}


def _learnt(tests: Mapping[str, Any], stable: Counts) -> dict[str, Any]:
    """What is known of stable's costs with this block, and the bound where that is enough."""
    bounds = sorted((k.removeprefix(PAID) for k in stable if k.startswith(PAID)), key=float)
    n, paid = tests.get("priced", [0.0, 0.0])
    if bounds:
        n, paid = n + stable.get(ANSWERS, 0.0), paid + stable[PAID + bounds[-1]]
    if n < _LEARN or paid <= 0 or not bounds:
        return {"priced": [n, paid]}
    return {"priced": [n, paid], "bound": next((b for b in bounds if float(b) >= _TIMES * paid / n), bounds[-1])}
