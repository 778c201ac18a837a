"""Columns read some at a time: what each gives is what the dataset gives of it alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.data import together
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.data.together import Together
from sluice.project import parse
from sluice.tasks import load_task


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root, r = tmp_path_factory.mktemp("wide"), np.random.default_rng(0)
    columns = {f"x{i}": r.normal(size=300) for i in range(40)}
    columns["x3"][::7] = np.nan
    table = pa.table({**columns, "c": r.choice(["a", "b"], 300), "label": r.choice(["u", "v"], 300)})
    pq.write_table(table, root / "d.parquet")
    project = parse({"name": "w", "task": "tabular", "data": {"source": "d.parquet"}}, base_dir=root)
    return prepare(project, root, load_task(project, root), root / "dataset")


@pytest.mark.parametrize("size", [64, 1 << 16])
def test_each_column_is_as_the_dataset_gives_it(wide: Dataset, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(together, "_COLUMNS", 16)
    opened = []
    real = pq.ParquetFile.__init__

    def counted(self: pq.ParquetFile, source: Path, **more: object) -> None:
        opened.append(source)
        real(self, source, **more)

    monkeypatch.setattr(pq.ParquetFile, "__init__", counted)
    rows = Together(wide, wide.columns)
    found = {name: list(rows.batches("train", [name], size)) for name in wide.columns}
    assert len(opened) == len(wide.shards("train")) * 3  # 41 columns, 16 at a time
    opened.clear()
    whole = {name: rows.read("train", [name]) for name in wide.columns}
    assert len(opened) == len(wide.shards("train")) * 3 and all(t.equals(wide.read("train", [n])) for n, t in whole.items())
    for name, batches in found.items():
        assert all(a.equals(b) for a, b in zip(batches, wide.batches("train", [name], size), strict=True))


def test_what_else_is_asked_is_the_datasets_own(wide: Dataset) -> None:
    rows = Together(wide, wide.columns)
    assert rows.rows("test") == wide.rows("test") and rows.times == wide.times
    assert rows.read("test", ["x1"]).equals(wide.read("test", ["x1"]))
    for split, columns in (("test", ["x1"]), ("train", ["x1", "c"]), ("train", ["label"])):
        assert [b.to_pydict() for b in rows.batches(split, columns)] == [b.to_pydict() for b in wide.batches(split, columns)]
