"""Which parts of a model are put together one at a time."""

from __future__ import annotations

from torch import nn

from sluice.learners.torch.sharded import blocks


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(4, 2)])  # their weights are read from outside, no forward of theirs is called
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2))])
        self.experts = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        self.experts[1].weight = self.experts[0].weight
        self.empty = nn.ModuleList([nn.ReLU()])
        self.nested = nn.ModuleList([nn.ModuleDict({"inner": nn.ModuleList([nn.Linear(2, 2)])})])


def test_members_of_lists_that_are_called_and_share_nothing():
    model = Layers()
    called = {m for m in model.modules() if m not in set(model.tables.modules())}
    found = blocks(model, called)
    assert found == [*model.layers, model.nested[0]]


def test_a_model_without_lists_is_one_piece():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert blocks(model, set(model.modules())) == []
