"""How the models that `auto` adds are fitted, weighed and told of."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import DataError
from sluice.learners.estimators.auto import DEPTHS
from sluice.learners.estimators.base import Fitted, Rows
from sluice.learners.estimators.boosted import fit_apart, fit_together, grown
from sluice.learners.estimators.mixture import Mixture, mean_of
from sluice.learners.estimators.rounds import loss_of
from sluice.learners.estimators.straight import LEAST, USUAL, Straight, choose_straight, parts_of

if TYPE_CHECKING:
    from sluice.learners.estimators.auto import Auto

#: Shares of the trees' answer that are tried.
_SHARES = np.linspace(0, 1, 21)
#: Trees of each label multiply: with more labels than this one model is boosted and not one a fold.
_MOST_LABELS = 10
#: Rows up to which they are divided in more than one way, and ways at the most.
_FEW, _DIVISIONS = 300, 4
#: By how much more, in parts of a row's loss, one model alone has to be better than both together.
_DOUBT = 50.0


@dataclasses.dataclass(frozen=True)
class Judged:
    """Two models' answers to rows that neither had learnt, [rows, ...] each, and what is said of them."""

    rows: Rows
    on: str
    trees: np.ndarray
    straight: np.ndarray
    said: str


def mixed(auto: Auto, train: Rows, validation: Rows | None) -> Fitted:
    """`Estimator.fit` of `auto`: by folds of all there is to learn from, or by the rows of validation."""
    joins = validation is not None and validation.free
    whole = train.and_(validation) if validation is not None and joins else train
    many = len(whole.targets) > auto.settings.bagged_rows or auto.classes > _MOST_LABELS
    folds = _folds(auto, whole)
    if folds is None and validation is None:
        linear = "logistic" if auto.classes else "ridge"
        return Fitted(Mixture((), 0.0, Straight.fitted(train, auto.classes, USUAL)), text=f"{linear} regression: too few rows to choose by")
    if folds is None or train.timed or many:
        model, judged = _once(auto, train, validation, whole, folds)
    else:
        model, judged = _bagged(auto, whole, folds)
    held = None
    if validation is not None and joins:
        held = model.mixed(judged.trees, judged.straight)[-len(validation.targets) :]
    choice = _told(auto, model, judged)
    return Fitted(model, text=_sentence(choice), held=held, choice=choice)


def _folds(auto: Auto, rows: Rows) -> np.ndarray | None:
    """Which fold each row is in, [divisions, rows]: few rows are divided in several ways. None: too few stand apart."""
    from sluice.learners.folds import assign

    groups = np.arange(len(rows.targets)) if rows.groups is None else rows.groups
    divisions = min(_DIVISIONS, 1 + _FEW // len(rows.targets))
    try:
        return np.stack([assign(rows.targets, groups, auto.settings.folds, auto.seed + i) for i in range(divisions)])
    except DataError:
        return None


def _bagged(auto: Auto, rows: Rows, folds: np.ndarray) -> tuple[Mixture, Judged]:
    """Trees a fold, as deep as is best on the rows left out; the linear model's penalty by the same rows."""
    wanted = auto.settings.max_depth
    tried = {d: fit_together(auto.booster(d), rows, folds) for d in ((wanted,) if wanted else DEPTHS)}
    depth = min(tried, key=lambda d: _loss(auto, tried[d].held, rows))
    found = tried[depth]
    straight, held = choose_straight(rows, parts_of(folds), auto.classes)
    share = _share(auto, found.held, held, rows)
    said = f"{len(found.boosters)} x {found.rounds} rounds of trees of depth {depth}"
    model = Mixture(found.boosters if share else (), share, straight)
    return model, Judged(rows, f"left out of {auto.settings.folds} folds", found.held, held, said)


def _once(auto: Auto, train: Rows, validation: Rows | None, whole: Rows, folds: np.ndarray | None) -> tuple[Mixture, Judged]:
    """Each once, judged on the rows of validation, or without any on the first fold; then fitted again to all there is to learn from."""
    learnt, seen, on = train, validation, "of validation"
    if seen is None:
        assert folds is not None
        learnt, seen, on = train.only(folds[0] != 0), train.only(folds[0] == 0), "left out"
    depth = auto.settings.max_depth or DEPTHS[0]
    one = auto.booster(depth)
    booster, rounds = fit_apart(one, learnt, seen)
    straight, answers = _straight(auto, learnt, seen, whole)
    seen = dataclasses.replace(seen, monotone=train.monotone)
    judged = Judged(seen, on, mean_of(one, [booster], seen.matrix), answers, f"{rounds} rounds of trees of depth {depth}")
    share = _share(auto, judged.trees, judged.straight, seen)
    if share and len(whole.targets) > len(learnt.targets):
        booster = grown(one, whole, rounds)
    return Mixture((booster,) if share else (), share, straight), judged


def _straight(auto: Auto, learnt: Rows, seen: Rows, whole: Rows) -> tuple[Straight, np.ndarray]:
    """The linear model of the whole, and what it answers to rows it has not seen; where rows are many its penalty hardly counts, and is the usual one."""
    if len(learnt.targets) > auto.settings.bagged_rows or auto.classes > _MOST_LABELS:
        return Straight.fitted(whole, auto.classes, USUAL), Straight.fitted(learnt, auto.classes, USUAL).answers(seen.matrix)
    away = np.arange(len(learnt.targets) + len(seen.targets)) >= len(learnt.targets)
    return choose_straight(learnt.and_(seen), [(~away, away)], auto.classes, whole)


def _share(auto: Auto, trees: np.ndarray, straight: np.ndarray, rows: Rows) -> float:
    """Of the trees, in twentieths: half, but for what the rows say against it; all or nothing where hardly anything is lost by it.

    All where the answer is bound to rise or to fall with a number, which the linear model is not.
    """
    if rows.monotone:
        return 1.0
    losses = np.array([_loss(auto, s * trees + (1 - s) * straight, rows) for s in _SHARES])
    losses *= 1 + _DOUBT * (_SHARES - 0.5) ** 2 / len(rows.targets)
    ends = [at for at in (len(losses) - 1, 0) if losses[at] <= losses.min() * 1.0005]
    return float(_SHARES[ends[0] if ends else int(losses.argmin())])


def _loss(auto: Auto, answers: np.ndarray, rows: Rows) -> float:
    return loss_of(np.maximum(answers, LEAST) if auto.classes else answers, rows.targets, rows.weights)


def _told(auto: Auto, model: Mixture, judged: Judged) -> dict[str, Any]:
    """`Fitted.choice`."""
    linear = f"{'logistic' if auto.classes else 'ridge'} regression"
    both = model.mixed(judged.trees, judged.straight)
    models = [
        {"name": "boosted trees", "says": judged.said, "loss": _loss(auto, judged.trees, judged.rows), "share": model.share},
        {"name": linear, "says": "", "loss": _loss(auto, judged.straight, judged.rows), "share": 1 - model.share},
        {"name": "the answer", "says": "", "loss": _loss(auto, both, judged.rows), "share": 1.0},
    ]
    loss = "log loss" if auto.classes else "mean squared error"
    return {"loss": loss, "rows": len(judged.rows.targets), "judged_on": judged.on, "models": models}


def _sentence(choice: dict[str, Any]) -> str:
    parts = [m for m in choice["models"][:-1] if m["share"]]
    told = ", ".join((f"{100 * m['share']:.0f} % " if len(parts) > 1 else "") + (m["says"] or m["name"]) for m in parts)
    losses = ", ".join(f"{m['name']} {m['loss']:.4g}" for m in choice["models"][:-1])
    both = f", together {choice['models'][-1]['loss']:.4g}" if len(parts) > 1 else ""
    return f"{told}, by the {choice['loss']} on {choice['rows']} rows {choice['judged_on']}: {losses}{both}"
