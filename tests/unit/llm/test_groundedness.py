"""Groundedness: what the sources say is told from what they do not; the whole set is a bench."""

from __future__ import annotations

import pytest

from sluice.llm.groundedness import claims, support
from tests.bench.groundedness import figures

SOURCE = (
    "The pool opens at seven in the morning. Dogs are not allowed. Entry costs 4 euros, for children 2. It was built by Anna Berg in 1998."
)


@pytest.mark.parametrize(
    "claim",
    ["The pool opens at 7.", "Entry costs four euros.", "The pool was built in 1998 by Anna Berg."],
)
def test_what_stands_in_the_source_is_supported(claim: str) -> None:
    assert support(claim, SOURCE) >= 0.5


@pytest.mark.parametrize(
    "claim",
    [
        "The pool opens at nine.",
        "Dogs are allowed.",
        "Entry costs 14 euros.",
        "It was built by Otto Lang.",
        "There is a sauna in the cellar.",
    ],
)
def test_what_does_not_is_not(claim: str) -> None:
    assert support(claim, SOURCE) < 0.5


def test_each_sentence_of_an_answer_is_a_claim() -> None:
    found = claims("The pool opens at 7 [pool]. It has a sauna! Can I help you?\nDogs are not allowed.", [SOURCE])
    assert [c.supported for c in found] == [True, False, True]
    assert claims("Yes.", []) == [] or not claims("Yes.", [])[0].supported


def test_the_bench_reaches_what_the_docs_say() -> None:
    assert figures(resamples=50)["auc"] >= 0.85
