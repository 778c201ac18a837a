"""Isolation forest (Liu, Ting, Zhou, ICDM 2008): few random splits set a row apart where it is unusual."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from sluice.core import files
from sluice.core.errors import DataError, ProjectError
from sluice.learners.estimators.base import Estimator, Fitted, Rows, Tell
from sluice.learners.estimators.config import EstimatorModel
from sluice.learners.unusual import UnusualModel, learnt_from

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from sluice.learners.tables.score_curve import ScoreCurve

_CURVE = "curve.json"


class IsolationForestModel(UnusualModel, EstimatorModel):
    """scikit-learn's parameters of IsolationForest; its `contamination` sets the threshold."""

    n_estimators: int = Field(300, ge=1, le=10_000, description="trees")
    max_samples: Literal["auto"] | Annotated[int, Field(ge=2)] = Field(
        "auto", description="rows a tree is grown on; auto: 256, or all if fewer"
    )
    max_features: float = Field(1.0, gt=0, le=1, description="share of the columns a tree looks at")
    bootstrap: bool = False


@dataclasses.dataclass(frozen=True)
class Isolation:
    """A fitted forest, and what its scores become."""

    forest: Any
    curve: ScoreCurve


class IsolationForest(Estimator):
    """The raw score is minus the mean depth at which the trees set a row apart; a missing number is the mean of the training rows, with a flag beside it."""

    Model: ClassVar[type[EstimatorModel]] = IsolationForestModel
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)
    detects = True
    ranks = True
    #: A column a value would be a rare thing each, by which every row is unusual.
    one_hot = False

    def fit(self, train: Rows, validation: Rows | None, tell: Tell) -> Fitted:
        """See `Estimator.fit`; thresholds of trees are then rounded down to numbers of 32 bits.

        Raises:
            ProjectError: classes are weighed, of which it learns none.
            DataError: too few rows to learn from, or all of them alike.
        """
        from sklearn.ensemble import IsolationForest as Forest

        from sluice.learners.estimators.scikit_state import dump, load
        from sluice.learners.tables.score_curve import ScoreCurve

        s = self.settings
        if train.weights is not None:
            raise ProjectError("weighs labels, which an isolation forest does not learn", field="train.class_weights", fix="remove it")
        x = train.matrix[learnt_from(train.targets, s.rows)]
        forest = Forest(
            n_estimators=s.n_estimators,
            max_samples=s.max_samples if s.max_samples == "auto" else min(s.max_samples, len(x)),
            max_features=s.max_features,
            bootstrap=s.bootstrap,
            random_state=self.seed,
            n_jobs=self.threads,
        )
        forest = load(*dump(forest.fit(x)))
        try:
            return Fitted(Isolation(forest, ScoreCurve.fitted(depths(forest, x), s.contamination)))
        except ValueError as e:
            raise DataError(f"cannot be told apart: {e}", field="training rows", fix="give columns that vary") from e

    def predict(self, model: Isolation, matrix: np.ndarray) -> np.ndarray:
        """Scores [rows, 2]; see `Estimator.predict`."""
        return model.curve.of(depths(model.forest, matrix))

    def graph(self, model: Isolation, features: int, opset: int) -> onnx.ModelProto:
        """One tree ensemble whose leaves hold depths, and the curve; see `Estimator.graph`."""
        from onnx import TensorProto, helper

        from sluice.learners.tables.nodes import Nodes

        g = Nodes()
        depth = g.add("TreeEnsembleRegressor", "x", domain="ai.onnx.ml", **_ensemble(model.forest))
        answer = model.curve.nodes(g, g.add("Neg", depth))
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", size]) for n, size in (("x", features), (answer, 2))]
        return g.model(ends[:1], ends[1:], opset)

    def write(self, model: Isolation, root: Path) -> None:
        """The fitted attributes as JSON and tensors, and the curve as JSON."""
        from sluice.learners.estimators.scikit_state import dump, write

        write(*dump(model.forest), root)
        files.write_json(root / _CURVE, model.curve.dump())

    def read(self, root: Path) -> Isolation:
        """See `Estimator.read`."""
        from sluice.learners.estimators.scikit_state import load, read
        from sluice.learners.tables.score_curve import ScoreCurve

        return Isolation(load(*read(root)), ScoreCurve.load(files.read_json(root / _CURVE)))


def depths(forest: Any, matrix: np.ndarray) -> np.ndarray:
    """Minus the mean depth at which a forest sets rows apart, float64 [rows]: what its own score, 2^(-depth / normal depth), rises with."""
    import numpy as np

    total = np.zeros(len(matrix))
    for tree, chosen, lengths in zip(forest.estimators_, forest.estimators_features_, leaf_depths(forest), strict=True):
        x = matrix if len(chosen) == matrix.shape[1] else np.ascontiguousarray(matrix[:, chosen])
        total += lengths[tree.tree_.apply(x)]
    return -total / len(forest.estimators_)


def leaf_depths(forest: Any) -> list[np.ndarray]:
    """Of each tree and node how deep it lies, with what splitting its rows on would take (the average of an unsuccessful search), float64 [nodes]."""
    pairs = zip(forest._decision_path_lengths, forest._average_path_length_per_tree, strict=True)
    return [path + more - 1.0 for path, more in pairs]


def _ensemble(forest: Any) -> dict[str, Any]:
    """The attributes of one TreeEnsembleRegressor: the mean over the trees of a leaf's depth."""
    a: dict[str, list[Any]] = {}

    def put(**values: Any) -> None:
        for key, value in values.items():
            a.setdefault(key, []).append(value)

    for i, (tree, chosen, lengths) in enumerate(zip(forest.estimators_, forest.estimators_features_, leaf_depths(forest), strict=True)):
        t = tree.tree_
        for node in range(t.node_count):
            leaf = t.children_left[node] < 0
            put(nodes_treeids=i, nodes_nodeids=node, nodes_modes="LEAF" if leaf else "BRANCH_LEQ", nodes_hitrates=1.0)
            put(nodes_featureids=0 if leaf else int(chosen[t.feature[node]]), nodes_values=0.0 if leaf else float(t.threshold[node]))
            put(nodes_truenodeids=0 if leaf else int(t.children_left[node]), nodes_falsenodeids=0 if leaf else int(t.children_right[node]))
            put(nodes_missing_value_tracks_true=0)
            if leaf:
                put(target_treeids=i, target_nodeids=node, target_ids=0, target_weights=float(lengths[node]))
    return {**a, "aggregate_function": "AVERAGE", "n_targets": 1, "post_transform": "NONE"}
