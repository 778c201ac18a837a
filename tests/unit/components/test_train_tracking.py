"""What of an epoch becomes a curve in the trackers."""

from __future__ import annotations

from components.train.logic import curve_point


def test_curves_are_what_changes_and_can_be_drawn() -> None:
    epoch = {
        "kind": "epoch",
        "epoch": 2,
        "epochs": 8,
        "step": 60,
        "steps": 240,
        "train_loss": 0.5,
        "better": True,
        "validation_loss": None,
        "validation_metrics": {"accuracy": 0.9, "confusion": [[1, 0], [0, 1]]},
    }
    assert curve_point(epoch) == {"train_loss": 0.5, "validation_accuracy": 0.9}
