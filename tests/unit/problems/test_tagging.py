"""Tags of words: the spans they make, how models are judged by them, compared, and what a client is told."""

from __future__ import annotations

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.fields.sentence import SentenceProcessor, shape, words_of
from sluice.problems.spans import spans, split_tag
from sluice.problems.tagging import Tagging, tags_of

TAGS = ["B-name", "B-place", "I-name", "O"]
P = Tagging()
LABELS = P.labels(pa.chunked_array([[TAGS, ["O"]]]))

names = st.sampled_from(["a", "b"])
tagged = st.lists(
    st.one_of(st.just("O"), names.map("B-{}".format), names.map("I-{}".format), names.map("S-{}".format), names.map("E-{}".format))
)


def outputs(*rows: list[str]) -> np.ndarray:
    """Answers of 0.9 for these tags, words of three characters with a space between them."""
    out = np.zeros((len(rows), *P.width(LABELS)))
    for i, row in enumerate(rows):
        for w, tag in enumerate(row):
            out[i, w, :4] = 0.1 / 3
            out[i, w, TAGS.index(tag)] = 0.9
            out[i, w, 4:] = (4 * w, 4 * w + 3)
    return out


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-a I-a O B-a", [(0, 2, "a"), (3, 4, "a")]),
        ("I-a I-a", [(0, 2, "a")]),
        ("B-a I-b", [(0, 1, "a"), (1, 2, "b")]),
        ("B-a B-a", [(0, 1, "a"), (1, 2, "a")]),
        ("S-a B-a I-a E-a S-b", [(0, 1, "a"), (1, 4, "a"), (4, 5, "b")]),
        ("NOUN VERB O", [(0, 1, "NOUN"), (1, 2, "VERB")]),
        ("", []),
    ],
)
def test_tags_make_spans(tags: str, found: list[tuple[int, int, str]]) -> None:
    assert spans(tags.split()) == found


@given(tagged)
def test_spans_never_overlap_and_hold_every_word_that_is_not_outside(tags: list[str]) -> None:
    words = [w for a, b, _ in spans(tags) for w in range(a, b)]
    assert words == [i for i, t in enumerate(tags) if t != "O"]


@given(tagged, st.lists(st.integers(1, 3), min_size=30, max_size=30))
def test_words_that_are_cut_into_pieces_make_the_same_spans(tags: list[str], sizes: list[int]) -> None:
    sizes = sizes[: len(tags)] + [1] * max(0, len(tags) - len(sizes))
    begins = np.cumsum([0, *sizes])
    cut = [piece for tag, n in zip(tags, sizes, strict=True) for piece in split_tag(tag, n)]
    assert spans(cut) == [(begins[a], begins[b], what) for a, b, what in spans(tags)]


@given(st.text(max_size=200))
def test_words_are_what_is_no_space(text: str) -> None:
    found = words_of(text)
    assert "".join(text[a:b] for a, b in found) == "".join(c for c in text if not c.isspace())
    assert all(a < b for a, b in found) and [a for a, _ in found] == sorted(a for a, _ in found)


def test_what_a_word_is() -> None:
    assert [("Dr. Ana-Maria, 北京 3.5kg")[a:b] for a, b in words_of("Dr. Ana-Maria, 北京 3.5kg")] == [
        "Dr",
        ".",
        "Ana",
        "-",
        "Maria",
        ",",
        "北",
        "京",
        "3",
        ".",
        "5kg",
    ]
    assert [shape(w) for w in ("Anna", "NATO", "2024", "iOS9")] == ["Xxx", "XX", "00", "xXX0"]


def test_a_text_longer_than_the_model_s_is_cut_and_a_shorter_one_filled() -> None:
    made = SentenceProcessor(3, 100).encode_batch(["one", "a b c d"])
    assert made["words"].shape == (2, 3, 10) and (made["words"][0, 1:] == 0).all() and (made["words"][1] > 0).all()
    assert made["spans"].tolist() == [[[0, 3], [0, 0], [0, 0]], [[0, 1], [2, 3], [4, 5]]]
    assert (made["words"] < 100).all()


def test_labels_are_each_words_tags_and_its_ends() -> None:
    assert tags_of(LABELS) == TAGS and P.width(LABELS) == (4, 6)
    P.check_labels(LABELS)
    with pytest.raises(ValueError, match="tags of each word"):
        P.check_labels(LABELS[:-1])
    assert P.unknown(pa.chunked_array([[["B-new"]]]), LABELS) == "B-new"


def test_a_span_counts_where_it_is_met_whole() -> None:
    truth = P.targets(pa.chunked_array([[["B-name", "I-name", "O"], ["B-place"], ["O", "O"]]]), LABELS)
    a = P.answers(outputs(["B-name", "I-name", "B-place"], ["B-name"], ["O", "O"]), truth, LABELS)
    value = {n: m.value(a) for n, m in P.metrics().items()}
    assert value["span_f1"] == pytest.approx(2 * 1 / (3 + 2)) and value["word_accuracy"] == pytest.approx(4 / 6)
    assert value["word_log_loss"] == pytest.approx((4 * -np.log(0.9) + 2 * -np.log(0.1 / 3)) / 6)
    low, high = P.metrics()["span_f1"].interval(a, 0.95, 100) or (0, 0)
    assert low < value["span_f1"] < high
    assert P.details(a, LABELS, None, None)["spans"] == [
        {"label": "name", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1},
        {"label": "place", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
    ]
    assert "Each kind of span" in P.section(P.details(a, LABELS, None, None))


def test_a_tag_the_model_has_not_is_never_met() -> None:
    truth = P.targets(pa.chunked_array([[["B-new", "O"]]]), LABELS)
    assert truth[0].tolist() == [-2, 3, -1, -1]
    assert P.metrics()["span_f1"].value(P.answers(outputs(["B-name", "O"]), truth, LABELS)) == 0


def test_a_model_of_other_tags_and_fewer_words_is_compared_by_what_both_tell() -> None:
    truth = P.targets(pa.chunked_array([[["B-name", "I-name", "O", "B-place"], ["O", "B-place"]]]), LABELS)
    ours = P.answers(outputs(["B-name", "I-name", "O", "O"], ["O", "B-place"]), truth, LABELS)
    theirs = np.zeros((2, 2, 4))
    theirs[0, :, :2], theirs[1, 0, :2], theirs[1, 1, :2] = (0.8, 0.2), (0.2, 0.8), (0.9, 0.1)
    a, b, rows = P.pair(ours, LABELS, theirs, ["0:B-name", "0:O", "0:<start>", "0:<end>", "1:B-name", "1:O", "1:<start>", "1:<end>"], None)
    f1 = P.metrics()["span_f1"]
    assert rows.all() and (f1.value(a), f1.value(b)) == (1.0, 0.0)
    assert P.told_apart(a, b)["n_discordant"] == 2
    with pytest.raises(ValueError, match="no tag in common"):
        P.pair(ours, LABELS, theirs, ["0:X", "0:<start>", "0:<end>"], None)


def test_a_client_is_told_characters() -> None:
    told = orjson.loads(P.told(outputs(["B-name", "I-name", "O", "B-place"]).astype(np.float32), LABELS)["spans"][0])
    assert [(s["start"], s["end"], s["label"]) for s in told] == [(0, 7, "name"), (12, 15, "place")]
    assert told[0]["score"] == pytest.approx(0.9, abs=1e-4)
    assert P.observed(outputs(["B-name"], ["O", "O"])).tolist() == [1, 2]
