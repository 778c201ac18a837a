"""Series cut into forecasts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from sluice.core.errors import DataError
from sluice.data.panel import Panel
from sluice.data.windows import Plan, cut, last, naive

DAY = 86_400_000_000


def panel(lengths: list[int], starts: list[int] | None = None, gaps: tuple[int, ...] = ()) -> Panel:
    times, series, values = [], [], []
    for s, n in enumerate(lengths):
        for t in range(n):
            if t not in gaps:
                times.append((t + (starts or [0] * len(lengths))[s]) * DAY)
                series.append(f"s{s}")
                values.append(100.0 * s + t)
    at = np.array(times, dtype=np.int64)
    return Panel.of(at, np.ones(len(at), bool), series, {"y": np.array(values)}, "y", setting="column day")


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(30, 80), min_size=1, max_size=4),
    horizon=st.integers(1, 7),
    context=st.integers(1, 20),
    gaps=st.sets(st.integers(1, 28), max_size=5),
    most=st.sampled_from([10_000, 13]),
)
def test_no_value_that_is_judged_was_learnt_from(lengths: list[int], horizon: int, context: int, gaps: set[int], most: int) -> None:
    p = panel(lengths, gaps=tuple(gaps))
    plan = Plan.of(p, horizon, context, None, 0.1, 0.2)
    try:
        w = cut(p, plan, frozenset(), most)
    except DataError as e:  # the gaps took all that was to be validated or tested
        assert "leaves none to" in e.message and gaps
        reject()
    learnt: set[tuple[int, int]] = set()
    for side in (0, 1, 2):
        chosen = w.side == side
        spans = [(int(s), int(o) + h) for s, o in zip(w.series[chosen], w.origin[chosen], strict=True) for h in range(1, horizon + 1)]
        assert not learnt & set(spans)
        learnt |= set(spans)
    for row in range(len(w.series)):
        y, at = p.values[w.series[row]], int(w.origin[row] - p.first[w.series[row]]) + 1
        np.testing.assert_array_equal(w.target[row, :horizon], y[at : at + horizon])
        before = y[max(0, at - plan.context) : at]
        np.testing.assert_array_equal(w.past[row, plan.context - len(before) :], before)
        assert np.isnan(w.past[row, : plan.context - len(before)]).all()
    if most == 13:
        assert (w.side == 0).sum() <= 13 + len(lengths)


def test_the_naive_forecast_is_a_season_before() -> None:
    y = np.arange(20.0)
    assert naive(y, np.array([14]), 5, 3).tolist() == [[11, 12, 13, 11, 12]]
    y[12] = np.nan
    assert naive(y, np.array([14]), 5, 3).tolist() == [[11, 9, 13, 11, 9]]
    assert naive(y, np.array([2]), 3, 10).tolist() == [[1, 1, 1]]


def test_the_scale_is_of_what_is_learnt_from_alone() -> None:
    p = panel([60])
    plan = Plan.of(p, 5, 10, 7, 0.1, 0.2)
    p.columns["y"][0][plan.validation :] += 1e6
    assert cut(p, plan, frozenset(), 10_000).target[:, -1].tolist() == [7.0] * len(cut(p, plan, frozenset(), 10_000).series)


def test_a_season_that_is_not_better_gives_way_to_the_shorter() -> None:
    hours = np.arange(24 * 40, dtype=np.int64) * 3_600_000_000
    daily, weekly = np.sin(hours / 3.6e9 / 24 * 2 * np.pi), (hours // DAY % 7).astype(float)
    made = lambda y: Panel.of(hours, np.ones(len(hours), bool), [""] * len(hours), {"y": y}, "y", setting="column hour")  # noqa: E731
    assert Plan.of(made(daily), 24, None, None, 0.1, 0.2).season == 24
    assert Plan.of(made(daily + weekly), 24, None, None, 0.1, 0.2).season == 168


def test_series_too_short_are_left_out_and_said() -> None:
    p = panel([60, 60, 8], [0, 0, 52])
    w = cut(p, Plan.of(p, 7, 10, 7, 0.1, 0.2), frozenset(), 10_000)
    assert set(w.series.tolist()) == {0, 1}
    assert "1 of 3 series are too short" in w.notes[0] and "'s2'" in w.notes[0]


def test_too_few_times_say_what_would_do() -> None:
    with pytest.raises(DataError, match=r"20 times .of a day. are too few for 7 ahead") as e:
        Plan.of(panel([20]), 7, None, None, 0.1, 0.2)
    assert e.value.field == "model.horizon" and "6 or less" in str(e.value.fix)


def test_from_the_end_the_coming_values_are_those_behind_the_last_known() -> None:
    times = np.arange(10, dtype=np.int64) * DAY
    y = np.array([0, 1, 2, 3, 4, 5, 6, np.nan, np.nan, np.nan])
    p = Panel.of(times, np.ones(10, bool), ["a"] * 10, {"y": y, "price": np.arange(10.0)}, "y", setting="column day")
    origin, past, more = last(p, 4, 3, frozenset({"price"}))
    assert origin.tolist() == [6] and past.tolist() == [[3, 4, 5, 6]]
    assert more["price"].tolist() == [[3, 4, 5, 6, 7, 8, 9]]


def test_a_time_twice_is_named_with_both_rows() -> None:
    times = np.array([0, 1, 1], dtype=np.int64) * DAY
    with pytest.raises(DataError, match=r"stands more than once in series 'a'.*also in row 2") as e:
        Panel.of(times, np.ones(3, bool), ["a"] * 3, {"y": np.zeros(3)}, "y", setting="column day")
    assert e.value.field == "column day, row 3" and e.value.value == "1970-01-02T00:00:00"
