"""Interactions of a source as rows: nothing of the future in a history, every interaction learnt once, bad cells refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.errors import DataError, ProjectError
from sluice.data.config import Split
from sluice.data.interactions import CUTS, LONGEST, Interactions, cut
from sluice.data.prepare import prepare, validate_project_data
from sluice.data.splits import checked_sides
from sluice.project import parse
from sluice.tasks import load_task

TAKEN = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8), st.integers(0, 30)), min_size=1, max_size=80)


def found(taken: list[tuple[int, int, int]]) -> Interactions:
    users, items, times = (list(c) for c in zip(*taken, strict=True))
    texts = [pa.array([f"{p}{v}" for v in values]) for p, values in (("u", users), ("i", items))]
    return Interactions(*texts, np.array(times), np.ones(len(users)), np.arange(len(users)))


@given(TAKEN, st.integers(1, 10))
@settings(max_examples=150, deadline=None)
def test_every_first_time_is_in_one_answer_and_histories_hold_what_came_before(taken: list[tuple[int, int, int]], longest: int) -> None:
    rows = cut(found(taken), longest, repeat=False)
    first: dict[tuple[str, str], int] = {}
    for u, i, t in taken:
        key = (f"u{u}", f"i{i}")
        first[key] = min(t, first.get(key, t))
    answered = [(u, i) for u, answer in zip(rows.users.to_pylist(), rows.answer.to_pylist(), strict=True) for i in answer]
    assert sorted(answered) == sorted(first)
    assert sum(w for weights in rows.weights.to_pylist() for w in weights) == len(taken)
    for user, before, after, time in zip(rows.users.to_pylist(), rows.history.to_pylist(), rows.answer.to_pylist(), rows.time, strict=True):
        assert 1 <= len(after) <= LONGEST and len(before) <= longest and not set(before) & set(after)
        assert time == max(first[user, i] for i in after)
        assert max((first[user, i] for i in before), default=-1) <= min(first[user, i] for i in after)


@given(TAKEN)
@settings(max_examples=60, deadline=None)
def test_where_items_come_again_every_interaction_is_answered_and_a_history_names_each_once(taken: list[tuple[int, int, int]]) -> None:
    rows = cut(found(taken), 50, repeat=True)
    assert sum(map(len, rows.answer.to_pylist())) == len(taken)
    assert all(len(set(h)) == len(h) for h in rows.history.to_pylist())


def test_a_long_life_has_more_cuts_and_a_short_one_as_many_as_it_has_items() -> None:
    taken = [(0, i, i) for i in range(500)] + [(1, 0, 3)] + [(2, i, i) for i in range(9)]
    rows = cut(found(taken), 20, repeat=False)
    counts = {u: rows.users.to_pylist().count(u) for u in ("u0", "u1", "u2")}
    assert counts == {"u0": 10, "u1": 1, "u2": CUTS}
    assert rows.history.to_pylist()[rows.users.to_pylist().index("u1")] == []


def test_a_split_by_time_trains_on_nothing_that_came_after_the_cut() -> None:
    taken = [(u, i, 10 * u + i) for u in range(20) for i in range(8)]
    rows = cut(found(taken), 20, repeat=False)
    by_time = Split(by="time", column="t", test=0.3, validation=0.2)
    ids = np.arange(len(rows.users), dtype=np.uint64)
    side = checked_sides(ids, pa.chunked_array([rows.answer]), by_time, False, pa.chunked_array([pa.array(rows.time)]))
    assert max(rows.time[side == 0]) < min(rows.time[side == 1]) <= max(rows.time[side == 1]) < min(rows.time[side == 2])


def project(folder: Path, text: str, **model: Any) -> tuple[Any, Any]:
    (folder / "rows.csv").write_text(text)
    made = parse({"name": "shop", "task": "recommend", "data": {"source": "rows.csv"}, "model": model}, base_dir=folder)
    return made, load_task(made, folder)


def log(head: str = "user,item,time", rows: int = 60) -> str:
    made = [f"u{n % 12},i{(n * 7 + n // 12) % 10},{1_700_000_000 + 3600 * n}" for n in range(rows)]
    return "\n".join([head, *made]) + "\n"


def test_a_users_rows_lie_on_one_side_and_what_was_read_as_what_is_said(tmp_path: Path) -> None:
    made, task = project(tmp_path, log("Customer ID,StockCode,InvoiceDate"))
    report = validate_project_data(made, tmp_path, task)
    said = [c.message for c in report.checks]
    assert any("user 'Customer ID', item 'StockCode', time 'InvoiceDate'" in m for m in said)
    dataset = prepare(made, tmp_path, task, tmp_path / "data")
    sides = [set(dataset.read(s, ["user"]).column(0).to_pylist()) for s in ("train", "validation", "test")]
    assert not sides[0] & sides[1] and not sides[1] & sides[2] and not sides[0] & sides[2]
    assert dataset.columns == {"user": "key", "history": "history"}
    units = dataset.problem.units(dataset, "test")
    assert units is not None and units.of == "user" and units.count == len(sides[2])


def test_ids_as_numbers_and_as_texts_are_the_same_items(tmp_path: Path) -> None:
    rows = "".join(f"{n % 8},{(n * 3) % 7 + 1}{'.0' if n % 2 else ''},{n}\n" for n in range(56))
    made, task = project(tmp_path, "user,item,time\n" + rows)
    assert prepare(made, tmp_path, task, tmp_path / "data").labels == [str(i) for i in range(1, 8)]


@pytest.mark.parametrize(
    ("text", "model", "field", "message"),
    [
        ("user,item,weight\na,x,1\nb,y,-2\nc,x,1\n", {}, "column weight, row 2", "negative weight"),
        ("user,item,weight\na,x,1\nb,y,nan\nc,x,1\n", {}, "column weight, row 2", "is no weight"),
        ("user,item,weight\na,x,1\nb,y,many\nc,x,1\n", {}, "column weight, row 2", "is not a number"),
        ("user,item,time\na,x,2026-01-02\nb,y,2026-01-03\nc,x,soon\n", {}, "column time, row 3", "not written as most are"),
        ("user,item,time\na,x,soon\nb,y,later\nc,x,now\n", {}, "column time, row 1", "no time that is known"),
        ("user,item,time\na,x,2026-01-02\nb,y,\nc,x,2026-01-05\n", {}, "column time, row 2", "holds no time"),
        ("user,item\na,x\nb,x\nc,x\n", {}, "column item", "holds 1 item"),
        ("user,item\na,x\na,y\na,z\n", {}, "column user", "holds 1 user"),
        ("who,item\na,x\nb,y\n", {}, "model.user", "cannot be told"),
        ("user,item\na,x\nb,y\n", {"item": "thing"}, "model.item", "no such column"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_by_column_row_and_fix(
    tmp_path: Path, text: str, model: dict[str, Any], field: str, message: str
) -> None:
    made, task = project(tmp_path, text, **model)
    with pytest.raises((DataError, ProjectError), match=message) as e:
        validate_project_data(made, tmp_path, task)
    assert field in str(e.value.field) and e.value.fix


def test_rows_that_repeat_and_users_with_one_interaction_are_counted(tmp_path: Path) -> None:
    text = log() + "u1,i0,1700000000\nu1,i0,1700000000\nonce,i3,1700000500\n"
    made, task = project(tmp_path, text)
    said = " ".join(c.message for c in validate_project_data(made, tmp_path, task).checks)
    assert "1 interaction left out: they repeat another" in said and "1 user of 13 with one interaction" in said


def test_light_interactions_are_left_out_and_weights_go_with_the_answer(tmp_path: Path) -> None:
    rows = "".join(f"u{n % 9},i{(n * 5) % 8},{n},{n % 5}\n" for n in range(90))
    made, task = project(tmp_path, "user,item,time,rating\n" + rows, least_weight=2)
    dataset = prepare(made, tmp_path, task, tmp_path / "data")
    assert dataset.columns["weights"] == "vector"
    weights = dataset.read("train", ["weights"]).column(0).to_pylist()
    assert min(min(w) for w in weights) >= 2


def test_features_are_of_two_towers_alone_and_a_split_by_time_needs_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="two_tower alone"):
        project(tmp_path, log(), features=["age"])
    text = "\n".join(line.rpartition(",")[0] for line in log().splitlines()) + "\n"
    (tmp_path / "rows.csv").write_text(text)
    raw = {"name": "shop", "task": "recommend", "data": {"source": "rows.csv", "split": {"by": "time", "column": "item"}}}
    made = parse(raw, base_dir=tmp_path)
    with pytest.raises(DataError, match="needs a column of times"):
        validate_project_data(made, tmp_path, load_task(made, tmp_path))
