"""Policy: an answer is the action to take, and a policy is judged by the returns of whole episodes that it plays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.errors import DataError, ProjectError
from sluice.problems.classification import Classification
from sluice.problems.of_returns import CUT, LENGTH, RETURN, OfEpisodes
from sluice.problems.problem import Problem

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset
    from sluice.environments.environment import Environment
    from sluice.environments.play import Episodes
    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule
    from sluice.problems.metric import Metric
    from sluice.problems.units import Units

_BINS = 20


class Policy(Classification):
    """The graph gives a probability for each action; the likeliest is taken. Episodes are independent, and two policies play the same ones."""

    name: ClassVar[str] = "episode_returns"
    counted: ClassVar[str] = "episodes"
    linear: ClassVar[str] = ""

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        return {
            m.name: m
            for m in (
                OfEpisodes("mean_return", self.name, "higher", relative=True),
                OfEpisodes("mean_length", self.name, "higher", least=0.0, relative=True, of=LENGTH),
                OfEpisodes("cut_share", self.name, "lower", least=0.0, most=1.0, of=CUT),
            )
        }

    def metrics(self) -> Mapping[str, Metric]:
        """The mean return decides."""
        return self._metrics

    @property
    def by_row(self) -> Problem:
        """A format is proved by the actions it answers on the logged observations."""
        return _ACTIONS

    # --- judging ---

    def judged(
        self,
        predict: Callable[[Sequence[Any]], np.ndarray],
        ask: Callable[[str], np.ndarray],
        dataset: Dataset,
        split: str,
        labels: Sequence[str],
    ) -> tuple[np.ndarray, np.ndarray]:
        """What came of the episodes that the dataset's source names, played by the packaged graph from raw rows on.

        Returns:
            float64 [episodes, 3]: return, length and whether a limit of steps ended it; and zeros [episodes]: nothing is true of an episode.

        Raises:
            ProjectError: the model's actions are not the environment's.
            DataError, MissingExtra: the environment cannot be made, or gives what is not finite.
        """
        from sluice.environments.play import records

        environment = _environment(dataset)
        if sorted(labels) != sorted(environment.actions):
            fix = "give the project another name: what serves acts in another space, and neither can take the other's place"
            raise ProjectError(
                f"has the actions {environment.actions}, and the model has others", field="data.source", value=list(labels), fix=fix
            )
        place = np.array([environment.actions.index(label) for label in labels], dtype=np.int64)

        def choose(rows: np.ndarray) -> np.ndarray:
            return np.asarray(place[predict(records(environment, rows)).argmax(axis=1)])

        return _played(environment, choose)

    def trivial(self, dataset: Dataset, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """The policy that acts at random, on the same episodes."""
        from sluice.environments.play import at_random

        environment = _environment(dataset)
        return "acting at random", _played(environment, at_random(environment, environment.address.seed))[0]

    def units(self, dataset: Dataset, split: str) -> Units | None:
        """None: what is judged are episodes, and each stands alone."""
        return None

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
        """What `judged` gave. Raises `DataError`: there are no episodes, or something is not finite."""
        from sluice.problems.answers import Answers

        outputs = np.asarray(outputs, dtype=np.float64)
        if not len(outputs) or not np.isfinite(outputs).all():
            raise DataError("are none, or one is not finite", field="the episodes' returns", fix="mend the environment's rewards")
        return Answers(outputs, np.asarray(targets), np.empty(0, dtype=np.int64), None, units)

    def pair(
        self, ours: Answers, labels: Sequence[str], outputs: np.ndarray, their_labels: Sequence[str], rule: Rule | None
    ) -> tuple[Answers, Answers, np.ndarray]:
        """Both played the same episodes: all count."""
        return ours, self.answers(outputs, ours.targets, their_labels), np.ones(len(ours.targets), dtype=bool)

    def told_apart(self, ours: Answers, theirs: Answers) -> dict[str, float]:
        gain = ours.outputs[:, RETURN] - theirs.outputs[:, RETURN]
        return {"n_discordant": int((gain != 0).sum()), "candidate_better": int((gain > 0).sum()), "champion_better": int((gain < 0).sum())}

    def missed(self, answer: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.ones(len(targets), dtype=bool)

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """``episodes``: how many, their returns' quantiles and histogram, their length and how many a limit ended."""
        returns = a.outputs[:, RETURN]
        low, high = float(returns.min()), float(returns.max())
        counts, edges = np.histogram(returns, bins=_BINS, range=(low, high if high > low else low + 1))
        quantiles = {str(q): float(np.quantile(returns, q)) for q in (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)}
        found = {"count": len(returns), "actions": list(labels), "quantiles": quantiles, "edges": edges.tolist(), "counts": counts.tolist()}
        return {"episodes": found | {"length": float(a.outputs[:, LENGTH].mean()), "cut": int(a.outputs[:, CUT].sum())}}

    def section(self, found: Mapping[str, Any]) -> str:
        """The episodes' returns."""
        from sluice.report import svg

        e = found["episodes"]
        q = e["quantiles"]
        said = (
            f"{e['count']} episodes, each decided by its own seed: worst {svg.number(q['0.0'])}, 5% below {svg.number(q['0.05'])}, median "
            f"{svg.number(q['0.5'])}, best {svg.number(q['1.0'])}; {svg.number(e['length'])} steps on average, {e['cut']} ended by a limit of steps"
        )
        drawn = f"<figure>{svg.histogram(e['edges'], e['counts'], 'return')}</figure>" if q["0.0"] < q["1.0"] else ""
        return f'<h3>Returns of episodes</h3>{drawn}<p class="note">{said}</p>'


class Actions(Classification):
    """Two graphs' actions on the same observations: the truth is what the trained policy does itself."""

    linear: ClassVar[str] = ""

    def proof(self, targets: np.ndarray, reference: np.ndarray) -> np.ndarray:
        return np.asarray(reference.argmax(axis=1))


_ACTIONS = Actions()


def _environment(dataset: Dataset) -> Environment:
    from sluice.environments.address import address_of
    from sluice.environments.environment import Environment

    return Environment(address_of(str(dataset.manifest["source"]["uri"])))


def _played(environment: Environment, choose: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    from sluice.environments.play import JUDGED, play, seeds

    found: Episodes = play(environment, choose, seeds(environment.address.seed, JUDGED, environment.address.episodes))
    return np.stack([found.returns, found.lengths, found.cut], axis=1).astype(np.float64), np.zeros(len(found.returns))
