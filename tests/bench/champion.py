"""What the champion's and the anchor's checks refuse: simulated comparisons, and chains of releases, through the checks' own functions.

    python -m tests.bench.champion [--times 400] [--chains 100]

Prints lines of JSON, of docs/evaluation.md: how often a candidate as good as the champion, and one 2 points worse, is refused; what 40 releases of
which each is 0.4 points worse than the last lose in all; how often the best of many equal candidates on the same rows is called better.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import numpy as np

from sluice.gates import anchor, champion
from sluice.gates.config import EvaluateConfig
from sluice.gates.ledger import HeldOut, Ledger, Line, shift, told
from sluice.problems.comparison import Before, compare
from sluice.problems.units import Units

LABELS = ["no", "yes"]
ERROR = 0.05
#: How alike two models' errors are: the part of what makes a row hard that they share. Of 0.9 two classifiers with 5 % errors are right on different rows in 4.7 %
#: of all, as two trainings of one network are; of 0 they know nothing of each other, and differ in 9.5 %.
ALIKE, STRANGERS = 0.9, 0.0
_NORMAL = NormalDist()


@dataclasses.dataclass(frozen=True)
class Rows:
    """Held-out rows: what is true of them, how hard they are, which belong together."""

    truth: np.ndarray
    hard: np.ndarray
    units: Units | None
    held: HeldOut


def rows(rng: np.random.Generator, n: int, kind: str) -> Rows:
    """`kind`: ``classification``, ``regression``, or ``clustered``: labels of units of nine rows on the average, which share half of how hard they are."""
    units, hard = None, rng.standard_normal(n)
    if kind == "clustered":
        sizes = 1 + rng.geometric(1 / 8, n)
        codes = np.repeat(np.arange(n), sizes)[:n]
        units = Units("user", codes)
        hard = np.sqrt(0.5) * hard + np.sqrt(0.5) * rng.standard_normal(n)[codes]
    truth = rng.standard_normal(n) * 2 if kind == "regression" else (rng.random(n) < 0.5).astype(np.int64)
    return Rows(truth, hard, units, HeldOut.of(rng.integers(0, 1 << 63, n, dtype=np.uint64)))


def answer(rng: np.random.Generator, on: Rows, loss: float, alike: float) -> np.ndarray:
    """A model's answers: `loss` is how much worse than the first it is, in accuracy, or for values as a share of the rmse."""
    own = np.sqrt(alike) * on.hard + np.sqrt(1 - alike) * rng.standard_normal(len(on.hard))
    if on.truth.dtype.kind == "f":
        return on.truth + own * (1 + loss)
    said = on.truth ^ (own > _NORMAL.inv_cdf(1 - ERROR - loss))
    return np.eye(2)[said] * 0.9 + 0.05


def judged(ours: np.ndarray, theirs: np.ndarray, on: Rows, config: EvaluateConfig, before: Before = Before()) -> dict[str, Any]:
    labels = [] if ours.ndim == 1 else LABELS
    return compare(ours, theirs, on.truth, labels, labels, config, units=on.units, before=before)


def refused(kind: str, n: int, loss: float, alike: float, times: int, seed: int = 3, **settings: Any) -> float:
    """The share of candidates that the champion's check refuses."""
    rng, config, found = np.random.default_rng([seed, n, int(1000 * loss)]), EvaluateConfig(**settings), 0
    for _ in range(times):
        on = rows(rng, n, kind)
        ours, theirs = answer(rng, on, loss, alike), answer(rng, on, 0.0, alike)
        found += champion.decide(judged(ours, theirs, on, config), config).decision == "refuse"
    return found / times


def chain(n: int, step: float, alike: float, releases: int, *, fresh: bool, seed: int) -> tuple[float, float]:
    """Releases of which each is `step` worse than the model that serves: what serves at the end has lost so much, and such a share was refused.

    The registry's part is played by a `Ledger`: the anchor is the first champion, until one is found better.
    """
    rng, config = np.random.default_rng([seed, n]), EvaluateConfig()
    ledger, best, serves, lost = Ledger(), ("first", 0.0), ("first", 0.0), 0
    on = rows(rng, n, "classification")
    answers: dict[str, np.ndarray] = {}
    for at in range(releases):
        if fresh:
            on, answers = rows(rng, n, "classification"), {}
        new = (f"release {at}", serves[1] + step)
        for name, loss in (best, serves, new):
            if name not in answers:
                answers[name] = answer(rng, on, loss, alike)
        if ledger.proved(serves[0], best[0]):
            best = serves
        apart, compared_before = best[0] != serves[0], ledger.before(on.held, new[0])
        tries = (ledger.refused(best[0], new[0]), ledger.decline(best[0], new[0], on.held))
        versus = judged(answers[new[0]], answers[serves[0]], on, config, Before(compared_before, *((0, 0.0) if apart else tries)))
        against = (
            judged(answers[new[0]], answers[best[0]], on, config, Before(compared_before, *tries, anchor.share(compared_before)))
            if apart
            else None
        )
        decisions = [champion.decide(versus, config)] + ([anchor.decide(against)] if against else [])
        verdicts = (versus["verdict"], against["verdict"] if against else "")
        line = Line(at, on.held, new[0], serves[0], best[0] if apart else "", "accuracy", *verdicts, shift=shift(against or versus))
        ledger = Ledger((*ledger.lines, line))
        if any(d.decision == "refuse" for d in decisions):
            lost += 1
        else:
            serves = new
    return serves[1], lost / releases


def called_better(n: int, tries: int, times: int) -> tuple[float, float]:
    """How often one of many candidates as good as the champion is called better on the same rows: with the ledger, and without."""
    rng, config, with_, without = np.random.default_rng(n), EvaluateConfig(), 0, 0
    for _ in range(times):
        on = rows(rng, n, "classification")
        theirs = answer(rng, on, 0.0, ALIKE)
        found = [[judged(answer(rng, on, 0.0, ALIKE), theirs, on, config, Before(b))["verdict"] for b in (k, 0)] for k in range(tries)]
        with_ += any(v[0] == "better" for v in found)
        without += any(v[1] == "better" for v in found)
    return with_ / times, without / times


def comparisons(times: int) -> Iterator[dict[str, Any]]:
    """Equal candidates, and ones that are 2 points (of an rmse: 5 %) worse."""
    for kind in ("classification", "regression", "clustered"):
        worse = 0.05 if kind == "regression" else 0.02
        for n in (376, 4500):
            for alike in (ALIKE, STRANGERS):
                told_of = {"kind": kind, "rows": n, "alike": alike}
                yield told_of | {"case": "as good", "refused": refused(kind, n, 0.0, alike, times)}
                if n == 4500:
                    yield told_of | {"case": "worse", "by": worse, "refused": refused(kind, n, worse, alike, times)}


def chains(count: int) -> Iterator[dict[str, Any]]:
    """Chains that get worse, and chains that do not."""
    for alike in (ALIKE, STRANGERS):
        for fresh in (True, False):
            for step in (0.004, 0.0):
                found = np.array([chain(4500, step, alike, 40, fresh=fresh, seed=s) for s in range(count)])
                yield {
                    "case": "chain",
                    "step": step,
                    "alike": alike,
                    "fresh_rows": fresh,
                    "lost_points_mean": round(100 * float(found[:, 0].mean()), 2),
                    "lost_points_95": round(100 * float(np.quantile(found[:, 0], 0.95)), 2),
                    "lost_points_most": round(100 * float(found[:, 0].max()), 2),
                    "within_one_point": float((found[:, 0] <= 0.0100001).mean()),
                    "refused": round(float(found[:, 1].mean()), 3),
                    "refused_median": round(float(np.median(found[:, 1])), 3),
                }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=400)
    parser.add_argument("--chains", type=int, default=100)
    args = parser.parse_args()
    for line in comparisons(args.times):
        print(json.dumps(line), flush=True)
    for line in chains(args.chains):
        print(json.dumps(line), flush=True)
    spent, free = called_better(1000, 50, args.times // 4)
    print(json.dumps({"case": "best of 50 as good, on the same rows", "called_better": spent, "without_ledger": free}), flush=True)
    on = rows(np.random.default_rng(1), 4500, "classification")
    rng = np.random.default_rng(2)
    ours, theirs = answer(rng, on, 0.0, ALIKE), answer(rng, on, 0.0, ALIKE)
    for number in (1, 2, 10, 25, 50):
        found = told(number - 1, judged(ours, theirs, on, EvaluateConfig(), Before(number - 1)))
        print(
            json.dumps({"case": "cost", "comparison": number, "times_the_rows": round(found["costs"], 2), "worn": found["worn"]}),
            flush=True,
        )


if __name__ == "__main__":
    main()
