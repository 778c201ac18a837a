"""Edits between sequences: as few as there can be, and such that they lead from one to the other."""

from __future__ import annotations

import difflib
import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.problems.edits import alignment, distances

WORDS = st.lists(st.sampled_from("abc"), max_size=7)


def by_definition(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    @functools.cache
    def least(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(least(i - 1, j - 1) + (a[i - 1] != b[j - 1]), least(i - 1, j) + 1, least(i, j - 1) + 1)

    return least(len(a), len(b))


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_distances_of_many_pairs_are_each_pairs_own(pairs: list[tuple[list[str], list[str]]]) -> None:
    found = distances([a for a, _ in pairs], [b for _, b in pairs])
    assert found.tolist() == [by_definition(tuple(a), tuple(b)) for a, b in pairs]


@given(WORDS, WORDS)
@settings(max_examples=100, deadline=None)
def test_an_alignment_leads_from_one_to_the_other_in_as_few_edits(a: list[str], b: list[str]) -> None:
    found = alignment(a, b)
    assert [t for _, t, _ in found if t is not None] == a and [s for _, _, s in found if s is not None] == b
    assert sum(kind != "same" for kind, _, _ in found) == distances([a], [b])[0]
    assert all((kind == "same") == (t == s) for kind, t, s in found)


def test_no_rows_and_empty_sequences() -> None:
    assert distances([], []).tolist() == [] and distances([[], ["a"]], [["a", "b"], []]).tolist() == [2, 1] and alignment([], []) == []


def test_thousands_of_rows_are_compared_in_parts() -> None:
    truth = [list("abcd")] * 2500
    said = [list("abcd"[: i % 5]) for i in range(2500)]
    assert distances(truth, said).tolist() == [4 - i % 5 for i in range(2500)]


@pytest.mark.parametrize(("a", "b"), [("kitten", "sitting"), ("flaw", "lawn")])
def test_known_pairs(a: str, b: str) -> None:
    assert distances([a], [b]).tolist() == [{"kitten": 3, "flaw": 2}[a]]
    assert difflib.SequenceMatcher(None, a, b).ratio() < 1
