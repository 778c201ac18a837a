"""The network of two towers, and what is fitted with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sluice.learners.recommend.matrix import codes_of
from sluice.learners.recommend.ranker import Ranker
from sluice.learners.recommend.state import COUNTS, FIRST, features_of, fit_histories, history_column, history_input
from sluice.learners.state import State
from sluice.learners.tables.codes import coded, codes
from sluice.learners.torch.network import Network
from sluice.tasks.base import settings
from sluice.tasks.recommend_config import RecommendModel

if TYPE_CHECKING:
    import onnx
    import torch

    from sluice.data.dataset import Dataset
    from sluice.learners.torch.plan import Defaults, Plan


class TwoTowers(Network):
    """Items as vectors; a user as the mean of what came before, with the user's own columns, through a small perceptron. The score is their product
    with all items, exact (Covington, Adams, Sargin: Deep neural networks for YouTube recommendations, RecSys 2016)."""

    def fit(self, dataset: Dataset) -> State:
        """The items and how often each was taken; of the user's columns as `fit_table`."""
        from sluice.fields import TabularProcessor, load_processor
        from sluice.learners.tables.fit import fit_table

        model: RecommendModel = settings(self.task, RecommendModel)
        state, own = fit_histories(dataset, model.history), features_of(dataset)
        if not own.columns:
            return state
        table = fit_table(own)
        columns = load_processor(table.preprocess, table.files)
        assert isinstance(columns, TabularProcessor)
        processor = TabularProcessor([history_column(dataset, model.history), *columns.columns], columns.written)
        extra = {**state.extra, **{k: table.extra[k] for k in ("numeric", "categories")}}
        return dataclasses.replace(state, preprocess=processor.spec(), files=processor.files(), extra=extra)

    def build(self, state: State) -> torch.nn.Module:
        """`Towers` of as many items and features as the state has."""
        from sluice.learners.torch.towers.module import Towers

        model: RecommendModel = settings(self.task, RecommendModel)
        return Towers(state, model.dimensions, model.dropout, model.repeat)

    def preload(self, state: State) -> None:
        """The network's module."""
        import sluice.learners.torch.towers.module  # noqa: F401

    def defaults(self, state: State, rows: int) -> Defaults:
        """Large steps at first: most of it are vectors that few rows touch."""
        from sluice.learners.torch.plan import Defaults

        batch = 128 if rows < 20_000 else 512
        return Defaults(batch_size=batch, learning_rate=3e-3, weight_decay=0.0, schedule="constant", ema=0.98, steps=6000, patience=8)

    def tensors(self, batch: dict[str, np.ndarray], state: State) -> dict[str, torch.Tensor]:
        """The history as INT64 places among the items, [rows, length]; a category as its code, a number as it is."""
        import torch

        history = history_input(state)
        out = {}
        for name, array in batch.items():
            if name == history:
                out["history"] = torch.from_numpy(codes_of(array, self._index(state)))
            elif name in state.extra.get("categories", {}):
                out[name] = torch.from_numpy(coded(codes(state.extra["categories"][name]), array))
            else:
                out[name] = torch.from_numpy(np.ascontiguousarray(array))
        return out

    def _index(self, state: State) -> dict[str, int]:
        cached = getattr(self, "_items", None)
        if cached is None or cached[0] is not state:
            cached = self._items = (state, {label: i for i, label in enumerate(state.labels)})
        return cached[1]  # type: ignore[no-any-return]

    def targets(self, labels: np.ndarray, state: State) -> torch.Tensor:
        """The items that came, INT64 [rows, longest], below 0 where there is none."""
        import torch

        from sluice.problems.truth import Truth

        return torch.from_numpy(Truth(np.asarray(labels)).codes)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, train: Plan) -> torch.Tensor:
        """Minus the log of each item's share among all that can be recommended, the mean over what came to a row, and over rows."""
        import torch

        logs = torch.log_softmax(outputs.float(), dim=1)
        there = targets >= 0
        each = logs.gather(1, targets.clamp(min=0)) * there
        return -(each.sum(dim=1) / there.sum(dim=1).clamp(min=1)).mean()

    def serving_module(self, model: torch.nn.Module, state: State) -> torch.nn.Module:
        """Lists [rows, places, 2]."""
        from sluice.learners.torch.towers.module import Ranked

        return Ranked(model, self._ranker(state)).eval()

    def _ranker(self, state: State) -> Ranker:
        counts, first = (np.array(state.extra[k], dtype=np.float64) for k in (COUNTS, FIRST))
        return Ranker.of(counts, first, settings(self.task, RecommendModel).repeat, new_users=True)

    def graph(self, serving: torch.nn.Module, state: State, inputs: Mapping[str, str], output: str, opset: int) -> onnx.ModelProto | None:
        """Written node by node, the same as of other ways to recommend."""
        from sluice.learners.recommend.graph import ranking_graph
        from sluice.learners.torch.towers.graph import tower_nodes

        return ranking_graph(state, self._ranker(state), tower_nodes(serving.model, state, inputs), inputs, opset)
