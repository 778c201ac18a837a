"""Rows on disk are the processor's tensors, row by row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.errors import DataError
from sluice.data.dataset import write_dataset
from sluice.engines.rows import rows_from_arrow
from sluice.learners.torch.encode import Encoded, encode_split
from sluice.learners.torch.network import network_of
from sluice.project import parse
from sluice.tasks import load_task

TEXTS = [" ".join(["word"] * (i % 7 + 1)) + f" number {i}" for i in range(40)]


def encoded(tmp_path, task, rows, columns, objective="classification", model=None):
    project = parse({"name": "t", "task": task, "data": {"source": "x"}, "model": model or {}})
    table = pa.table({"row_id": [f"{i:016x}" for i in range(len(rows["label"]))], **rows})
    labels = sorted(set(rows["label"])) if objective == "classification" else []
    dataset = write_dataset(
        tmp_path / "d", {"train": table}, task=task, objective=objective, labels=labels, columns=columns, source={}, shard_rows=7
    )
    state = network_of(load_task(project)).fit(dataset)
    encode_split(state, dataset, "train", tmp_path / "e")
    return state.processor, dataset, Encoded(tmp_path / "e", state.processor)


def test_texts_of_free_length_are_padded_as_the_processor_pads_them(tmp_path):
    processor, dataset, data = encoded(tmp_path, "text", {"text": TEXTS, "label": ["a", "b"] * 20}, {"text": "text"})
    rows = np.array([3, 39, 0, 17])
    texts = rows_from_arrow("text", dataset.read("train"))
    expected = processor.encode_batch([texts[i] for i in rows])
    found = data.batch(rows)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[k], expected[k]) for k in expected)
    assert data.lengths[39] == len(processor.encode([TEXTS[39]])[0]["input_ids"])
    assert data.row_ids(rows) == [f"{i:016x}" for i in rows]
    assert data.labels[rows].tolist() == [1, 1, 0, 1]
    assert set(data.distinct("input_ids")) == {i for e in processor.encode(texts) for i in e["input_ids"]}


def test_strings_and_missing_numbers_of_a_table_come_back(tmp_path):
    rows = {"x": [1.5, None, -2.0], "c": ["u", None, "v"], "label": [0.5, 1.5, 2.5]}
    _, _, data = encoded(tmp_path, "tabular", rows, {"x": "numeric", "c": "categorical"}, objective="regression")
    found = data.batch(np.array([2, 1, 0]))
    np.testing.assert_array_equal(found["x"], np.array([[-2.0], [np.nan], [1.5]], dtype=np.float32))
    assert found["c"].tolist() == [["v"], [""], ["u"]]
    assert data.labels.tolist() == [0.5, 1.5, 2.5]
    assert data.lengths is None


def test_an_image_that_cannot_be_read_is_named_by_row_and_id(tmp_path):
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("L", (4, 4)).save(out, "PNG")
    good = out.getvalue()
    project = parse({"name": "t", "task": "image", "data": {"source": "x"}, "model": {"channels": 1, "size": [4, 4]}})
    table = pa.table({"row_id": ["00000000000000aa", "00000000000000bb"], "image": [good, b"no image"], "label": ["a", "b"]})
    dataset = write_dataset(
        tmp_path / "d",
        {"train": table.slice(0, 1), "test": table},
        task="image",
        objective="classification",
        labels=["a", "b"],
        columns={"image": "image"},
        source={},
        shard_rows=9,
    )
    state = network_of(load_task(project)).fit(dataset)
    with pytest.raises(DataError, match=r"test row 2 \(row_id 00000000000000bb\).*is not a readable PNG or JPEG"):
        encode_split(state, dataset, "test", tmp_path / "e")
    assert not (tmp_path / "e").exists()
