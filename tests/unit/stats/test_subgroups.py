"""Where a mean is worst."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.core.predicate import Column
from sluice.stats.subgroups import Names, Numbers, search

ROWS = 4000


@pytest.fixture
def columns() -> dict:
    rng = np.random.default_rng(17)
    age = np.round(rng.uniform(18, 90, ROWS))
    age[rng.random(ROWS) < 0.1] = np.nan
    return {"age": age, "plan": rng.integers(-1, 4, ROWS), "noise": rng.normal(size=ROWS), "error": rng.normal(0, 0.3, ROWS)}


def found(columns: dict, excess: np.ndarray, most: int = 2) -> list[str]:
    plan = Names(Column("plan"), columns["plan"], ["basic", "plus", "pro", "team"])
    features = [Numbers(Column("age"), columns["age"]), plan, Numbers(Column("noise"), columns["noise"])]
    return [str(s.which) for s in search(features, excess - excess.mean(), 30, most)]


def test_a_pair_of_columns_is_found_with_its_cut(columns):
    there = (columns["age"] >= 62) & (columns["plan"] == 0)
    assert found(columns, columns["error"] + 0.5 * there)[0] in ("age >= 62 and plan == 'basic'", "plan == 'basic' and age >= 62")


def test_one_column_is_told_by_one_comparison(columns):
    assert found(columns, columns["error"] + 0.5 * (columns["plan"] == 2))[0] == "plan == 'pro'"
    assert found(columns, columns["error"] + 0.5 * (columns["age"] < 30))[0] == "age < 30"


def test_rows_without_a_value_are_a_group_of_their_own(columns):
    assert found(columns, columns["error"] + 0.5 * np.isnan(columns["age"]))[0] == "age is missing"


def test_the_second_is_found_beside_the_first(columns):
    excess = columns["error"] + 0.8 * (columns["plan"] == 2) + 0.4 * (columns["noise"] >= 1)
    assert found(columns, excess)[0] == "plan == 'pro'" and found(columns, excess)[1].startswith("noise >= ")


def test_what_does_not_vary_or_lacks_rows_finds_nothing(columns):
    assert found(columns, np.zeros(ROWS)) == []
    assert search([Numbers(Column("x"), np.arange(40.0))], np.arange(40.0), 40) == []


def test_many_rows_of_many_columns_are_quick():
    import time

    rng = np.random.default_rng(17)
    features = [Numbers(Column(f"x{i}"), rng.normal(size=20_000)) for i in range(10)]
    started = time.process_time()
    search(features, rng.normal(size=20_000), 30, 1)
    assert time.process_time() - started < 5
