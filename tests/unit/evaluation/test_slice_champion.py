"""Slices against the champion: refused where one is worse beyond doubt, declared or found, and a candidate as good everywhere is not."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.core.errors import ProjectError
from sluice.gates.config import EvaluateConfig
from sluice.gates.found import _without_champion, versus
from sluice.gates.slice_champion import SliceChampion, decide
from sluice.problems.answers import Answers
from sluice.problems.metrics import TABLE
from sluice.project import parse
from tests.bench.slices import case, drawn, simulated

ACCURACY = (TABLE["accuracy"], TABLE["accuracy"])
WORSE = "age >= 61.5 and plan == 'basic'"


def compared(worse: str | None = WORSE, seed: int = 3, declared: tuple[str, ...] = (), units: int = 1, rows: int = 4500, **settings):
    rng = np.random.default_rng([seed, rows])
    held = simulated(rng, rows)
    ours, theirs = drawn(rng, held, rows, 0.02, worse, units)
    return versus(held, list(declared), ACCURACY, ours, theirs, EvaluateConfig(**settings))


def test_a_slice_that_drops_is_refused_though_the_average_rises_and_nobody_declared_it():
    said = decide(compared())
    assert said.decision == "refuse"
    assert "where age >= 64.5 and plan == 'basic' (nobody declared it; the surest of " in said.reasons[0]
    assert "evaluate.accept_slices" in said.reasons[-1]


def test_a_slice_of_two_columns_that_nobody_declared_is_found_though_models_differ_much():
    """Found on one half and confirmed on the other this was 65 of 100. The full count: python -m tests.bench.slices."""
    assert case("", 12, 4500, 0.06, WORSE)["named"] >= 0.75


def test_losses_that_are_no_counts_are_found_on_one_half_and_confirmed_on_the_other():
    rng = np.random.default_rng([3, 4500])
    held = simulated(rng, 4500)
    truth, unsure = rng.integers(0, 2, 4500), held.spelled("country") == np.array("PT")

    def sure(of: np.ndarray) -> Answers:
        right = np.clip(of + rng.normal(0, 0.05, 4500), 0.05, 0.95)
        return Answers.of(np.where(np.arange(2) == truth[:, None], right[:, None], 1 - right[:, None]), truth, truth)

    ours, theirs = sure(np.where(unsure, 0.6, 0.86)), sure(np.full(4500, 0.85))
    said = decide(versus(held, [], (TABLE["log_loss"], TABLE["log_loss"]), ours, theirs, EvaluateConfig(metric="log_loss")))
    assert said.decision == "refuse" and "country == 'PT' (found on other rows, confirmed on these)" in said.reasons[0]


def test_a_declared_slice_is_refused_by_its_name():
    said = decide(compared(declared=("country", WORSE), find_slices=False))
    assert said.decision == "refuse" and f"rows where {WORSE}: accuracy" in said.reasons[0] and len(said.reasons) == 2


def test_a_slice_that_is_accepted_goes_on_and_is_said():
    said = decide(compared(declared=(WORSE,), accept_slices={"plan == 'basic'": "sold no more from May on"}))
    assert said.decision == "pass" and said.cautions[0].startswith("accepted by evaluate.accept_slices (sold no more from May on)")


def test_too_few_rows_cannot_tell():
    found = compared(worse=None, declared=("age >= 89.9", "age > 95", "plan"), rows=600, find_slices=False)
    verdicts = {s["slice"]: (s["verdict"], s["why"]) for s in found["slices"]}
    assert verdicts["age >= 89.9"] == ("cannot_tell", "fewer than 30 rows") and verdicts["age > 95"] == (
        "cannot_tell",
        "no held-out row is in it",
    )
    assert decide(found).decision == "pass" and "cannot be told" in decide(found).reasons[0]


def test_models_that_answer_alike_are_no_worse_and_nothing_is_looked_for():
    rng = np.random.default_rng(17)
    held = simulated(rng, 600)
    ours, _ = drawn(rng, held, 600, 0.06, None)
    found = versus(held, ["plan"], ACCURACY, ours, ours, EvaluateConfig())
    assert {s["verdict"] for s in found["slices"]} == {"no_worse"} and decide(found).decision == "pass"


def test_candidates_as_good_as_the_champion_everywhere_are_refused_rarely():
    """The full count: python -m tests.bench.slices."""
    assert case("", 20, 1000, 0.15, None, ("plan", "country", "age >= 60"))["refused"] <= 0.05
    assert case("", 10, 1000, 0.1, None, ("plan", "country"), units=10)["refused"] <= 0.1


def test_a_slice_that_drops_is_refused_nearly_always():
    assert case("", 8, 4500, 0.02, WORSE, (WORSE, "plan", "country"))["named"] >= 0.85
    assert case("", 8, 4500, 0.02, "country == 'PT'")["named"] >= 0.85


@pytest.mark.parametrize("metric", ["roc_auc", "macro_f1"])
def test_other_metrics_go_by_the_loss_of_a_row_where_they_have_none(metric):
    rng = np.random.default_rng([3, 4500])
    held = simulated(rng, 4500)
    ours, theirs = drawn(rng, held, 4500, 0.02, "country == 'PT'")
    by = (TABLE[metric], TABLE[TABLE[metric].by_rows or metric])
    found = versus(held, [], by, ours, theirs, EvaluateConfig(metric=metric))
    assert any(s["verdict"] == "worse" and "PT" in s["slice"] for s in found["slices"])


def test_without_a_champion_the_worst_slice_is_a_caution():
    rng = np.random.default_rng(5)
    held = simulated(rng, 3000)
    wrong = rng.random(3000) < np.where(held.spelled("country") == np.array("PT"), 0.4, 0.05)
    y = rng.integers(0, 2, 3000)
    ours = Answers.of(np.eye(2)[np.where(wrong, 1 - y, y)], y)
    found = _without_champion(held, ours, TABLE["accuracy"], EvaluateConfig())
    said = decide(found)
    assert (
        said.decision == "pass" and said.cautions[0].startswith("the worst slice found: on the ") and "country == 'PT'" in said.cautions[0]
    )
    assert "country == 'PT'" in SliceChampion().section(said).replace("&#x27;", "'")


def test_the_report_shows_each_slice_and_which_is_refused():
    said = decide(compared(declared=("plan", WORSE)))
    page = SliceChampion().section(said)
    assert "<svg" in page and "Slices against the champion: " in page and "bad-text" in page and "Holm" in page


def test_an_acceptance_needs_a_reason_and_an_expression_that_can_be_read():
    base = {"name": "a", "task": "tabular", "data": {"source": "x.csv"}}
    for accept, said in (({"age >=": "why"}, "cannot be read at character"), ({"age >= 3": ""}, "accept_slices")):
        with pytest.raises(ProjectError, match=said):
            parse({**base, "evaluate": {"accept_slices": accept}})
