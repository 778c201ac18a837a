"""Two versions of data: one changed cell among 200,000 rows is seen, whatever the order; what is not one row changed is one more and one less."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.cli import main
from sluice.core.errors import DataError
from sluice.data import versions
from sluice.data.dataset import write_dataset
from sluice.data.difference import difference
from sluice.data.digests import table_digest

ROWS = 200_000


@pytest.fixture(scope="module")
def large():
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "id": np.arange(ROWS),
            "x": rng.normal(size=ROWS),
            "n": rng.integers(0, 9, ROWS),
            "city": rng.choice(["Oslo", "Rome"], ROWS).tolist(),
        }
    )


def changed(table, column, row, value):
    values = table.column(column).to_pylist()
    values[row] = value
    return table.set_column(table.schema.names.index(column), column, pa.chunked_array([values], table.schema.field(column).type))


@pytest.mark.parametrize("key", [[], ["id"]])
def test_one_cell_of_200_000_rows_is_seen_in_the_digest_and_the_difference_within_seconds(large, key):
    other = changed(large, "x", 149_999, 7.5)
    assert table_digest(large) != table_digest(other)
    began = time.process_time()
    found = difference(large, other, key)
    assert time.process_time() - began < 10
    assert found.rows == {"a": ROWS, "b": ROWS, "same": ROWS - 1, "changed": 1, "added": 0, "removed": 0}
    before = large.column("x")[149_999].as_py()
    example = {"row_a": 150_000, "row_b": 150_000, "column": "x", "before": before, "after": 7.5}
    assert found.examples == [example | ({"key": {"id": 149_999}} if key else {})]
    assert not found.moved(0.01), "one cell is no drift"


def test_a_changed_row_is_found_in_another_order_and_rows_come_and_go(large):
    small = large.slice(0, 1000)
    other = changed(small, "city", 500, "Paris").take(pa.array(np.random.default_rng(1).permutation(999)))  # the last row goes
    found = difference(small, pa.concat_tables([other, large.slice(5000, 2)]))
    assert {k: found.rows[k] for k in ("same", "changed", "added", "removed")} == {"same": 998, "changed": 1, "added": 2, "removed": 1}
    assert [(e["row_a"], e["column"], e["after"]) for e in found.examples] == [(501, "city", "Paris")]
    assert found.removed == [1000]


def test_equal_rows_that_stand_several_times_are_counted():
    a, b = pa.table({"x": [1, 1, 1, 2], "y": [0, 0, 0, 0]}), pa.table({"y": [0, 0, 0], "x": [2.0, 1.0, 1.0]})
    found = difference(a, b)
    assert (found.rows["same"], found.rows["removed"], found.rows["added"], found.schema["changed"]) == (3, 1, 0, {})
    assert difference(a, a.take(pa.array([3, 2, 1, 0]))).equal


def test_columns_that_differ_are_named_and_no_reason_to_call_every_row_changed():
    a = pa.table({"x": [1, 2, 3], "gone": [1, 2, 3], "t": ["1", "2", "3"]})
    found = difference(a, pa.table({"x": [1, 2, 3], "t": [1, 2, 3], "new": [0, 0, 0]}))
    assert found.schema == {"added": ["new"], "removed": ["gone"], "changed": {"t": ["string", "int64"]}}
    assert found.rows["same"] == 3 and not found.equal


def test_drift_has_a_noise_floor():
    rng = np.random.default_rng(2)
    a = pa.table({"x": rng.normal(size=3000), "few": rng.choice(["a", "b"], 3000).tolist()})
    moved = pa.table({"x": rng.normal(2, 1, 3000), "few": rng.choice(["a", "b"], 3000).tolist()})
    assert difference(a, moved).moved(0.25) == ["x"]
    assert difference(a.slice(0, 30), a.slice(30, 30)).moved(0.1) == []


def test_a_key_that_names_two_rows_or_is_not_there_is_an_error():
    a = pa.table({"k": [1, 1], "x": [1, 2]})
    with pytest.raises(DataError, match="rows 1 and 2 have the same"):
        difference(a, a, ["k"])
    with pytest.raises(DataError, match="no column of the first"):
        difference(a, a, ["z"])


def test_the_command_compares_files_and_datasets_and_hides_what_is_sensitive(tmp_path, capsys, large):
    a, b = large.slice(0, 200), changed(large.slice(0, 200), "city", 7, "Paris")
    (tmp_path / "a.csv").write_text("id,x,n,city\n" + "".join(",".join(map(str, r.values())) + "\n" for r in a.to_pylist()))
    pq.write_table(b, tmp_path / "b.parquet")
    assert main(["data", "diff", str(tmp_path / "a.csv"), str(tmp_path / "a.csv"), "--json"]) == 0
    files = [str(tmp_path / "a.csv"), str(tmp_path / "b.parquet")]
    capsys.readouterr()
    assert main(["data", "diff", *files]) == 3
    assert "row 8 -> 8 city:" in " ".join(capsys.readouterr().out.split())
    assert main(["data", "diff", *files, "--key", "id", "--sensitive", "city"]) == 3
    assert "Paris" not in capsys.readouterr().out
    assert main(["data", "diff", *files, "--tolerance", "0.005"]) == 0
    assert main(["data", "diff", *files, "--drift", "0.25"]) == 0
    assert main(["data", "diff", files[0], "nowhere.csv"]) == 2


def test_a_dataset_is_found_by_its_digest(tmp_path, capsys, large):
    rows = pa.table(
        {"row_id": [f"{i:016x}" for i in range(60)], "n": large.column("n").slice(0, 60).cast(pa.float64()), "label": ["a", "b"] * 30}
    )
    made = {}
    for name, table in (("one", rows), ("two", changed(rows, "label", 3, "a"))):
        made[name] = write_dataset(
            tmp_path / "home/artifacts/pipelines" / name,
            {"train": table},
            task="tabular",
            objective="classification",
            labels=["a", "b"],
            columns={"n": "numeric"},
            source={},
            shard_rows=50,
        )
    home = ["--home", str(tmp_path / "home")]
    assert main(["data", "diff", made["one"].digest[:12], str(made["two"].root), "--key", "row_id", *home]) == 3
    assert "label: 'b' -> 'a'" in capsys.readouterr().out
    assert main(["data", "diff", made["one"].digest, f"sha256:{made['one'].digest}", *home]) == 0
    assert main(["data", "diff", "0123456789abcdef", made["one"].digest, *home]) == 2


def test_a_dataset_beside_a_source_is_compared_without_what_only_one_has():
    dataset = versions.Version(
        "d",
        pa.table({"row_id": ["1", "2"], "x": [1, 2], "label": ["a", "b"], "split": ["train"] * 2}),
        "0",
        label="label",
        made=("row_id", "split"),
    )
    source = versions.Version("p", pa.table({"id": [7, 8], "x": [2, 1], "y": ["b", "a"]}), "1", label="y", apart=("id",))
    for a, b in ((dataset, source), (source, dataset)):
        assert difference(*versions.comparable(a, b)).equal
    assert versions.comparable(dataset, dataset)[0] is dataset.table


def test_rows_that_have_nothing_in_common_are_others_not_changed_ones():
    rng = np.random.default_rng(5)
    a, b = (pa.table({f"x{i}": rng.normal(size=50) for i in range(4)}) for _ in range(2))
    assert {k: difference(a, b).rows[k] for k in ("changed", "added", "removed")} == {"changed": 0, "added": 50, "removed": 50}
