"""Labels that come late, twice, out of order and corrected are joined to the answers they are of: what was told last of a row, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.errors import DataError
from sluice.monitor.labelled_rows import write_rows
from sluice.monitor.labels import Coverage, Labels, joined
from sluice.problems.problem import problem
from tests.support import logged

SECOND = 1_000_000
HALF = np.array([[0.7, 0.3], [0.2, 0.8]])


def log(root: Path, n: int = 4, **more: Any) -> None:
    features = {"age": np.arange(n, dtype=float), "job": [["cook", "nurse"][i % 2] for i in range(n)]}
    given: dict[str, Any] = {
        "ids": [f"r{i}" for i in range(n)],
        "labels": ["a", "b"],
        "probabilities": np.tile(HALF, (n, 1))[:n],
        "features": features,
    }
    logged.predictions(root, np.arange(n) * SECOND, **{**given, **more})


def rows(root: Path, **which: Any) -> tuple[dict[tuple[str, int], Any], Coverage]:
    told = Coverage()
    found = [r for b in joined(root, "m", coverage=told, **which) for r in b.to_pylist()]
    assert len({(r["request_id"], r["row"], r["version"]) for r in found}) == len(found)
    return {(r["request_id"], r["row"]): r["label"] for r in found}, told


def test_the_last_that_was_told_of_a_row_is_true_whatever_the_order(tmp_path: Path) -> None:
    log(tmp_path)
    logged.feedback(tmp_path, [50 * SECOND, 20 * SECOND, 30 * SECOND], ["r0", "r0", "r1"], ["b", "a", "b"])
    logged.feedback(tmp_path, [40 * SECOND, 60 * SECOND, 61 * SECOND], ["r0", "r1", "nobody"], ["a", "b", "a"])
    found, told = rows(tmp_path)
    assert found == {("r0", 0): "b", ("r1", 0): "b"}
    assert (told.predictions, told.labelled, told.told, told.duplicates, told.corrected, told.orphans) == (4, 2, 6, 3, 1, 1)
    assert told.share == 0.5 and told.longest == 29.0 and told.delay(0.5) == 29.0
    assert told.to_dict()["versions"] == {logged.VERSION: {"predictions": 4, "labelled": 2}}


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(12)), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_no_order_and_no_cut_of_the_feedback_changes_what_is_true(order: list[int], sizes: list[int]) -> None:
    import pyarrow as pa

    told = [
        (i % 4, t, label)
        for i, (t, label) in enumerate(
            [(5, "a"), (5, "b"), (9, "a"), (1, "b"), (5, "a"), (7, "b"), (2, "a"), (1, "b"), (8, "a"), (7, "a"), (9, "b"), (3, "a")]
        )
    ]

    def kept(sequence: list[int], cuts: list[int]) -> dict[Any, tuple[Any, int, int]]:
        labels, at = Labels(), 0
        for i in range(100):
            size = cuts[i % len(cuts)]
            part = [told[j] for j in sequence[at : at + size]]
            labels.take(
                pa.RecordBatch.from_pylist(
                    [{"time": t, "request_id": f"r{r}", "row": 0, "label": v} for r, t, v in part]
                    or [{"time": 0, "request_id": None, "row": 0, "label": None}]
                )
            )
            at += size
        return {key: (labels.labels[i], labels.first[i], labels.last[i]) for key, i in labels._at.items()}

    assert kept(order, sizes) == kept(list(range(12)), [12])


def test_rows_of_one_request_and_several_versions_each_have_theirs(tmp_path: Path) -> None:
    log(tmp_path, ids=["x", "x", "y", "x"], rows=[0, 1, 0, 2])
    log(tmp_path, n=2, ids=["x", "x"], rows=[0, 1], version="b" * 12)
    log(tmp_path, n=1, ids=["x"], rows=[1])  # the client sent it again
    logged.feedback(tmp_path, [1, 2], ["x", "x"], ["a", "b"], rows=[1, 2])
    told = Coverage()
    found = [(r["version"][0], r["row"], r["label"]) for b in joined(tmp_path, "m", coverage=told) for r in b.to_pylist()]
    assert sorted(found) == [("a", 1, "a"), ("a", 2, "b"), ("b", 1, "a")]
    assert (told.repeats == 1 and told.early == 0 + (1 > 2)) or told.repeats == 1
    assert {v for _, v, _ in found} == {1, 2}


@pytest.mark.parametrize("most", [1, 3, 7, 100])
def test_more_labels_than_may_be_held_give_the_same(tmp_path: Path, most: int) -> None:
    log(tmp_path, n=40)
    logged.feedback(tmp_path, np.arange(30) * SECOND + 100 * SECOND, [f"r{i}" for i in range(30)], ["a", "b"] * 15)
    logged.feedback(tmp_path, np.arange(30) * SECOND + 200 * SECOND, [f"r{i}" for i in range(5, 35)], ["b", "b"] * 15)
    found, told = rows(tmp_path, most=most)
    assert found == {(f"r{i}", 0): "b" if i >= 5 else "ab"[i % 2] for i in range(35)}
    assert (told.predictions, told.labelled, told.told, told.orphans) == (40, 35, 60, 0)


def test_only_a_time_and_a_version_are_looked_at(tmp_path: Path) -> None:
    log(tmp_path, n=10)
    log(tmp_path, n=10, version="b" * 12)
    logged.feedback(tmp_path, [100 * SECOND] * 10, [f"r{i}" for i in range(10)], ["a"] * 10)
    seen: list[int] = []
    found, told = rows(tmp_path, version="b" * 64, since=3 * SECOND, until=7 * SECOND, every=lambda b: seen.append(b.num_rows))
    assert sorted(found) == [(f"r{i}", 0) for i in range(3, 7)] and told.predictions == 4 == sum(seen)


def test_an_outcome_alone_is_no_label_and_comes_along(tmp_path: Path) -> None:
    log(tmp_path)
    logged.feedback(tmp_path, [1, 5, 3], ["r0", "r0", "r1"], None, outcomes=[1.0, 2.5, 7.0])
    told = Coverage()
    (batch,) = joined(tmp_path, "m", coverage=told)
    assert batch.column("outcome").to_pylist() == [2.5, 7.0] and batch.column("label").to_pylist() == [None, None]
    assert (told.labelled, told.outcomes, told.share, told.delay(0.5)) == (0, 3, 0.0, None)


def test_nothing_is_null_and_not_zero(tmp_path: Path) -> None:
    (tmp_path / "predictions").mkdir()
    (tmp_path / "feedback").mkdir()
    found, told = rows(tmp_path)
    assert found == {} and told.share is None and told.to_dict()["seconds_late"] == {"median": None, "p90": None, "longest": None}


def test_the_labelled_rows_are_a_source_for_training(tmp_path: Path) -> None:
    log(tmp_path, n=6)
    logged.feedback(tmp_path, [9 * SECOND] * 3, ["r1", "r4", "r5"], ["a", "b", "b"])
    out = tmp_path / "rows"
    told = write_rows(tmp_path, "m", out, "bought")
    assert told["rows"] == 3 and told["coverage"]["share"] == 0.5 and not told["cut"]
    table = pq.read_table(out / told["files"][0])
    assert table.to_pylist() == [
        {"age": 1.0, "job": "nurse", "bought": "a"},
        {"age": 4.0, "job": "cook", "bought": "b"},
        {"age": 5.0, "job": "nurse", "bought": "b"},
    ]
    assert write_rows(tmp_path, "m", out, "bought")["files"] == told["files"] == [p.name for p in out.iterdir()]
    assert write_rows(tmp_path, "m", out, "bought", most_rows=2)["cut"]
    with pytest.raises(DataError, match="feature too"):
        write_rows(tmp_path, "m", out, "job")


def test_true_values_are_numbers_again_and_rows_without_features_are_left_out(tmp_path: Path) -> None:
    log(
        tmp_path,
        n=3,
        probabilities=None,
        labels=[],
        values=np.array([1.0, 2.0, 3.0]),
        features={"x": [1.0, None, 3.0], "tensors": [None, "[1]", None]},
    )
    logged.feedback(tmp_path, [9 * SECOND] * 3, ["r0", "r1", "r2"], ["1.5", "2.5", "3.5"])
    told = write_rows(tmp_path, "m", tmp_path / "rows", "y", problem("regression").read_back)
    assert pq.read_table(tmp_path / "rows" / told["files"][0]).to_pylist() == [{"x": 1.0, "y": 1.5}, {"x": 3.0, "y": 3.5}]
    assert told["left_out"] == 1
