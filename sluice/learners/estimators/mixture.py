"""Boosted trees and a linear model whose answers are added: in memory, on disk and as a graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core import files
from sluice.learners.estimators.straight import Straight

if TYPE_CHECKING:
    import onnx

    from sluice.learners.estimators.xgboost import XGBoost

_FILE = "auto.json"


@dataclasses.dataclass(frozen=True)
class Mixture:
    """The fitted model.

    Attributes:
        boosters: XGBoost's, whose answers are averaged; none where the linear model is as good alone.
        share: of the trees' answer in the whole, 0 to 1.
        straight: the linear model.
    """

    boosters: Sequence[Any]
    share: float
    straight: Straight

    def answers(self, one: XGBoost, matrix: np.ndarray) -> np.ndarray:
        """Probabilities [rows, classes] or values [rows]. `one` asks its boosters."""
        if not self.boosters:
            return self.straight.answers(matrix)
        trees = mean_of(one, self.boosters, matrix)
        return trees if self.share == 1 else self.mixed(trees, self.straight.answers(matrix))

    def mixed(self, trees: np.ndarray, straight: np.ndarray) -> np.ndarray:
        """The two models' answers as one."""
        share = np.float32(self.share)
        return np.asarray(share * trees + (1 - share) * straight)

    def graph(self, one: XGBoost, features: int, classes: int, opset: int) -> onnx.ModelProto:
        """See `sluice.learners.estimators.base.Estimator.graph`."""
        from onnx import TensorProto, helper

        from sluice.learners.tables.nodes import Nodes

        g, answer = Nodes(), ""
        if self.boosters:
            found = [g.embed(one.graph(b, features, opset), "x") for b in self.boosters]
            answer = g.add("Mean", *found) if len(found) > 1 else found[0]
        if self.share < 1:
            straight = self.straight.nodes(g, "x")
            parts = [g.add("Mul", v, g.number(s)) for v, s in ((answer, self.share), (straight, 1 - self.share)) if v]
            answer = g.add("Add", *parts) if len(parts) > 1 else straight
        answer = g.add("Identity", answer, name="answer__")
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, w]) for n, w in (("x", features), (answer, classes or 1))]
        return g.model(ends[:1], ends[1:], opset)

    def write(self, root: Path) -> None:
        """XGBoost's own JSON of each booster, and the rest as JSON."""
        for i, booster in enumerate(self.boosters):
            booster.save_model(root / f"xgboost-{i}.json")
        files.write_json(root / _FILE, {"boosters": len(self.boosters), "share": self.share, "straight": self.straight.dump()})

    @classmethod
    def read(cls, root: Path, one: XGBoost) -> Mixture:
        """What `write` wrote. Raises `OSError` or `ValueError`: it is not there, or something else."""
        plain = files.read_json(root / _FILE)
        try:
            boosters = tuple(one.opened(root / f"xgboost-{i}.json") for i in range(plain["boosters"]))
            return cls(boosters, float(plain["share"]), Straight.load(plain["straight"]))
        except (KeyError, TypeError) as e:
            raise ValueError(f"{_FILE} lacks {e}") from e


def mean_of(one: XGBoost, boosters: Sequence[Any], matrix: np.ndarray) -> np.ndarray:
    """The mean of boosters' answers, FP32."""
    found: np.ndarray = np.stack([one.predict(b, matrix) for b in boosters]).mean(axis=0, dtype=np.float32)
    return found
