"""Faults of the data are told from real shifts: for columns of several kinds, in all rows or a part of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from sluice.monitor.faults import Cause, Numbers, of_categories, of_numbers, swapped_by_company

Make = Callable[[np.random.Generator, int], np.ndarray]
COLUMNS: dict[str, Make] = {
    "height": lambda r, n: r.normal(170, 10, n),
    "income": lambda r, n: r.lognormal(10, 0.7, n),
    "centred": lambda r, n: r.normal(0, 1, n),
    "inflated": lambda r, n: np.where(r.random(n) < 0.4, 0.0, r.gamma(2, 30, n)),
    "counts": lambda r, n: r.poisson(9, n).astype(float),
}


def cause(before: np.ndarray, after: np.ndarray, **others: tuple[np.ndarray, np.ndarray]) -> Cause:
    return of_numbers("x", {"x": Numbers(before, after), **{k: Numbers(*v) for k, v in others.items()}})


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize(
    ("factor", "said"), [(1000.0, "1000 times larger"), (0.001, "1000 times smaller"), (1 / 2.54, "2.54 times smaller")]
)
def test_another_unit_is_named(column: str, factor: float, said: str) -> None:
    rng = np.random.default_rng(1)
    found = cause(COLUMNS[column](rng, 3000), COLUMNS[column](rng, 1500) * factor)
    assert (found.kind, found.fault, found.share) == ("unit", True, 1.0) and said in found.text, found


@pytest.mark.parametrize("column", ["height", "income"])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_another_unit_in_a_part_of_the_rows_is_named_with_the_part(column: str, share: float) -> None:
    rng = np.random.default_rng(2)
    after = COLUMNS[column](rng, 2000)
    after = np.where(rng.random(2000) < share, after * 1000, after)
    found = cause(COLUMNS[column](rng, 3000), after)
    assert found.kind == "unit" and abs(found.share - share) < 0.06 and "1000 times larger in about" in found.text, found


@pytest.mark.parametrize("column", COLUMNS)
def test_real_shifts_are_no_faults(column: str) -> None:
    wrong = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        before, base = COLUMNS[column](rng, 3000), COLUMNS[column](rng, 1500)
        sd = before.std()
        moved = {
            "mean": base + sd * rng.choice([-1.5, -0.7, 0.7, 1.5]),
            "wider": base.mean() + (base - base.mean()) * 1.7,
            "grown": base * rng.choice([1.2, 1.35, 1.5, 2.0]),
            "mixed": np.where(rng.random(1500) < 0.4, base + 2 * sd, base),
        }
        for what, after in moved.items():
            found = cause(before, after, other=(COLUMNS["counts"](rng, 3000), COLUMNS["counts"](rng, 1500)))
            if found.fault and not (column == "centred" and what == "grown"):
                wrong.append((seed, what, found.text))
    assert len(wrong) <= 2, wrong


def test_missing_constant_and_filled_in_values() -> None:
    rng = np.random.default_rng(3)
    before, after = COLUMNS["height"](rng, 2000), COLUMNS["height"](rng, 1000)
    holes = np.where(rng.random(1000) < 0.3, np.nan, after)
    assert (cause(before, holes).kind, cause(before, np.full(1000, 7.0)).kind) == ("nulls", "constant")
    filled = cause(before, np.where(rng.random(1000) < 0.3, 0.0, after))
    assert filled.kind == "default" and "is 0 in" in filled.text and "default" in filled.text
    assert cause(before, np.full(1000, np.nan)).kind == "nulls"
    assert not cause(np.full(20, 1.0), after).fault


@pytest.mark.parametrize("a", ["height", "income", "counts"])
def test_two_columns_swapped_name_each_other(a: str) -> None:
    rng = np.random.default_rng(4)
    b = "inflated"
    x, y = (COLUMNS[a](rng, 3000), COLUMNS[a](rng, 1500)), (COLUMNS[b](rng, 3000), COLUMNS[b](rng, 1500))
    found = cause(x[0], y[1], y=(y[0], x[1]))
    assert (found.kind, found.other) == ("swapped", "y") and "y had" in found.text
    assert not cause(x[0], y[1], y=(y[0], y[1])).fault, "the other one has not moved"


def test_columns_that_look_alike_are_told_by_their_company() -> None:
    rng = np.random.default_rng(5)
    shared = rng.normal(size=(4000, 2))
    x = np.stack([shared[:, 0], shared[:, 0] + rng.normal(size=4000), shared[:, 1], shared[:, 1] + rng.normal(size=4000)], axis=1)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    names = ["a", "a2", "b", "b2"]
    assert swapped_by_company(x[:2000], x[2000:][:, [2, 1, 0, 3]], names) in (
        [("a", "b")],
        [("a", "b"), ("a2", "b2")],
        [("a2", "b2"), ("a", "b")],
    )
    assert swapped_by_company(x[:2000], x[2000:], names) == []


def counts(rng: np.random.Generator, shares: dict[str, float], n: int) -> Counter[str]:
    return Counter(rng.choice(list(shares), n, p=np.array(list(shares.values())) / sum(shares.values())).tolist())


SHARES = {"cook": 0.4, "nurse": 0.3, "clerk": 0.2, "pilot": 0.1}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"nurse": "carer"}, "'nurse' is written 'carer'"),
        ({v: v.upper() for v in SHARES}, "'cook' is written 'COOK'"),
        ({"pilot": "Pilot "}, "'pilot' is written 'Pilot '"),
        ({"cook": "A", "pilot": "D"}, "'cook' is written 'A'"),
    ],
)
def test_a_renamed_category_is_named(names: dict[str, str], said: str) -> None:
    rng = np.random.default_rng(6)
    found = of_categories("job", {"job": (counts(rng, SHARES, 3000), counts(rng, {names.get(k, k): v for k, v in SHARES.items()}, 1500))})
    assert found.kind == "renamed" and said in found.text, found


def test_other_categories() -> None:
    rng = np.random.default_rng(7)
    before = counts(rng, SHARES, 3000)

    def after(shares: dict[str, float]) -> Cause:
        return of_categories("job", {"job": (before, counts(rng, shares, 1500))})

    assert not after({"cook": 0.15, "nurse": 0.3, "clerk": 0.2, "pilot": 0.35}).fault
    grown = after({**{k: 0.7 * v for k, v in SHARES.items()}, "baker": 0.3})
    assert not grown.fault and "'baker' 3" in grown.text
    assert after({"cook": 1.0}).kind == "constant" and after({**SHARES, "": 0.5}).kind == "nulls"
    colours = {"red": 0.6, "blue": 0.4}
    both = {"job": (before, counts(rng, colours, 1500)), "colour": (counts(rng, colours, 3000), counts(rng, SHARES, 1500))}
    assert of_categories("job", both).other == "colour" and of_categories("colour", both).other == "job"
