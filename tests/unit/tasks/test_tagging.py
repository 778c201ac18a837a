"""Rows of `task: tagging` as they may be written, and those that are refused."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa
import pytest

from sluice.core.errors import DataError
from sluice.project import parse
from sluice.tasks import load_task


def canonical(texts: list[Any], labels: list[Any], **model: Any) -> list[dict[str, Any]]:
    project = parse({"name": "t", "task": "tagging", "data": {"source": "x.csv"}, "model": model})
    return load_task(project).canonical(pa.table({"text": texts, "label": labels})).to_pylist()


def test_tags_a_word_as_text_or_lists_and_spans_mean_the_same() -> None:
    wanted = ["B-name", "I-name", "O", "B-place", "O"]
    spans = orjson.dumps([{"start": 0, "end": 9, "label": "name"}, {"start": 16, "end": 20, "label": "place"}]).decode()
    assert canonical(["Anna Berg lives Oslo ."], ["B-name I-name O B-place O"])[0]["label"] == wanted
    assert canonical([["Anna", "Berg", "lives", "Oslo", "."]], [wanted]) == [{"sentence": "Anna Berg lives Oslo .", "label": wanted}]
    assert canonical(["Anna Berg lives Oslo."], [spans])[0]["label"] == wanted


def test_a_word_of_several_pieces_keeps_its_tag() -> None:
    assert canonical(["in Baden-Baden now"], ["O B-place O"])[0]["label"] == ["O", "B-place", "I-place", "I-place", "O"]


def test_rows_without_a_text_or_a_label_have_none_and_long_ones_are_cut() -> None:
    found = canonical(["a b", None, "  ", "c"], ["O O", "O", "O", None])
    assert [r["label"] for r in found] == [["O", "O"], None, None, None] and [r["sentence"] for r in found] == ["a b", None, None, "c"]
    assert canonical(["a b c"], ["X Y Z"], max_words=2)[0]["label"] == ["X", "Y"]


@pytest.mark.parametrize(
    ("text", "label", "says"),
    [
        ("a b", "O", "has 1 tags for 2 words"),
        ("a b", '[{"start": 0, "end": 9, "label": "x"}]', "outside of its 3 characters"),
        ("a b", '[{"start": 0, "label": "x"}]', "are no spans"),
        ("a b", "[not json", "are no spans"),
        ("ab c", '[{"start": 0, "end": 1, "label": "x"}, {"start": 1, "end": 2, "label": "y"}]', "share a word"),
    ],
)
def test_a_wrong_row_is_named(text: str, label: str, says: str) -> None:
    with pytest.raises(DataError) as e:
        canonical(["fine", text], ["O", label])
    assert says in e.value.message and "row 2" in str(e.value.field) and e.value.fix


def test_a_column_of_numbers_is_refused() -> None:
    with pytest.raises(DataError, match="not of texts"):
        canonical(["a"], [1])
