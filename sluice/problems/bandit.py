"""Bandit: an answer is an action, of whose reward only logged decisions tell; judged by what the policy would have earned."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.errors import DataError
from sluice.problems import offpolicy
from sluice.problems.answers import Answers
from sluice.problems.classification import Classification
from sluice.problems.of_means import OfMeans
from sluice.problems.offpolicy import Logs, RewardModel
from sluice.problems.policy import Actions
from sluice.problems.problem import Problem

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.dataset import Dataset
    from sluice.problems.decision import Rule
    from sluice.problems.metric import Metric
    from sluice.problems.units import Units

#: What `Bandit.judged` says of a row, in this order: the doubly robust value, weight times reward, weight, the action.
ROBUST, WEIGHTED, WEIGHT, CHOSEN = range(4)
#: Fewer rows than this, weighed, tell little of a policy.
FEW = 50


@dataclasses.dataclass(frozen=True)
class OffPolicy(OfMeans):
    """dr, ips, snips: the mean reward a policy would have had (see `offpolicy.row_values`)."""

    least: float = -math.inf
    most: float = math.inf

    def moments(self, a: Answers) -> np.ndarray:
        """[rows, 1], of the ratio [rows, 2]; NaN where no row took the policy's action."""
        if not a.outputs[:, WEIGHT].any():
            return np.full((len(a.outputs), 1 + (self.name == "snips")), np.nan)
        return a.outputs[:, {"dr": [ROBUST], "ips": [WEIGHTED], "snips": [WEIGHTED, WEIGHT]}[self.name]]

    def combine(self, means: np.ndarray) -> np.ndarray:
        if self.name != "snips":
            return np.asarray(means[..., 0])
        return np.asarray(means[..., 0] / np.where(means[..., 1] > 0, means[..., 1], np.nan))

    def why(self, a: Answers) -> str:
        return f"none of {len(a.outputs)} held-out rows took the action that the policy would take: the logs tell nothing of it"

    def too_narrow(self, a: Answers) -> str | None:
        """Where few logged rows took the policy's actions."""
        weights = a.outputs[:, WEIGHT]
        worth = offpolicy.effective(weights)
        if worth < FEW:
            return (
                f"little overlap: {int((weights > 0).sum())} of {len(weights)} held-out rows took the policy's action, worth {worth:.0f} rows "
                f"(the largest weight is {weights.max():.3g}): the interval of {self.name} may be too narrow; log more, or explore more"
            )
        return None

    def difference_too_narrow(self, a: Answers) -> str | None:
        return self.too_narrow(a)


class LoggedActions(Actions):
    """Two graphs' actions on the same contexts."""

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        return logs_of(column, labels).actions


class Bandit(Classification):
    """The graph gives a probability for each action, and the likeliest is taken. A label is what was logged: action, reward, propensity."""

    name: ClassVar[str] = "off_policy"
    label: ClassVar[str] = "names"
    classes: ClassVar[bool] = False
    linear: ClassVar[str] = ""

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        """The actions that were taken."""
        return sorted({row[0] for row in column.drop_null().to_pylist()})

    def unknown(self, column: pa.ChunkedArray, labels: Sequence[str]) -> Any:
        return next(iter(sorted({row[0] for row in column.to_pylist()} - set(labels))), None)

    def described(self, labels: Sequence[str]) -> str:
        return f"there are {len(labels)} actions"

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """What was logged: float64 [rows, 3]: the action's place, -1 for another one; the reward; the propensity."""
        found = logs_of(column, labels)
        return np.stack([found.actions.astype(np.float64), found.rewards, found.propensities], axis=1)

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        return {name: OffPolicy(name, self.name, "higher", relative=True) for name in ("dr", "snips", "ips")}

    def metrics(self) -> Mapping[str, Metric]:
        """The doubly robust estimate decides."""
        return self._metrics

    @property
    def by_row(self) -> Problem:
        """A format is proved by the actions it answers."""
        return _LOGGED

    # --- judging ---

    def judged(
        self,
        predict: Callable[[Sequence[Any]], np.ndarray],
        ask: Callable[[str], np.ndarray],
        dataset: Dataset,
        split: str,
        labels: Sequence[str],
    ) -> tuple[np.ndarray, np.ndarray]:
        """What each held-out row says of the policy; the model of rewards that this leans on is fitted to the training rows.

        Returns:
            float64 [rows, 4]: `ROBUST`, `WEIGHTED`, `WEIGHT`, `CHOSEN`; and the logged rewards [rows].

        Raises:
            DataError: the policy has an action that no logged row has.
        """
        actions = dataset.labels
        unknown = sorted(set(labels) - set(actions))
        if unknown:
            raise DataError(
                "knows actions that were never logged, so what they earn cannot be told",
                field="the model's actions",
                value=unknown,
                fix="log them, or give the project another name",
            )
        chosen = np.array([actions.index(label) for label in labels], dtype=np.int64)[ask(split).argmax(axis=1)]
        logs, expected = _known(dataset, split)
        return np.concatenate([offpolicy.row_values(logs, chosen, expected), chosen[:, None]], axis=1), logs.rewards

    def trivial(self, dataset: Dataset, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """The policy that logged, whose every row counts as it is."""
        logs, _ = _known(dataset, "test")
        return "the policy that logged", np.stack([logs.rewards, logs.rewards, np.ones(len(logs.rewards)), logs.actions], axis=1)

    def answers(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        labels: Sequence[str],
        *,
        rule: Rule | None = None,
        positive: str | None = None,
        units: Units | None = None,
    ) -> Answers:
        """What `judged` gave. Raises `DataError`: no rows, or a value is not finite."""
        outputs = np.asarray(outputs, dtype=np.float64)
        if not len(outputs) or not np.isfinite(outputs).all():
            raise DataError("has no rows to judge a policy on, or a reward is not finite", field="test split", fix="raise data.split.test")
        return Answers(outputs, np.asarray(targets), np.empty(0, dtype=np.int64), None, units)

    def pair(
        self, ours: Answers, labels: Sequence[str], outputs: np.ndarray, their_labels: Sequence[str], rule: Rule | None
    ) -> tuple[Answers, Answers, np.ndarray]:
        """All rows: both are judged by what the same rows say of them."""
        return ours, self.answers(outputs, ours.targets, their_labels, units=ours.units), np.ones(len(ours.targets), dtype=bool)

    def told_apart(self, ours: Answers, theirs: Answers) -> dict[str, float]:
        return {"n_discordant": int((ours.outputs[:, CHOSEN] != theirs.outputs[:, CHOSEN]).sum())}

    def missed(self, answer: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.ones(len(targets), dtype=bool)

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """``off_policy``: overlap with the logs, and how often each action would be taken."""
        weights = a.outputs[:, WEIGHT]
        taken = np.bincount(a.outputs[:, CHOSEN].astype(np.int64), minlength=len(labels))
        return {
            "off_policy": {
                "rows": len(weights),
                "matched": int((weights > 0).sum()),
                "effective": offpolicy.effective(weights),
                "largest_weight": float(weights.max()),
                "mean_weight": float(weights.mean()),
                "logged_mean": float(a.targets.mean()),
                "actions": [{"action": label, "rows": int(n)} for label, n in zip(labels, taken, strict=True)],
            }
        }

    def section(self, found: Mapping[str, Any]) -> str:
        """Overlap, and the actions that would be taken."""
        from sluice.report import svg

        o = found["off_policy"]
        said = (
            f"{o['matched']:,} of {o['rows']:,} held-out rows took the action that the policy would take; weighed by 1 / propensity they are worth "
            f"{o['effective']:,.0f} rows. The largest weight is {svg.number(o['largest_weight'])}, the mean {svg.number(o['mean_weight'])} "
            f"(1 where the propensities are right). The logged decisions earned {svg.number(o['logged_mean'])} on average."
        )
        bars = svg.rows_of_bars([(x["action"], float(x["rows"])) for x in sorted(o["actions"], key=lambda x: -x["rows"])])
        return f'<h3>What the policy would do</h3>{bars}<p class="note">{said}</p>'


_LOGGED = LoggedActions()


def logged(actions: Sequence[str], rewards: Sequence[float], propensities: Sequence[float]) -> pa.Array:
    """What was logged as a column of labels, list<string>; `logs_of` reads it."""
    import pyarrow as pa

    rows = [[a, repr(float(r)), repr(float(p))] for a, r, p in zip(actions, rewards, propensities, strict=True)]
    return pa.array(rows, pa.list_(pa.string()))


def logs_of(column: pa.ChunkedArray, labels: Sequence[str]) -> Logs:
    """A column of labels as numbers; an action that is no label is -1."""
    place = {label: i for i, label in enumerate(labels)}
    rows = column.to_pylist()
    return Logs(
        np.array([place.get(row[0], -1) for row in rows], dtype=np.int64),
        np.array([float(row[1]) for row in rows]),
        np.array([float(row[2]) for row in rows]),
    )


def _known(dataset: Dataset, split: str) -> tuple[Logs, np.ndarray]:
    """A split's logs, and the reward that a model of the training rows expects of each action, [rows, actions]."""
    columns = list(dataset.columns)
    train, other = (dataset.read(s, [*columns, "label"]) for s in ("train", split))
    first, second = _features(train, other, columns)
    logs = logs_of(train.column("label"), dataset.labels)
    model = RewardModel.fitted(first, logs, len(dataset.labels))
    return logs_of(other.column("label"), dataset.labels), model.expected(second)


def _features(train: pa.Table, other: pa.Table, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The contexts of both as numbers."""
    import pyarrow as pa

    parts = []
    for name in columns:
        a, b = train.column(name), other.column(name)
        if pa.types.is_floating(a.type) or pa.types.is_integer(a.type) or pa.types.is_timestamp(a.type) or pa.types.is_boolean(a.type):
            parts.append(offpolicy.numbers_as_features(_numbers(a), _numbers(b)))
        else:
            parts.append(offpolicy.texts_as_features([_text(v) for v in a.to_pylist()], [_text(v) for v in b.to_pylist()]))
    return np.concatenate([p[0] for p in parts], axis=1), np.concatenate([p[1] for p in parts], axis=1)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    import pyarrow as pa

    whole = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) or pa.types.is_boolean(column.type) else column
    return np.asarray(whole.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
