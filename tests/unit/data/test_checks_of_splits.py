"""What the checks say of rows that are split by group or by time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from sluice.data.checks import validate
from sluice.data.config import Checks, Split
from sluice.data.report import Check, Report
from tests.unit.data.test_checks import KINDS, N, rows


def keyed(train: list[Any], test: list[Any] | None, **split: Any) -> Report:
    """Rows split by a column, and held-out rows with theirs."""
    keys = [None if k is None else pa.chunked_array([pa.array(k)]) for k in (train, test)]
    tables = [rows(len(train)), None if test is None else rows(len(test), 7)]
    return validate(
        *tables, kinds=KINDS, objective="classification", checks=Checks(), split=Split(**split), keys=keys[0], test_keys=keys[1]
    )


def named(made: Report, name: str) -> Check:
    return next(c for c in made.checks if c.name == name)


def test_a_split_by_group_says_the_groups_and_refuses_shared_ones() -> None:
    patients = [f"p{i // 4}" for i in range(N)]
    made = keyed(patients, None, by="group", column="patient")
    assert "by 'patient': " in named(made, "split").message and "no group on two sides" in named(made, "split").message
    made = keyed(patients, ["p1", "p1", "p2", "q"] * 20, by="group", column="patient")
    assert named(made, "groups").status == "refuse"
    assert "2 groups of 'patient' are in the training and the held-out rows (60 held-out rows): 'p1', 'p2'" in named(made, "groups").message
    assert named(keyed(patients, ["q1", "q2"] * 40, by="group", column="patient"), "groups").status == "pass"


def test_a_split_by_time_says_from_when_and_refuses_older_held_out_rows() -> None:
    days = [np.datetime64("2024-01-01", "us") + np.timedelta64(i // 2, "D") for i in range(N)]
    assert (
        "validate from 2024-03-11 00:00:00 and test from 2024-03-21" in named(keyed(days, None, by="time", column="day"), "split").message
    )
    made = keyed(days, [np.datetime64("2024-02-01", "us")] * 3 + [np.datetime64("2024-05-01", "us")] * 60, by="time", column="day")
    assert "3 held-out rows of 63 are older than the newest training row (2024-04-09" in named(made, "time").message
    assert named(made, "time").status == "refuse" and len(named(made, "time").examples) == 3
    assert named(keyed(days, [np.datetime64("2024-05-01", "us")] * 60, by="time", column="day"), "time").status == "pass"
    assert named(keyed(days, [days[-1]] * 60, by="time", column="day"), "time").status == "warn"


def test_rows_without_a_time_cannot_be_split_by_it() -> None:
    made = keyed([None, *range(1, N)], None, by="time", column="step")
    assert named(made, "split").status == "refuse" and "1 of 200 rows have no time" in named(made, "split").message
