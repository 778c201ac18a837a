"""What rows weigh in the loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from sluice.core.errors import ProjectError
from sluice.core.section import names_in
from sluice.learners.torch.config import TrainConfig
from sluice.learners.torch.network import Network
from sluice.learners.torch.plan import Plan
from sluice.learners.weights import label_weights

CODES = np.array([0] * 90 + [1] * 10)


def test_balanced_weights_make_labels_alike_and_the_rows_mean_stays_1():
    found = label_weights("balanced", ["No", "Yes"], CODES)
    assert found == pytest.approx([100 / 180, 5.0]) and np.mean(np.array(found)[CODES]) == pytest.approx(1)
    given = label_weights({"Yes": 9.0}, ["No", "Yes"], CODES)
    assert given[1] / given[0] == pytest.approx(9) and np.mean(np.array(given)[CODES]) == pytest.approx(1)
    assert label_weights(None, ["No", "Yes"], CODES) is None
    assert label_weights("balanced", ["No", "Yes", "never seen"], CODES)[:2] == pytest.approx(found)


def test_a_name_that_is_no_label_and_a_quantity_are_refused():
    with pytest.raises(ProjectError, match=r"train\.class_weights: is no label of the data \(got 'yes'\)"):
        label_weights({"yes": 2.0}, ["No", "Yes"], CODES)
    with pytest.raises(ProjectError, match="the label is a quantity"):
        label_weights("balanced", [], np.zeros(3))


def test_labels_are_spelt_as_the_data_has_them_and_looked_up_before_training():
    assert TrainConfig(class_weights={1: 3, "a": 0.5}).class_weights == {"1": 3.0, "a": 0.5}
    assert TrainConfig(class_weights={True: 3}).class_weights == {"true": 3.0}
    assert [(n.setting, n.what, n.name) for n in names_in(TrainConfig(class_weights={0: 3.0}))] == [("class_weights", "class", "0")]
    assert not list(names_in(TrainConfig(class_weights="balanced")))
    for bad in ("even", {"a": 0.0}, {"a": -1.0}, 3):
        with pytest.raises(ValidationError, match="class_weights"):
            TrainConfig(class_weights=bad)


def test_the_loss_is_a_mean_over_rows_however_they_are_dealt_out():
    torch.manual_seed(0)
    outputs, targets = torch.randn(12, 3), torch.arange(12) % 3
    plan = Plan(label_weights=[0.5, 1.0, 4.0], label_smoothing=0.1)
    whole = Network.loss(None, outputs, targets, plan)
    halves = [Network.loss(None, outputs[s], targets[s], plan) * (s.stop - s.start) / 12 for s in (slice(0, 5), slice(5, 12))]
    assert float(sum(halves)) == pytest.approx(float(whole), rel=1e-6)
    each = F.cross_entropy(outputs, targets, label_smoothing=0.1, reduction="none")
    assert float(whole) == pytest.approx(float((each * torch.tensor([0.5, 1.0, 4.0])[targets]).mean()), rel=1e-6)
    assert float(Network.loss(None, outputs, targets, Plan())) == pytest.approx(float(F.cross_entropy(outputs, targets)))
