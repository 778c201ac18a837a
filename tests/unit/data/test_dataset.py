"""A dataset is whole, verified, streamed, and its digest is its content."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.core import files
from sluice.core.errors import DataError
from sluice.data.dataset import Dataset, write_dataset
from sluice.data.digests import row_ids

COLUMNS = {"age": "numeric", "job": "categorical"}


def rows(n: int, start: int = 0) -> pa.Table:
    i = np.arange(start, start + n)
    table = pa.table({"age": i.astype(float), "job": (i % 7).astype(str)})
    return table.append_column("row_id", row_ids(table, COLUMNS)).append_column("label", pa.array((i % 3).astype(str)))


def write(root: Path, train: object = None, **changes: object) -> Dataset:
    splits = {"train": rows(25) if train is None else train, "validation": rows(5, 25), "test": rows(5, 30)}
    settings: dict = {
        "task": "tabular",
        "objective": "classification",
        "labels": ["0", "1", "2"],
        "columns": COLUMNS,
        "source": {"uri": str(root), "digest": "d"},
        "shard_rows": 10,
    }
    return write_dataset(root, settings.pop("splits", changes.pop("splits", splits)), **{**settings, **changes})


def test_rows_come_back_in_order_from_all_shards(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d")
    assert dataset.read("train").equals(rows(25).select(["row_id", "age", "job", "label"]))
    assert [s.rows for s in dataset.shards("train")] == [10, 10, 5]
    assert [s.path.name for s in dataset.shards("train")] == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert (dataset.rows("train"), dataset.rows("validation"), dataset.rows("test")) == (25, 5, 5)
    assert dataset.labels == ["0", "1", "2"] and dataset.columns == COLUMNS and dataset.objective == "classification"


def test_shards_end_where_they_should_when_row_groups_do_not_divide_them(tmp_path: Path) -> None:
    """Rows with bytes are written 1,024 at a time."""
    n = 3500
    table = pa.table({"row_id": [str(i) for i in range(n)], "image": pa.array([b"x"] * n, pa.binary()), "label": ["0"] * n})
    pieces = (table.slice(i, 700) for i in range(0, n, 700))
    dataset = write(tmp_path / "d", splits={"train": pieces}, labels=["0"], task="image", columns={"image": "image"}, shard_rows=1500)
    assert [s.rows for s in dataset.shards("train")] == [1500, 1500, 500]
    assert Dataset.open(dataset.root).read("train", ["row_id"]).column(0).to_pylist() == [str(i) for i in range(n)]


def test_columns_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d")
    assert dataset.read("train", ["label", "age"]).schema.names == ["label", "age"]
    assert next(dataset.batches("test", ["job"])).schema.names == ["job"]


def test_a_column_whose_name_begins_like_anothers_is_read_alone(tmp_path: Path) -> None:
    table = pa.table({"a": [1.0], "a.b": [2.0], "row_id": ["0"], "label": ["x"]})
    dataset = write(tmp_path / "d", splits={"train": table}, labels=["x"], columns={"a": "numeric", "a.b": "numeric"})
    assert dataset.read("train", ["a"]).to_pydict() == {"a": [1.0]}
    assert dataset.read("train", ["a.b"]).to_pydict() == {"a.b": [2.0]}


def test_batches_are_the_rows_of_read_and_no_longer_than_asked(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d")
    batches = list(dataset.batches("train", rows=4))
    assert max(b.num_rows for b in batches) == 4
    assert pa.Table.from_batches(batches).equals(dataset.read("train"))


def test_an_iterable_of_tables_is_the_same_dataset_as_one_table(tmp_path: Path) -> None:
    whole, cut = write(tmp_path / "a"), write(tmp_path / "b", (rows(1, i) for i in range(25)))
    assert whole.digest == cut.digest
    a, b = (sorted(p.read_bytes() for p in d.root.rglob("*.parquet")) for d in (whole, cut))
    assert a == b


def test_a_stream_is_written_with_a_row_group_in_memory(tmp_path: Path) -> None:
    most = 0

    def stream() -> Iterator[pa.Table]:
        nonlocal most
        base = pa.total_allocated_bytes()
        for i in range(40):
            most = max(most, pa.total_allocated_bytes() - base)
            image = pa.array([bytes([i]) * 20_000] * 100, pa.binary())
            yield pa.table({"row_id": pa.array([f"{i}"] * 100), "image": image, "label": pa.array(["0"] * 100)})

    dataset = write(tmp_path / "d", splits={"train": stream()}, labels=["0"], task="image", columns={"image": "image"}, shard_rows=4000)
    assert dataset.rows("train") == 4000
    assert 0 < most < 60e6, "80 MB went through"
    base, most = pa.total_allocated_bytes(), 0
    for _ in dataset.batches("train", rows=100):
        most = max(most, pa.total_allocated_bytes() - base)
    assert most < 60e6


def test_the_digest_depends_on_content_not_on_place_or_time(tmp_path: Path) -> None:
    a = write(tmp_path / "a", source={"uri": "x.csv", "digest": "d", "parts": [{"path": "p", "rows": 1}]})
    b = write(tmp_path / "b", source={"uri": "/other/y.csv", "time": 3, "digest": "d", "parts": [{"path": "q", "rows": 1}]})
    assert a.digest == b.digest
    assert write(tmp_path / "c", source={"uri": "x.csv", "digest": "other"}).digest != a.digest


@pytest.mark.parametrize("column, value", [("age", 99.0), ("age", None), ("job", "zzz"), ("label", "2"), ("row_id", "f" * 16)])
def test_one_changed_cell_is_another_digest(tmp_path: Path, column: str, value: object) -> None:
    base = rows(25)
    values = base.column(column).to_pylist()
    values[13] = value
    changed = base.set_column(base.schema.names.index(column), column, pa.array(values, base.schema.field(column).type))
    assert write(tmp_path / "a").digest != write(tmp_path / "b", changed).digest


def test_a_rewritten_parquet_file_with_the_same_rows_is_the_same_data(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d")
    path = dataset.shards("train")[0].path
    pq.write_table(pq.read_table(path), path, compression="none", use_dictionary=False, row_group_size=3)
    assert Dataset.open(dataset.root).digest == dataset.digest


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d")
    dataset.shards("train")[1].path.unlink()
    for verify in (True, False):
        with pytest.raises(DataError, match=r"part-00001.parquet.*not there"):
            Dataset.open(dataset.root, verify=verify)


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d")
    path = dataset.shards("test")[0].path
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"test/part-00000.parquet: cannot be read"):
        Dataset.open(dataset.root)
    unchecked = Dataset.open(dataset.root, verify=False)
    with pytest.raises(DataError, match=r"test/part-00000.parquet"):
        unchecked.read("test")
    with pytest.raises(DataError, match=r"test/part-00000.parquet"):
        list(unchecked.batches("test"))


def test_a_changed_cell_in_a_shard_is_found_and_the_shard_named(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d")
    path = dataset.shards("train")[2].path
    table = pq.read_table(path)
    ages = table.column("age").to_pylist()
    pq.write_table(table.set_column(1, "age", pa.array([*ages[:-1], -1.0])), path)
    with pytest.raises(DataError, match=r"part-00002.parquet: does not hold the rows"):
        Dataset.open(dataset.root)
    pq.write_table(table.slice(1), path)
    with pytest.raises(DataError, match=r"part-00002.parquet: has 4 rows, the manifest says 5"):
        Dataset.open(dataset.root)


@pytest.mark.filterwarnings("error")
def test_a_flipped_byte_anywhere_in_a_shard_never_gives_other_rows(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d")
    path = dataset.shards("train")[0].path
    good, expected = path.read_bytes(), dataset.read("train")
    found = 0
    for at in range(4, len(good), max(1, len(good) // 60)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
        try:
            opened = Dataset.open(dataset.root)
        except DataError as e:
            assert "part-00000.parquet" in str(e)
            found += 1
        else:
            assert opened.read("train").equals(expected), at  # the byte carries no values (statistics, metadata)
    assert found > 20


def test_a_shard_the_manifest_does_not_list_is_named(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d")
    shutil.copy(dataset.shards("train")[0].path, dataset.root / "train" / "part-00009.parquet")
    with pytest.raises(DataError, match=r"part-00009.parquet.*does not list"):
        Dataset.open(dataset.root)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ["0", "1", "2", "3"]},
        {"task": "text"},
        {"source": {"digest": "e"}},
        {"digest": "0" * 64},
        {"splits": {}},
        {"columns": [{"name": "age", "kind": "categorical"}]},
    ],
)
def test_a_changed_manifest_is_refused(tmp_path: Path, change: dict) -> None:
    dataset = write(tmp_path / "d")
    files.write_json(dataset.root / "manifest.json", {**dataset.manifest, **change})
    with pytest.raises(DataError, match=r"manifest.json: was changed"):
        Dataset.open(dataset.root, verify=False)


def test_a_manifest_naming_a_file_outside_is_refused(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d")
    manifest = orjson.loads(orjson.dumps(dataset.manifest))
    manifest["splits"]["test"]["shards"][0]["path"] = "../../secret.parquet"
    from sluice.data.manifest import digest_of

    files.write_json(dataset.root / "manifest.json", {**manifest, "digest": digest_of(manifest)})
    with pytest.raises(DataError, match=r"outside the dataset"):
        Dataset.open(dataset.root)


@pytest.mark.parametrize(
    "raw, message",
    [
        (None, "not a dataset"),
        (b"", "is not JSON"),
        (b"[]", "format is not"),
        (b'{"format":"x"}', "format is not"),
        (b'{"format":"sluice.dataset/v1"}', "misshapes"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, raw: bytes | None, message: str) -> None:
    if raw is not None:
        (tmp_path / "manifest.json").write_bytes(raw)
    with pytest.raises(DataError, match=message):
        Dataset.open(tmp_path)


def test_a_split_or_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d")
    with pytest.raises(DataError, match=r"fix: splits: test, train, validation"):
        dataset.read("holdout")
    with pytest.raises(DataError, match=r"got 'agee'"):
        dataset.read("train", ["agee"])
    with pytest.raises(DataError, match=r"got 'agee'"):
        next(dataset.batches("train", ["agee"]))


def test_a_failed_write_leaves_the_old_dataset_and_no_rest(tmp_path: Path) -> None:
    before = write(tmp_path / "d").digest

    def broken() -> Iterator[pa.Table]:
        yield rows(25)
        raise RuntimeError("source went away")

    with pytest.raises(RuntimeError):
        write(tmp_path / "d", broken())
    assert Dataset.open(tmp_path / "d").digest == before
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_writing_again_replaces_the_dataset_whole(tmp_path: Path) -> None:
    write(tmp_path / "d")
    again = write(tmp_path / "d", rows(5))
    assert Dataset.open(tmp_path / "d").rows("train") == 5 == again.rows("train")


def test_the_profile_is_kept_and_verified(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", profile=lambda d: {"rows": d.rows("train")})
    assert dataset.profile() == {"rows": 25}
    assert dataset.digest == write(tmp_path / "e").digest, "a profile follows from the data"
    (dataset.root / "profile.json").write_text("{}")
    with pytest.raises(DataError, match=r"profile.json: does not have the sha256"):
        Dataset.open(dataset.root)
    assert write(tmp_path / "e").profile() is None


def test_an_empty_split_has_a_shard_and_a_schema(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", splits={"train": rows(3), "test": rows(0)})
    assert dataset.rows("test") == 0
    assert dataset.read("test").schema.equals(dataset.read("train").schema)
    assert Dataset.open(dataset.root).digest == dataset.digest


def test_regression_has_float_labels_and_no_classes(tmp_path: Path) -> None:
    table = rows(4).drop_columns(["label"]).append_column("label", pa.array([1.0, 2.0, 3.0, 4.0]))
    dataset = write(tmp_path / "d", splits={"train": table}, objective="regression", labels=[])
    assert dataset.labels == [] and dataset.read("train").schema.field("label").type == pa.float64()


def change(column: str, values: pa.Array) -> pa.Table:
    base = rows(3)
    return base.set_column(base.schema.names.index(column), column, values)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"splits": {"train": rows(3).drop_columns(["age"])}}, "train.age: column stands 0 times"),
        ({"splits": {"train": rows(3).append_column("x", pa.array([1, 2, 3]))}}, "train.x: is not one of the dataset's columns"),
        ({"splits": {"train": rows(3).append_column("age", pa.array([1.0, 2.0, 3.0]))}}, "train.age: column stands 2 times"),
        ({"splits": {"train": change("age", pa.array([1, 2, 3]))}}, "train.age: is int64, must be double"),
        ({"splits": {"train": change("label", pa.array([0, 1, 2]))}}, "train.label: is int64, must be string"),
        ({"splits": {"train": change("label", pa.array(["0", None, "1"]))}}, "train.label: holds nulls"),
        ({"splits": {"train": change("label", pa.array(["0", "9", "1"]))}}, "train.label: is not one of the dataset's labels"),
        ({"splits": {"train": rows(0)}}, "train: has no rows"),
        ({"splits": {"test": rows(3)}}, "has no training rows"),
        ({"splits": {"train": rows(3), "dev": rows(3)}}, "splits: is not the name of a split"),
        ({"labels": ["0", "0", "1", "2"]}, "labels: name a class twice"),
        ({"labels": []}, "labels: are for classification"),
        ({"objective": "rankings"}, "objective: is not an objective"),
        ({"columns": {}}, "columns: names no feature"),
        ({"columns": {"label": "numeric"}}, "columns: is a name the dataset uses itself"),
        ({"columns": {"age": "number", "job": "categorical"}}, "columns.age: is not a kind"),
        ({"train": iter([rows(2), change("age", pa.array([1, 2, 3]))])}, "train.age: is int64"),
    ],
)
def test_rows_that_are_no_dataset_are_refused_by_name(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path / "d", **arguments)
    assert not (tmp_path / "d").exists()


def test_a_plugin_tasks_columns_are_its_own(tmp_path: Path) -> None:
    table = pa.table({"row_id": ["a", "b"], "wave": pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)), "label": ["x", "y"]})
    dataset = write(tmp_path / "d", splits={"train": table}, task="my_module:Audio", labels=["x", "y"], columns={"wave": "audio"})
    assert Dataset.open(dataset.root).read("train").column("wave").to_pylist() == [[1.0, 2.0], None]


def test_a_type_parquet_would_change_is_refused(tmp_path: Path) -> None:
    table = pa.table({"row_id": ["a"], "when": pa.array([0], pa.timestamp("s")), "label": ["x"]})
    with pytest.raises(DataError, match=r"train.when: has a type datasets do not hold"):
        write(tmp_path / "d", splits={"train": table}, task="my_module:Clock", labels=["x"], columns={"when": "time"})
