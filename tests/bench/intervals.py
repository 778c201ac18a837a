"""How often the intervals of losses hold what they are of: by drawing test sets from laws whose value is known.

    python -m tests.bench.intervals [--sets 2000] [--rows 30,100,200,2000]
    python -m tests.bench.intervals --units 20,50,200 [--sets 500]

Prints the tables of docs/evaluation.md: metric, law, coverage of the value's interval at each number of rows, and of the paired difference's;
with --units rows that belong together, and beside each coverage that of intervals which take them for independent.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

from sluice.problems.answers import Answers
from sluice.problems.metrics import TABLE
from sluice.problems.units import Units

Draw = Callable[[np.random.Generator, int], tuple[Answers, Answers]]
CONFIDENCE = 0.95


def classifier(shape: float, second: float, rng: np.random.Generator, n: int) -> tuple[Answers, Answers]:
    """Labels drawn from Beta(shape, shape) probabilities: a model that knows them up to noise, and one too sure by the factor `second` (1: as noisy)."""
    p = np.clip(rng.beta(shape, shape, n), 1e-12, 1 - 1e-12)
    y = (rng.random(n) < p).astype(np.int64)
    z = np.log(p / (1 - p))
    first, other = (z + 0.5 * rng.standard_normal(n), z + 0.5 * rng.standard_normal(n)) if second == 1 else (z, second * z)
    return tuple(Answers.of(np.stack([1 / (1 + np.exp(s)), 1 / (1 + np.exp(-s))], axis=1), y) for s in (first, other))  # type: ignore[return-value]


def normal(rng: np.random.Generator, n: int) -> tuple[Answers, Answers]:
    y = 2 * rng.standard_normal(n)
    return Answers.of(y + rng.standard_normal(n), y), Answers.of(y + 1.1 * rng.standard_normal(n), y)


def student(rng: np.random.Generator, n: int) -> tuple[Answers, Answers]:
    """Errors of Student's law with five degrees of freedom: a fourth moment, and no sixth."""
    y = 2 * rng.standard_normal(n)
    return Answers.of(y + rng.standard_t(5, n), y), Answers.of(y + 1.1 * rng.standard_t(5, n), y)


def skewed(rng: np.random.Generator, n: int) -> tuple[Answers, Answers]:
    """Lognormal targets (prices): a model that knows half of the logarithm's variance, and the mean."""
    x = rng.standard_normal(n)
    y = np.exp(math.sqrt(0.5) * x + math.sqrt(0.5) * rng.standard_normal(n))
    return Answers.of(np.exp(math.sqrt(0.5) * x + 0.25), y), Answers.of(np.full(n, math.exp(0.5)), y)


def relative(rng: np.random.Generator, n: int) -> tuple[Answers, Answers]:
    """Lognormal targets, errors of 30 % of the target."""
    y = np.exp(rng.standard_normal(n))
    return Answers.of(y * (1 + 0.3 * rng.standard_normal(n)), y), Answers.of(y * (1 + 0.3 * rng.standard_normal(n)), y)


def rare(rng: np.random.Generator, n: int) -> tuple[Answers, Answers]:
    """One error in a hundred is twenty times as large."""
    y = rng.standard_normal(n)
    return tuple(Answers.of(y + rng.standard_normal(n) * np.where(rng.random(n) < 0.01, 20, 1), y) for _ in range(2))  # type: ignore[return-value]


#: Law, in words -> how test sets are drawn, and the metrics it is for.
LAWS: dict[str, tuple[Draw, tuple[str, ...]]] = {
    "soft probabilities, equal models": (functools.partial(classifier, 1.0, 1), ("log_loss", "brier")),
    "soft probabilities, one too sure": (functools.partial(classifier, 1.0, 1.5), ("log_loss", "brier")),
    "sharp probabilities, equal models": (functools.partial(classifier, 0.3, 1), ("log_loss",)),
    "sharp probabilities, one too sure": (functools.partial(classifier, 0.3, 1.5), ("log_loss",)),
    "normal errors": (normal, ("rmse", "mae", "r2")),
    "Student's errors, 5 degrees of freedom": (student, ("rmse", "mae", "r2")),
    "lognormal targets, half explained": (skewed, ("rmse", "mae", "r2")),
    "lognormal targets, errors of 30 %": (relative, ("rmse", "mae", "r2")),
    "1 % of errors 20 times as large": (rare, ("rmse", "mae")),
}


@functools.cache
def truth(law: str, metric: str) -> tuple[float, float]:
    """The value and the difference of the law itself, from eight million rows."""
    m, draw = TABLE[metric], LAWS[law][0]
    found = []
    for seed in range(16):
        first, second = draw(np.random.default_rng([seed, 1]), 500_000)
        found.append([m.moments(first).mean(axis=0), m.moments(second).mean(axis=0)])  # type: ignore[attr-defined]
    one, two = np.mean(found, axis=0)
    return float(m.combine(one)), float(m.sign * (m.combine(one) - m.combine(two)))  # type: ignore[attr-defined]


def coverage(law: str, metric: str, rows: int, sets: int) -> tuple[float, float, float]:
    """Shares of test sets whose interval holds the value, and the difference; and of those that carried a note."""
    m, draw, rng = TABLE[metric], LAWS[law][0], np.random.default_rng([rows, 2])
    value, difference = truth(law, metric)
    hits = np.zeros(3)
    for _ in range(sets):
        first, second = draw(rng, rows)
        own, paired = m.interval(first, CONFIDENCE, 0), m.difference(first, second, CONFIDENCE, 0)
        hits += [
            own is not None and own[0] <= value <= own[1],
            paired is not None and paired[0] <= difference <= paired[1],
            m.too_narrow(first) is not None,
        ]
    return tuple(hits / sets)  # type: ignore[return-value]


def together(kind: str, rng: np.random.Generator, groups: int, rows: int = 8) -> tuple[Answers, Answers]:
    """Two equally good models on units of 1 to some dozens of rows, `rows` on the average, whose truth and whose errors are half the unit's own."""
    sizes = 1 + rng.geometric(1 / rows, groups)
    codes = np.repeat(np.arange(groups), sizes)

    def half() -> np.ndarray:
        return rng.standard_normal(groups)[codes] + rng.standard_normal(len(codes))

    truth = half()
    said = [truth + half(), truth + half()]
    units = Units("user", codes)
    if kind == "values":
        return tuple(Answers.of(s, truth, units=units) for s in said)  # type: ignore[return-value]
    bars = {"two labels": (0.0,), "a rare label": (2.2,), "three labels": (-1.0, 1.0)}[kind]
    return tuple(_labelled(s, np.digitize(truth, bars), bars, units) for s in said)  # type: ignore[return-value]


def _labelled(score: np.ndarray, targets: np.ndarray, bars: tuple[float, ...], units: Units) -> Answers:
    """Probabilities by the score's place between the bars."""
    above = 1 / (1 + np.exp(-1.5 * (score[:, None] - np.array(bars))))
    whole = np.concatenate([np.ones((len(score), 1)), above, np.zeros((len(score), 1))], axis=1)
    return Answers.of(-np.diff(whole, axis=1), targets, units=units)


#: Kind of answers -> the metrics that are looked at.
TOGETHER = {
    "two labels": (
        "accuracy",
        "precision",
        "recall",
        "f1",
        "balanced_accuracy",
        "mcc",
        "roc_auc",
        "average_precision",
        "log_loss",
        "brier",
    ),
    "a rare label": ("accuracy", "recall", "f1", "roc_auc"),
    "three labels": ("accuracy", "macro_f1", "balanced_accuracy", "roc_auc"),
    "values": ("rmse", "mae", "r2"),
}


@functools.cache
def value_together(kind: str, metric: str) -> float:
    """The value of the law itself, from about two million rows. Both models are equally good, so their difference is 0."""
    found = [together(kind, np.random.default_rng([seed, 5]), 30_000) for seed in range(2)]
    return float(np.mean([TABLE[metric].value(dataclasses.replace(a, units=None)) for pair in found for a in pair]))


def coverage_together(kind: str, metric: str, groups: int, sets: int, resamples: int = 500) -> tuple[float, float, float, float]:
    """Shares of test sets whose interval holds the value, and the difference; and the same of rows taken for independent."""
    m, value, rng = TABLE[metric], value_together(kind, metric), np.random.default_rng([groups, 6])
    hits = np.zeros(4)
    for _ in range(sets):
        pair = together(kind, rng, groups)
        alone = tuple(dataclasses.replace(a, units=None, memo={}) for a in pair)
        found = [f for a, b in (pair, alone) for f in (m.interval(a, CONFIDENCE, resamples), m.difference(a, b, CONFIDENCE, resamples))]
        hits += [f is not None and f[0] <= true <= f[1] for f, true in zip(found, (value, 0.0) * 2, strict=True)]
    return tuple(hits / sets)  # type: ignore[return-value]


def units_table(sizes: list[int], sets: int) -> None:
    """Prints coverage by metric, kind of answers and number of units."""
    print(
        f"| metric | answers | {' | '.join(f'{n:,} units: value, difference (rows: value, difference)' for n in sizes)} |\n|---|---|{'---|' * len(sizes)}"
    )
    for kind, metrics in TOGETHER.items():
        for metric in metrics:
            found = [coverage_together(kind, metric, n, sets) for n in sizes]
            print(f"| {metric} | {kind} | " + " | ".join(f"{a:.1%}, {b:.1%} ({c:.1%}, {d:.1%})" for a, b, c, d in found) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--rows", default="30,100,200,2000")
    parser.add_argument("--units", help="numbers of units: the table of rows that belong together")
    args = parser.parse_args()
    if args.units:
        units_table([int(n) for n in args.units.split(",")], args.sets)
        return
    sizes = [int(n) for n in args.rows.split(",")]
    print(f"| metric | law | {' | '.join(f'{n:,} rows: value, difference, told' for n in sizes)} |\n|---|---|{'---|' * len(sizes)}")
    for law, (_, metrics) in LAWS.items():
        for metric in metrics:
            found = [coverage(law, metric, n, args.sets) for n in sizes]
            print(f"| {metric} | {law} | " + " | ".join(f"{a:.1%}, {b:.1%}, {c:.0%}" for a, b, c in found) + " |", flush=True)


if __name__ == "__main__":
    main()
