"""Rows of `task: similarity`, their pre-processing, and what its network learns from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from sluice.core.errors import DataError, InputError, ProjectError
from sluice.fields.pair import Pair, PairProcessor
from sluice.fields.tokenizer import train_wordpiece
from sluice.learners.torch.texts.vectors import Cosines, First, Pieces, Vectors, in_batch, ordered
from sluice.project import parse
from sluice.tasks import load_task
from sluice.tasks.similarity import SimilarityModel

TEXTS = ["book a table", "reserve a table", "play some music", "turn it up"]
PROCESSOR = PairProcessor(train_wordpiece(TEXTS, 200), 12)


def task(label: str | None = None, **model: Any) -> Any:
    columns = {"label": label} if label else {}
    return load_task(parse({"name": "t", "task": "similarity", "data": {"source": "x.csv", "columns": columns}, "model": model}))


def test_pairs_with_and_without_scores() -> None:
    table = pa.table({"text": ["a", "b", " "], "other": ["x", None, "z"]})
    found = task().canonical(table).to_pylist()
    assert found == [{"pair": ["a", "x"], "label": 1.0}, {"pair": None, "label": 1.0}, {"pair": None, "label": 1.0}]
    assert "no column of scores" in task().notes(table)[0]
    scored = table.append_column("label", pa.array(["1", "0.5", "2"]))
    assert [r["label"] for r in task().canonical(scored).to_pylist()] == [1.0, 0.5, 2.0] and task().notes(scored) == [
        "pairs are read as 'text' and 'other', their score as 'label'"
    ]


@pytest.mark.parametrize(
    ("asked", "table", "says"),
    [
        ({}, {"text": ["a"]}, "no such column"),
        ({"other": "b"}, {"text": ["a"], "other": ["x"]}, "no such column"),
        ({"label": "score"}, {"text": ["a"], "other": ["x"]}, "no such column"),
        ({}, {"text": ["a"], "other": [1]}, "not of texts"),
        ({}, {"text": ["a"], "other": ["x"], "label": ["much"]}, "not a number"),
    ],
)
def test_a_wrong_column_is_named(asked: dict[str, Any], table: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        made = task(**asked)
        made.kinds(pa.table(table))
        made.canonical(pa.table(table))


def test_hidden_is_a_multiple_of_heads() -> None:
    with pytest.raises(ProjectError, match="multiple of heads"):
        task(hidden=30)


def test_two_texts_stand_one_behind_the_other_and_one_alone_as_ever() -> None:
    both, alone = PROCESSOR.encode([["book a table", "play some music"], "book a table"])
    n = len(alone["input_ids"])
    assert both["input_ids"][:n].tolist() == alone["input_ids"].tolist() and set(alone["attention_mask"]) == {1}
    assert both["attention_mask"].tolist() == [1] * n + [2] * (len(both["input_ids"]) - n)
    assert PairProcessor.load(PROCESSOR.spec(), lambda _: PROCESSOR.files()["tokenizer.json"]).spec() == PROCESSOR.spec()
    for bad in (["a"], ["a", ""], 3):
        with pytest.raises(InputError):
            PROCESSOR.encode([bad])


def test_a_pair_lacks_where_one_text_does() -> None:
    column = pa.chunked_array([pa.array([["a", "b"], ["a", " "], ["a", None], ["a"], None], pa.list_(pa.string()))])
    assert Pair("pair").missing(column).to_pylist() == [False, True, True, True, True]


def model() -> Vectors:
    torch.manual_seed(3)
    return Vectors(Pieces([1.0] * 200, SimilarityModel(hidden=16, max_length=12))).eval()


def test_each_text_is_read_as_if_it_were_alone() -> None:
    net, pairs = model(), [["book a table", "play some music"], ["turn it up", "book a table"]]
    batch = {k: torch.from_numpy(v) for k, v in PROCESSOR.encode_batch(pairs).items()}
    alone = {k: torch.from_numpy(v) for k, v in PROCESSOR.encode_batch([t for p in pairs for t in p]).items()}
    with torch.no_grad():
        both, each = net(**batch), First(net)(**alone)
        torch.testing.assert_close(both.reshape(4, -1), each, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(First(net)(**batch), each[::2], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(Cosines(net)(**batch)[:, 0], (each[::2] * each[1::2]).sum(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(each.norm(dim=1), 1, atol=1e-5)


def test_losses_fall_where_pairs_are_put_in_their_order() -> None:
    near = torch.tensor([[[1.0, 0], [1, 0]], [[0, 1.0], [0, 1]]])
    far = near[:, [0, 1]].clone()
    far[:, 1] = near[[1, 0], 1]
    assert in_batch(near, 20) < 1e-6 < 10 < in_batch(far, 20)
    mixed, scores = torch.stack([near[0], far[0]]), torch.tensor([1.0, 0.0])
    assert ordered(mixed, scores, 20) < 1e-6 < 10 < ordered(mixed, 1 - scores, 20)
    assert float(ordered(mixed, torch.ones(2), 20)) == 0
