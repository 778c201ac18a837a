"""Metrics of lists by hand, intervals over users, and what is compared where two graphs rank alike."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.errors import DataError
from sluice.gates.config import EvaluateConfig
from sluice.problems.comparison import compare
from sluice.problems.problem import problem
from sluice.problems.ranking import informed, popular
from sluice.problems.truth import Truth
from sluice.problems.units import Units

RANKING = problem("ranking")
LABELS = [f"i{n:02}" for n in range(30)]


def lists(*rows: list[int]) -> np.ndarray:
    out = np.zeros((len(rows), 20, 2))
    out[..., 0] = -1
    for row, found in enumerate(rows):
        out[row, : len(found), 0], out[row, : len(found), 1] = found, np.linspace(1, 0.1, len(found))
    return out


def truth(*rows: list[str], history: list[list[str]] | None = None, bits: np.ndarray | None = None) -> np.ndarray:
    column = None if history is None else pa.chunked_array([pa.array(history, pa.list_(pa.string()))])
    return Truth.of(pa.chunked_array([pa.array(list(rows), pa.list_(pa.string()))]), LABELS, column, bits).array


def value(name: str, outputs: np.ndarray, targets: np.ndarray, units: Units | None = None) -> float:
    return RANKING.metrics()[name].value(RANKING.answers(outputs, targets, LABELS, units=units))


def test_metrics_of_a_list_are_those_of_their_definitions() -> None:
    outputs, targets = lists([3, 5, 1, 8]), truth(["i05", "i08", "no such item"])
    dcg, best = 1 / np.log2(3) + 1 / np.log2(5), 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert value("ndcg_10", outputs, targets) == pytest.approx(dcg / best)
    assert value("recall_10", outputs, targets) == pytest.approx(2 / 3)
    assert value("hit_10", outputs, targets) == 1 and value("mrr", outputs, targets) == 0.5
    assert value("ndcg_10", lists([5, 8]), truth(["i05", "i08"])) == pytest.approx(1)
    assert value("ndcg_10", lists([1, 2]), truth(["i05"])) == 0


def test_ndcg_agrees_with_scikit_learn_on_random_lists() -> None:
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(0)
    for _ in range(30):
        order, came = rng.permutation(30), rng.choice(30, rng.integers(1, 15), replace=False)
        relevant, scores = np.zeros(30), np.zeros(30)
        relevant[came], scores[order] = 1, np.arange(30, 0, -1)
        ours = value("ndcg_10", lists(order[:20].tolist()), truth([LABELS[i] for i in came]))
        assert ours == pytest.approx(ndcg_score(relevant[None], scores[None], k=10))


def test_coverage_counts_items_and_its_interval_is_the_jackknife_over_users() -> None:
    outputs, targets = lists([0, 1], [0, 2], [0, 2], [3]), truth(["i00"], ["i00"], ["i00"], ["i00"])
    metric = RANKING.metrics()["coverage"]
    a = RANKING.answers(outputs, targets, LABELS, units=Units("user", np.array([0, 1, 1, 2])))
    assert metric.value(a) == pytest.approx(4 / 30)
    without = np.array([3, 3, 3]) / 30  # each user alone has one item
    assert metric._without(a) == pytest.approx(without)  # type: ignore[attr-defined]
    low, high = metric.interval(a, 0.95, 0) or (0, 0)
    assert low == pytest.approx(high) == pytest.approx(4 / 30)


def test_novelty_is_the_mean_self_information_of_what_is_listed() -> None:
    bits = np.arange(30, dtype=np.float64)
    assert value("novelty", informed(lists([2, 4], [9]), bits), truth(["i00"], ["i00"])) == pytest.approx((3 + 9) / 2)


def test_intervals_are_over_users_and_cover_as_they_say() -> None:
    rng, covered, metric = np.random.default_rng(1), 0, RANKING.metrics()["hit_10"]
    for _ in range(200):
        chance = np.repeat(rng.beta(2, 3, 60), 4)  # a user's rows are alike
        hit = rng.random(240) < chance
        outputs = lists(*([0] if h else [1] for h in hit))
        a = RANKING.answers(outputs, truth(*[["i00"]] * 240), LABELS, units=Units("user", np.repeat(np.arange(60), 4)))
        low, high = metric.interval(a, 0.95, 0) or (1, 0)
        covered += low <= 0.4 <= high
    assert covered >= 180


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.5))
@settings(max_examples=60, deadline=None)
def test_graphs_whose_scores_differ_by_little_are_apart_by_no_more(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(5, 30))
    other = scores + rng.uniform(-noise, noise, size=scores.shape)
    found = [np.stack([np.argsort(-s, 1)[:, :20], -np.sort(-s, 1)[:, :20]], axis=2) for s in (scores, other)]
    assert RANKING.apart(*found) <= noise + 1e-12
    assert RANKING.apart(found[0], found[0]) == 0


def test_another_item_in_front_is_far_apart_and_changes_the_answer() -> None:
    first, second = lists([1, 2, 3]), lists([7, 2, 3])
    assert RANKING.apart(first, second) >= 0.9
    assert RANKING.change(first, second, np.empty(0))[0] > 0 and RANKING.agreement(first, second, LABELS, None, first) == 0


def test_two_models_are_paired_by_user_also_where_they_know_other_items() -> None:
    targets, units = truth(*[["i03"]] * 40), Units("user", np.repeat(np.arange(20), 2))
    theirs = lists(*[[0, 1]] * 40)
    config = EvaluateConfig()
    found = compare(lists(*[[3]] * 40), theirs, targets, LABELS, ["new", "i03", *LABELS[5:]], config, asked=RANKING, units=units)
    assert (found["units"], found["n_discordant"], found["labels_added"][0]) == (20, 40, "i00")
    assert found["candidate"] == 1 and found["champion"] == pytest.approx(1 / np.log2(3))
    same = compare(theirs, theirs, targets, LABELS, LABELS, config, asked=RANKING, units=units)
    assert same["verdict"] == "no_worse" and same["n_discordant"] == 0


def test_what_is_popular_leaves_out_what_was_seen_and_what_nobody_took() -> None:
    counts = np.array([5.0, 9, 0, 7])
    found = popular(counts, np.array([[1, -1], [-2, -1]]), 2, 4)
    assert found[:, :, 0].tolist() == [[3, 0, -1, -1], [1, 3, 0, -1]]


def test_answers_of_another_shape_and_labels_that_are_none_are_refused() -> None:
    with pytest.raises(DataError, match="shape"):
        RANKING.answers(np.zeros((2, 5, 2)), truth(["i00"], ["i01"]), LABELS)
    with pytest.raises(ValueError, match="two at least"):
        RANKING.check_labels(["one"])
    with pytest.raises(ValueError, match="twice"):
        RANKING.check_labels(["a", "a"])


def test_a_server_tells_names_and_nothing_where_there_is_no_item() -> None:
    told = RANKING.told(lists([2, 0]), LABELS)
    assert told["items"][0].tolist() == ["i02", "i00", *[""] * 18] and told["scores"].dtype == np.float32
    assert RANKING.observed(lists([2, 0])).tolist() == [1.0]


def test_how_far_a_smaller_format_moved_is_told_in_items_not_in_their_places() -> None:
    from types import SimpleNamespace
    from typing import Any

    from sluice.formats import selection
    from sluice.gates.format import _moved

    fp32, int8 = lists([1, 2, 3, 4]), lists([1, 2, 3, 29])
    held: Any = SimpleNamespace(asked=RANKING, row_ids=["r"], rows=[{"history": ["i05"]}], labels=LABELS)
    moved = selection._moved(int8, fp32, RANKING.change(int8, fp32, np.empty(0)), held)
    assert moved["answer"] == 0.1 and selection._moved_by(moved, held) == "10% of the first items"
    assert "share of the first items that are others 0 in fp32, 0.1 here" in _moved({"format": "int8", "moved": moved})
