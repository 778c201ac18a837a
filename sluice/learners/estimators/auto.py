"""Boosted trees and a linear model, mixed by how well each answers rows it has not seen: good on thirty rows and on many."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from sluice.core import files
from sluice.core.errors import DataError
from sluice.learners.estimators.base import Estimator, Fitted, Rows, Tell
from sluice.learners.estimators.boosted import fit_apart, fit_together
from sluice.learners.estimators.config import EstimatorModel, MonotoneModel
from sluice.learners.estimators.rounds import loss_of
from sluice.learners.estimators.straight import USUAL, Straight, choose_straight
from sluice.learners.estimators.xgboost import XGBoost, XGBoostModel

if TYPE_CHECKING:
    import onnx

_FILE = "auto.json"
#: Shares of the trees' answer that are tried.
_SHARES = np.linspace(0, 1, 21)
#: A probability below this counts as this much when models are weighed: a label that one fold's rows lack is no verdict on a model.
_LEAST = 1e-3
#: Trees of each label multiply: with more labels than this one model is boosted and not one a fold.
_MOST_LABELS = 10
#: How deep trees are: what is tried, the first where rows are many.
_DEPTHS = (6, 3)
#: Rows up to which they are divided in more than one way, and ways at the most.
_FEW, _DIVISIONS = 300, 4
#: By how much more, in parts of a row's loss, one model alone has to be better than both together.
_DOUBT = 12.0


class AutoModel(MonotoneModel):
    """Settings of the two models and of their mixture; the defaults are for tables of any size."""

    folds: int = Field(5, ge=2, le=20, description="parts of the training rows: trees are grown without each, and judged on it")
    bagged_rows: int = Field(20_000, ge=0, description="up to so many training rows trees are grown once a fold and averaged; beyond, once")
    n_estimators: int = Field(1000, ge=1, le=100_000, description="most rounds; early stopping ends them")
    early_stopping_rounds: int = Field(30, ge=1, description="rounds without a smaller loss on held-out rows")
    learning_rate: float = Field(0.1, gt=0, le=1)
    max_depth: int | None = Field(None, ge=1, le=20, description=f"of trees; null: the better of {_DEPTHS[0]} and {_DEPTHS[1]}")


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


class Auto(Estimator):
    """XGBoost, one model a fold (bagging; Breiman 1996), and logistic or ridge regression; their answers are added with the weights that suit
    rows neither was fitted to (stacking; Wolpert 1992): those of the folds, or of validation where folds would mix what lies apart in time.
    """

    Model: ClassVar[type[EstimatorModel]] = AutoModel
    libraries = ("xgboost", "xgboost-cpu", "onnxmltools", "scikit-learn")
    reads_missing = True
    ranks = True

    def fit(self, train: Rows, validation: Rows | None, tell: Tell) -> Fitted:
        """See `Estimator.fit`."""
        rows, folds = len(train.targets), self._folds(train)
        alone = folds is None or train.timed or rows > self.settings.bagged_rows or self.classes > _MOST_LABELS
        if alone:
            model, rounds, depth = self._once(train, validation, folds)
        else:
            assert folds is not None
            model, rounds, depth = self._bagged(train, folds)
        linear = "logistic" if self.classes else "ridge"
        trees = f"{len(model.boosters)} x {rounds} rounds of trees of depth {depth}" if model.boosters else ""
        share = f"{100 * model.share:.0f} % {trees}, {100 - 100 * model.share:.0f} % {linear} regression" if 0 < model.share < 1 else trees
        judge = "validation" if alone and validation is not None else "held-out training"
        return Fitted(model, text=f"{share or f'{linear} regression'}, by the loss on {judge} rows")

    def _folds(self, train: Rows) -> np.ndarray | None:
        """Which fold each row is in, [divisions, rows]: few rows are divided in several ways. None: too few stand apart."""
        from sluice.learners.folds import assign

        groups = np.arange(len(train.targets)) if train.groups is None else train.groups
        divisions = min(_DIVISIONS, 1 + _FEW // len(train.targets))
        try:
            return np.stack([assign(train.targets, groups, self.settings.folds, self.seed + i) for i in range(divisions)])
        except DataError:
            return None

    def _bagged(self, train: Rows, folds: np.ndarray) -> tuple[Mixture, int, int]:
        """Trees a fold, as deep as is best on the rows left out; the linear model's penalty by the same rows."""
        wanted = self.settings.max_depth
        tried = {d: fit_together(self._booster(d), train, folds) for d in ((wanted,) if wanted else _DEPTHS)}
        depth = min(tried, key=lambda d: self._loss(tried[d].held, train))
        straight, held = choose_straight(train, folds, self.classes)
        share = self._share(tried[depth].held, held, train)
        return Mixture(tried[depth].boosters if share else (), share, straight), tried[depth].rounds, depth

    def _once(self, train: Rows, validation: Rows | None, folds: np.ndarray | None) -> tuple[Mixture, int, int]:
        """Each once, judged on the rows of validation; without any on the first fold, or, where rows are that few, the linear model alone."""
        learnt, seen = train, validation
        if seen is None and folds is not None:
            learnt, seen = train.only(folds[0] != 0), train.only(folds[0] == 0)
        if seen is None:
            return Mixture((), 0.0, Straight.fitted(train, self.classes, USUAL)), 0, 0
        depth = self.settings.max_depth or _DEPTHS[0]
        booster, rounds = fit_apart(self._booster(depth), learnt, seen)
        straight = Straight.fitted(learnt, self.classes, USUAL)
        seen = dataclasses.replace(seen, monotone=train.monotone)
        share = self._share(self._trees([booster], seen.matrix), straight.answers(seen.matrix), seen)
        return Mixture((booster,) if share else (), share, straight), rounds, depth

    def _share(self, trees: np.ndarray, straight: np.ndarray, rows: Rows) -> float:
        """Of the trees, in twentieths: half, but for what the rows say against it; all or nothing where hardly anything is lost by it.

        All where the answer is bound to rise or to fall with a number, which the linear model is not.
        """
        if rows.monotone:
            return 1.0
        losses = np.array([self._loss(s * trees + (1 - s) * straight, rows) for s in _SHARES])
        losses *= 1 + _DOUBT * (_SHARES - 0.5) ** 2 / len(rows.targets)
        ends = [at for at in (len(losses) - 1, 0) if losses[at] <= losses.min() * 1.0005]
        return float(_SHARES[ends[0] if ends else int(losses.argmin())])

    def _loss(self, answers: np.ndarray, rows: Rows) -> float:
        return loss_of(np.maximum(answers, _LEAST) if self.classes else answers, rows.targets, rows.weights)

    def _booster(self, depth: int) -> XGBoost:
        s = self.settings
        settings = XGBoostModel(
            estimator="xgboost",
            n_estimators=s.n_estimators,
            early_stopping_rounds=s.early_stopping_rounds,
            learning_rate=s.learning_rate,
            max_depth=depth,
        )
        return XGBoost(settings, self.classes, self.seed, self.threads)

    def _trees(self, boosters: Sequence[Any], matrix: np.ndarray) -> np.ndarray:
        one = self._booster(1)
        found: np.ndarray = np.stack([one.predict(b, matrix) for b in boosters]).mean(axis=0, dtype=np.float32)
        return found

    def predict(self, model: Mixture, matrix: np.ndarray) -> np.ndarray:
        """See `Estimator.predict`."""
        if not model.boosters:
            return model.straight.answers(matrix)
        trees = self._trees(model.boosters, matrix)
        share = np.float32(model.share)
        return trees if share == 1 else share * trees + (1 - share) * model.straight.answers(matrix)

    def shap(self, model: Mixture, matrix: np.ndarray) -> np.ndarray | None:
        """The trees' part alone: XGBoost's own, the mean over the boosters."""
        one = self._booster(1)
        return np.mean([one.shap(b, matrix) for b in model.boosters], axis=0) if model.boosters else None

    def graph(self, model: Mixture, features: int, opset: int) -> onnx.ModelProto:
        """See `Estimator.graph`."""
        from onnx import TensorProto, helper

        from sluice.learners.tables.nodes import Nodes

        g, one, answer = Nodes(), self._booster(1), ""
        if model.boosters:
            found = [g.embed(one.graph(b, features, opset), "x") for b in model.boosters]
            answer = g.add("Mean", *found) if len(found) > 1 else found[0]
        if model.share < 1:
            straight = model.straight.nodes(g, "x")
            parts = [g.add("Mul", v, g.number(s)) for v, s in ((answer, model.share), (straight, 1 - model.share)) if v]
            answer = g.add("Add", *parts) if len(parts) > 1 else straight
        answer = g.add("Identity", answer, name="answer__")
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, w]) for n, w in (("x", features), (answer, self.classes or 1))]
        return g.model(ends[:1], ends[1:], opset)

    def write(self, model: Mixture, root: Path) -> None:
        """XGBoost's own JSON of each booster, and the rest as JSON."""
        for i, booster in enumerate(model.boosters):
            booster.save_model(root / f"xgboost-{i}.json")
        files.write_json(root / _FILE, {"boosters": len(model.boosters), "share": model.share, "straight": model.straight.dump()})

    def read(self, root: Path) -> Mixture:
        """See `Estimator.read`."""
        plain, one = files.read_json(root / _FILE), self._booster(1)
        try:
            boosters = tuple(one.opened(root / f"xgboost-{i}.json") for i in range(plain["boosters"]))
            return Mixture(boosters, float(plain["share"]), Straight.load(plain["straight"]))
        except (KeyError, TypeError) as e:
            raise ValueError(f"{_FILE} lacks {e}") from e
