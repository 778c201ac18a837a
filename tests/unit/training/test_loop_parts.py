"""The nouns of the loop: who judges epochs, who tells of steps, and which parameters take no part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sluice.core.errors import ProjectError
from sluice.learners.errors import non_finite
from sluice.learners.state import State
from sluice.learners.torch import reporter
from sluice.learners.torch.judge import Judge
from sluice.learners.torch.plan import Plan
from sluice.learners.torch.progress import Progress
from sluice.learners.torch.unused import drop_unused

STATE = State("classification", ["a", "b"], {})


class Rows:
    """Encoded rows, as far as the judge looks at them."""

    labels = np.array([0, 1, 1, 0])


def epoch(loss: float, accuracy: float) -> dict[str, Any]:
    return {"validation_loss": loss, "validation_metrics": {"accuracy": accuracy}}


def judged(plan: Plan, *entries: dict[str, Any]) -> list[tuple[str, float, bool]]:
    judge, progress = Judge(plan, STATE, Rows(), 1), Progress()  # type: ignore[arg-type]
    progress.stopping = judge.patience()
    found = []
    for number, entry in enumerate(entries):
        progress.epoch = number
        ended, factor, better = judge.end_of_epoch(progress, entry)
        progress.plateau_factor = factor
        found.append((ended, factor, better))
    return found


def test_the_best_epoch_is_the_one_of_the_measure_that_is_watched() -> None:
    falling = epoch(0.5, 0.7), epoch(0.4, 0.6), epoch(0.6, 0.8)
    assert [better for _, _, better in judged(Plan(watch="loss"), *falling)] == [True, True, False]
    assert [better for _, _, better in judged(Plan(watch="accuracy"), *falling)] == [True, False, True]


def test_patience_and_time_end_a_run_and_a_plateau_lowers_the_rate() -> None:
    same = [epoch(0.5, 0.5)] * 4
    assert [ended for ended, _, _ in judged(Plan(patience=2), *same)] == ["", "", "patience", "patience"]
    plan = Plan(schedule="plateau", decay={"factor": 0.1, "patience": 1})
    assert [factor for _, factor, _ in judged(plan, *same)] == pytest.approx([1.0, 1.0, 0.1, 0.1])
    progress = Progress()
    progress.seconds = 61.0
    judge = Judge(Plan(minutes=1.0), STATE, None, None)
    progress.stopping = judge.patience()
    assert judge.end_of_epoch(progress, {"validation_loss": None, "validation_metrics": {}}) == ("time", 1.0, False)


def test_a_measure_that_cannot_be_taken_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(ProjectError, match=r"train\.schedule: needs validation rows"):
        Judge(Plan(schedule="plateau"), STATE, None, None)
    with pytest.raises(ProjectError, match=r"train\.early_stopping: needs validation rows"):
        Judge(Plan(early_stopping={"metric": "loss"}), STATE, None, None)
    with pytest.raises(ProjectError, match=r"train\.early_stopping\.metric"):
        Judge(Plan(watch="rmse"), STATE, Rows(), 1)  # type: ignore[arg-type]


def test_steps_are_told_of_now_and_then_and_the_last_one_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "_EVENTS_EVERY", 3600.0)
    told: list[dict[str, Any]] = []
    report = reporter.Reporter(told.append, first=True, rows=40, steps=4, epochs=2)
    progress = Progress()
    progress.epoch, progress.epoch_seconds, progress.loss_sum, progress.loss_rows = 1, 2.0, 30.0, 20
    for progress.step in range(5, 9):
        report.step(progress)
    (last,) = told
    assert (last["kind"], last["step"], last["steps"], last["epoch"], last["loss"]) == ("step", 8, 8, 2, 1.5)
    assert last["samples_per_second"] == 20.0 and last["seconds_left"] == 0.0
    silent = reporter.Reporter(told.append, first=False, rows=40, steps=4, epochs=2)
    silent.tell("note", text="x")
    silent.step(progress)
    assert len(told) == 1


def test_parameters_that_the_loss_does_not_reach_are_not_trained_and_buffers_stay() -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.used, self.unused = torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1), torch.nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.used(self.norm(x))
            return out

    net = Net().train()
    called, names = drop_unused(net, lambda: net(torch.tensor([[1.0, 2.0], [3.0, 5.0]])).sum(), follow=True)
    assert names == ["unused.weight", "unused.bias"] and called == {net, net.norm, net.used}
    assert not net.unused.weight.requires_grad and net.used.weight.requires_grad
    assert all(p.grad is None for p in net.parameters())
    assert float(net.norm.running_mean.abs().sum()) == 0.0 and int(net.norm.num_batches_tracked) == 0
    assert drop_unused(net, lambda: net(torch.ones(2, 2)).sum(), follow=False) == (set(), [])


def test_what_is_not_finite_names_the_first_rows_and_the_last_good_checkpoint() -> None:
    error = non_finite("the loss became nan in step 3", float("nan"), ["r1", "r2"], 5, "step-2")
    assert "rows r1, r2 and 3 more; last good checkpoint: step-2" in str(error)
