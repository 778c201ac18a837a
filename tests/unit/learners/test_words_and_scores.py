"""Texts and categories of many values in a table's matrix: the same in memory and in the graph; no training row tells its own answer."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, helper

from sluice.core.errors import InputError
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.fields.column import Column
from sluice.fields.words import Words as WordsField
from sluice.fields.words import tokens
from sluice.learners.estimators.learnt import Answered, learn_words, score_category
from sluice.learners.estimators.matrix import Category, TableMatrix
from sluice.learners.estimators.words import Words
from sluice.learners.tables.nodes import Nodes


def strings(*texts: str) -> np.ndarray:
    return np.array(texts, dtype=object)


def answered(targets: np.ndarray, classes: int, fold: np.ndarray | None = None) -> Answered:
    return Answered(targets, classes, np.arange(len(targets)) % 5 if fold is None else fold, seed=1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The room, was CLEAN!", "the room was clean the_room room_was was_clean"),
        ("snake_case 3,5", "snake case 3 5 snake_case case_3 3_5"),
        ("방이 깨끗", "방 이 깨 끗 방_이 이_깨 깨_끗"),
        ("ﬁne\tday", "fine day fine_day"),
        (" ?! ", ""),
    ],
)
def test_a_text_becomes_words_and_pairs(text: str, found: str) -> None:
    assert tokens(text) == found


def test_a_field_of_words_takes_texts_numbers_and_nothing() -> None:
    column = Column("said", "words")
    found = WordsField("said").encode(column, ["Good day", None, float("nan"), 12], 4)["said"]
    assert found[:, 0].tolist() == ["good day good_day", "", "", "12"]
    assert WordsField("said").encode(column, None, 2)["said"].tolist() == [[""], [""]]
    for bad in (["a"], "\ud800", "x" * (1 << 21)):
        with pytest.raises(InputError, match="said"):
            WordsField("said").encode(column, [bad], 1)


def in_graph(matrix: TableMatrix, inputs: dict[str, np.ndarray]) -> np.ndarray:
    g = Nodes()
    out = g.add("Identity", matrix.nodes(g), name="out")
    ends = [helper.make_tensor_value_info(n, TensorProto.STRING, [None, 1]) for n in inputs]
    model = g.model(ends, [helper.make_tensor_value_info(out, TensorProto.FLOAT, [None, matrix.features])], 20)
    return OnnxRuntime.open(model.SerializeToString()).run(inputs)["out"]


def test_memory_and_graph_agree_on_texts_and_scores_and_so_does_what_is_written_down() -> None:
    words, units = Words.made(["good", "bad", "not_bad"], np.array([1.0, 2.0, 3.0]), np.array([[1.0, 0.5], [-1.0, 0.0], [2.0, 0.1]]))
    city = Category([f"c{i}" for i in range(80)], True, [[0.1 * i] for i in range(80)])
    matrix = TableMatrix([], [], [], None, None, {"city": city}, {"said": words})
    inputs = {
        "city": strings("c3", "c79", "", "new")[:, None],
        "said": strings("good good bad", "", "never heard", "not bad not_bad")[:, None],
    }
    found = matrix.of(inputs)
    np.testing.assert_array_equal(in_graph(matrix, inputs), found)
    np.testing.assert_allclose(found[:, -3], [0.3, 7.9, 0, 0], atol=1e-6)  # the scores come before the text's two numbers
    np.testing.assert_allclose(found[0, -2:] / units, np.array([1 + 1 - 2, 0.5 + 0.5]) / np.sqrt(1 + 1 + 4), atol=1e-3)
    assert (found[1:3, -2:] == 0).all()
    for rows in (slice(1, 2), slice(0, 1)):
        np.testing.assert_array_equal(in_graph(matrix, {k: v[rows] for k, v in inputs.items()}), found[rows])
    assert TableMatrix.load(json.loads(json.dumps(matrix.dump()))) == matrix
    assert len(matrix.owners()) == matrix.features and matrix.owners()[-3:] == ["city", "said", "said"]
    held = found.copy()
    matrix.put(held, {"city": np.full((4, 1), 7, np.float32), "said": np.full((4, 2), 8, np.float32)})
    assert (held[:, -3] == 7).all() and (held[:, -2:] == 8).all() and (held[:, :-3] == found[:, :-3]).all()


def test_long_texts_have_the_same_bits_in_memory_and_in_the_graph_however_they_are_added_up() -> None:
    """A tree's threshold is often a training row's own number: a last bit's difference would move such a row."""
    rng = np.random.default_rng(2)
    values = [f"w{i}" for i in range(500)]
    words, _ = Words.made(values, rng.uniform(1, 8, 500), rng.normal(size=(500, 24)))
    texts = strings(*(" ".join(rng.choice([*values, "unknown"], rng.integers(1, 799))) for _ in range(40)))
    matrix = TableMatrix([], [], [], None, None, {}, {"said": words})
    np.testing.assert_array_equal(in_graph(matrix, {"said": texts[:, None]}), matrix.of({"said": texts[:, None]}))


def test_a_matrix_of_before_has_neither() -> None:
    plain = TableMatrix([], [], [], None, None, {"city": Category(["a"], False)}).dump()
    del plain["words"], plain["categories"]["city"]["scores"]
    assert TableMatrix.load(plain).words == {}


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_value_of_one_row_tells_training_nothing_of_its_own_answer(classes: int) -> None:
    """Each row has a value of its own: scores learnt with the row would be its answer."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, 200) if classes else rng.normal(size=200)
    values = [f"v{i}" for i in range(200)]
    scores, held = score_category(values, strings(*values), answered(y, classes))
    assert (held == 0).all()
    assert np.abs(np.array(scores)).max() > 0.01  # what rows to come are told


def test_a_value_s_score_is_what_its_rows_were_answered_drawn_to_the_mean_where_they_are_few() -> None:
    y = np.array([1] * 50 + [0] * 50 + [1])
    names = strings(*["often"] * 50, *["never"] * 50, "once")
    scores, held = score_category(["often", "never", "once"], names, answered(y, 2))
    often, never, once = (s[0] for s in scores)
    assert often > 0.35 and never < -0.35 and 0 < once < 0.1
    assert held[:50].min() > 0.3 and held[50:100].max() < -0.3
    unknown = strings("", "other", *names[2:])
    assert (score_category(["often", "never", "once"], unknown, answered(y, 2))[1][:2] == 0).all()


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_text_s_last_numbers_are_its_score_by_the_other_folds(classes: int) -> None:
    rng = np.random.default_rng(0)
    good = rng.integers(0, 2, 300)
    noise = [" ".join(rng.choice([f"w{i}" for i in range(60)], 5)) for _ in good]
    texts = strings(*(f"{n} {'great' if g else 'awful'}" for n, g in zip(noise, good, strict=True)))
    y = good if classes == 2 else good * 2 if classes == 3 else 5.0 * good + 0.1 * rng.normal(size=300)
    values = ["great", "awful", *(f"w{i}" for i in range(60))]
    words, held = learn_words(values, texts, answered(y, classes))
    assert held.shape == (300, words.width)
    score, own = held[:, -1], words.of(texts)[:, -1]
    assert np.corrcoef(score, good)[0, 1] > 0.95 and np.corrcoef(own, good)[0, 1] > 0.95
    shuffled = rng.permutation(y)
    empty, told = learn_words(values, texts, answered(shuffled, classes))
    assert np.corrcoef(told[:, -1], shuffled)[0, 1] < 0.2 < np.corrcoef(empty.of(texts)[:, -1], shuffled)[0, 1]


def test_texts_without_a_known_word_are_no_fault() -> None:
    words, held = learn_words([], strings("a", "b"), answered(np.array([0, 1]), 2))
    assert held.shape == (2, words.width) and (held == 0).all()
    one, told = learn_words(["a"], strings("a", "b", "a"), answered(np.array([0, 1, 0]), 2))
    assert np.isfinite(told).all() and told.shape[1] == one.width
