"""Rows that belong together."""

from __future__ import annotations

import numpy as np

from sluice.problems.units import Units


def test_equal_keys_are_one_unit_and_a_row_without_one_stands_alone():
    units = Units.told("user", ["a", None, "b", "a", None])
    assert units is not None
    assert (units.of, units.count, units.codes.tolist()) == ("user", 4, [0, 1, 2, 0, 3])
    assert units.sizes().tolist() == [2, 1, 1, 1]
    assert units.sums(np.array([1.0, 2, 3, 4, 5])).tolist() == [5, 2, 3, 5]
    assert units.sums(np.array([[1.0, 0], [2, 0], [3, 0], [4, 1], [5, 0]])).tolist() == [[5, 1], [2, 0], [3, 0], [5, 0]]


def test_where_every_row_is_a_unit_there_is_nothing_to_say():
    assert Units.told("user", ["a", "b", None]) is None
    assert Units.told("user", []) is None
    units = Units.told("user", ["a", "a", "b", "b"])
    assert units is not None
    assert units.rows(np.array([0, 2])) is None
    some = units.rows(np.array([False, True, True, True]))
    assert some is not None and some.codes.tolist() == [0, 1, 1]
