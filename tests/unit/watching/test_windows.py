"""Windows by rows, by the clock, and never below a minimum, however a log is cut into batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.errors import ProjectError
from sluice.core.section import checked
from sluice.monitor.config import Window
from sluice.monitor.windows import Open, cut

SECOND = 1_000_000


def closed(times, config, sizes) -> list[tuple[int, int | None, int | None]]:
    state, found, at = Open(), [], 0
    for size in sizes:
        batch = None if times is None else times[at : at + size]
        pieces, state = cut(state, batch, size, config)
        assert sum(p.stop - p.start for p in pieces) == size
        found += [(p.window.rows, p.window.begun, p.window.ended) for p in pieces if p.closed]
        state = Open(**state.to_dict())
        at += size
    return found


def test_by_rows():
    found = closed(np.arange(1234) * SECOND, Window(rows=500), [1234])
    assert found == [(500, 0, 499 * SECOND), (500, 500 * SECOND, 999 * SECOND)]
    assert [rows for rows, *_ in closed(None, Window(rows=500, seconds=60), [400, 700])] == [500, 500]


def test_by_the_clock_and_never_below_the_minimum():
    busy = np.arange(0, 600) * SECOND  # ten minutes, a row a second
    quiet = (600 + np.arange(0, 30) * 20) * SECOND  # ten more, three a minute
    found = closed(np.concatenate([busy, quiet, [10_000 * SECOND]]), Window(rows=None, seconds=60, minimum=25), [631])
    assert [rows for rows, *_ in found] == [60] * 10 + [27]
    assert closed(np.arange(90) * SECOND, Window(rows=None, seconds=60, minimum=20), [60, 30]) == [(60, 0, 59 * SECOND)]


def test_whichever_comes_first():
    times = np.arange(200) * SECOND // 2
    assert [rows for rows, *_ in closed(times, Window(rows=50, seconds=60, minimum=20), [200])] == [50, 50, 20, 50]
    assert [rows for rows, *_ in closed(times, Window(rows=70, seconds=60, minimum=20), [200])] == [70, 50, 70]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=12), st.sampled_from([None, 30, 120]), st.integers(0, 3))
def test_the_same_windows_however_the_log_is_cut(sizes, rows, seed):
    config = Window(rows=rows, seconds=60, minimum=20)
    times = np.cumsum(np.random.default_rng(seed).exponential(2 * SECOND, sum(sizes))).astype(np.int64)
    assert closed(times, config, sizes) == closed(times, config, [sum(sizes)])


def test_a_time_stands_for_at_most_a_day():
    assert Open(rows=5, begun=0, ended=3600 * SECOND).days == pytest.approx(1 / 24)
    assert Open(rows=5, begun=9, ended=99 * 86400 * SECOND, before=0).days == 1.0 and Open(rows=5).days is None


def test_a_window_that_nothing_closes_is_refused():
    with pytest.raises(ProjectError, match="closed by nothing"):
        checked(Window, {"rows": None}, "monitor.window")
    with pytest.raises(ProjectError, match="minimum 900 is more than the 500 rows"):
        checked(Window, {"minimum": 900}, "monitor.window")
