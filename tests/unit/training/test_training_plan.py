"""What `train:` leaves open is decided from the task and the rows."""

from __future__ import annotations

import pytest

from sluice.learners.torch.config import TrainConfig
from sluice.learners.torch.job import library_code
from sluice.learners.torch.plan import Defaults, Plan, decide


def test_with_nothing_given_training_goes_on_until_validation_stops_improving():
    plan = decide(TrainConfig(), Defaults(steps=1000), rows=640, measured=True)
    assert (plan.batch_size, plan.learning_rate, plan.epochs, plan.watch, plan.minutes) == (64, 1e-3, 100, "loss", 60.0)
    assert plan.patience == 20 and plan.automatic == ["epochs", "batch_size", "learning_rate", "weight_decay", "schedule"]
    assert "has not improved for 20 epochs, at most 100 epochs (1000 steps) and 60 minutes" in plan.text(640)


@pytest.mark.parametrize(("rows", "batch", "epochs"), [(32, 32, 200), (10_000_000, 64, 3)])
def test_few_rows_are_seen_often_and_many_a_few_times(rows, batch, epochs):
    plan = decide(TrainConfig(), Defaults(steps=3000), rows, measured=True)
    assert (plan.batch_size, plan.epochs) == (batch, epochs)


def test_what_the_project_says_is_left_as_it_is():
    given = TrainConfig(
        epochs=7,
        batch_size=16,
        learning_rate=0.3,
        weight_decay=0.0,
        schedule="linear",
        early_stopping={"metric": "accuracy", "patience": 2},
    )
    plan = decide(given, Defaults(epochs=4), rows=100, measured=True)
    assert (plan.epochs, plan.batch_size, plan.learning_rate, plan.weight_decay, plan.schedule) == (7, 16, 0.3, 0.0, "linear")
    assert (plan.watch, plan.patience, plan.minutes, plan.automatic) == ("accuracy", 2, None, [])
    assert decide(TrainConfig(epochs=7), Defaults(), 100, measured=True).patience is None


def test_a_budget_of_steps_is_kept_and_a_tuned_encoder_needs_few_epochs():
    assert decide(TrainConfig(budget={"steps": 25}), Defaults(least=3), 640, measured=True).epochs == 2
    tuned = decide(TrainConfig(), Defaults(learning_rate=5e-5, epochs=4), 640, measured=True)
    assert (tuned.epochs, tuned.patience, tuned.learning_rate) == (4, None, 5e-5)
    assert decide(TrainConfig(processes=4, accumulate=2), Defaults(), rows=3, measured=True).batch_size == 8


def test_without_validation_rows_nothing_can_say_when_to_stop():
    plan = decide(TrainConfig(), Defaults(steps=900), rows=64, measured=False)
    assert (plan.epochs, plan.patience) == (66, None)


def test_a_plan_survives_its_file_and_the_library_s_code_is_one_digest():
    plan = decide(TrainConfig(), Defaults(), 100, measured=True)
    assert Plan.model_validate(plan.model_dump(mode="json")) == plan
    assert len(library_code().removeprefix("sha256:")) == 64
