"""Regular times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.fields.grid import Grid, IrregularError


def micros(*times: str) -> np.ndarray:
    return np.array(times, dtype="datetime64[us]").astype(np.int64)


def of(*times: str) -> Grid:
    return Grid.of(micros(*times), np.zeros(len(times), np.int64), True)


@pytest.mark.parametrize(
    ("times", "name", "seasons"),
    [
        (["2020-01-01", "2020-02-01", "2020-03-01", "2020-05-01"], "month", (12,)),
        (["2020-01-31", "2020-02-29", "2020-03-31"], "month", (12,)),
        (["2020-02-15", "2020-05-15", "2020-08-15"], "quarter", (4,)),
        (["2001-01-01", "2002-01-01", "2003-01-01"], "year", (1,)),
        (["2020-01-06", "2020-01-13", "2020-01-27"], "week", (52,)),
        (["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04", "2020-01-05"], "day", (7,)),
        (["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"], "weekday", (5,)),
        (["2020-01-01T05", "2020-01-01T06", "2020-01-01T08"], "hour", (24, 168)),
        (["2020-01-01T05:07", "2020-01-01T05:22", "2020-01-01T05:37"], "15 minutes", (96, 672)),
    ],
)
def test_the_step_is_found_and_names_every_time(times: list[str], name: str, seasons: tuple[int, ...]) -> None:
    grid = of(*times)
    assert (grid.name, grid.seasons) == (name, seasons)
    index = grid.index(micros(*times))
    assert grid.times(index).tolist() == micros(*times).tolist()
    assert Grid.load({"unit": grid.unit, "step": grid.step, "phase": grid.phase, "shift": grid.shift}) == grid


@settings(max_examples=40, deadline=None)
@given(
    grid=st.sampled_from(
        [Grid("month", 1, 0), Grid("month", 1, -1), Grid("month", 3, 86_400_000_000, 2), Grid("weekday", 1, 3_600_000_000), Grid("microsecond", 3_600_000_000, 5)]
    ),
    index=st.lists(st.integers(-2_000, 2_000), min_size=1, max_size=20),
)  # fmt: skip
def test_a_number_names_one_time(grid: Grid, index: list[int]) -> None:
    found = grid.index(grid.times(np.array(index)))
    assert found.tolist() == index


def test_a_second_time_of_a_month_is_named() -> None:
    months = [f"20{y:02d}-{m:02d}-01" for y in range(10, 13) for m in range(1, 13)]
    with pytest.raises(IrregularError, match="nearly each month has one, and 1 stand in a month that has one already") as e:
        of(*months, "2012-12-27")
    assert e.value.at == 36


def test_a_time_between_the_others_is_named() -> None:
    with pytest.raises(IrregularError, match="most lie a day apart, and 1 of 7 lie between") as e:
        of("2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04", "2020-01-04T13:00", "2020-01-05", "2020-01-06")
    assert e.value.at == 4


def test_one_time_a_series_has_no_step() -> None:
    with pytest.raises(IrregularError, match="no series has two times"):
        Grid.of(micros("2020-01-01", "2020-01-02"), np.array([0, 1]), True)


def test_whole_numbers_count() -> None:
    grid = Grid.of(np.array([10, 12, 14]), np.zeros(3, np.int64), False)
    assert (grid.unit, grid.step, grid.index(np.array([16])).tolist()) == ("number", 2, [8])
