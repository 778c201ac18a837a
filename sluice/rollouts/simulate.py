"""What would this plan detect at this traffic? The real decision, over made-up traffic and a virtual clock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sluice.rollouts import costs
from sluice.rollouts.core import decide
from sluice.rollouts.crowd import Crowd, Users
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import (
    ARMS,
    BY_USER,
    LABEL,
    TERMINAL,
    Action,
    Arm,
    Counts,
    Observations,
    Replica,
    Retire,
    Route,
    Routed,
    State,
    add,
)

#: How single costs differ, and the bounds up to which a server counts them.
_SIGMA, _BOUNDS = 0.5, [f"{10 ** (i / 4):.3g}" for i in range(-24, 5)]
STABLE, CANDIDATE = "stable-digest", "candidate-digest"
#: Deadlines after which a plan that is held is given up.
PATIENCE = 1.0


@dataclass(frozen=True)
class Behaviour:
    """How one model answers: shares of its requests, between 0 and 1.

    Attributes:
        errors, slow: shares. slow_at_start: a share of slow answers in its first `start_seconds` of traffic.
        wrong: of answers whose truth is known; None when there is no truth.
        labels: the shares of its answers' labels; empty when it has none.
        outcome: of requests that bring the business outcome 1 and not 0; None when nobody tells.
        cost: of an answer, its mean; single ones differ by a lognormal law (sigma 0.5). None: no server tells one.
    """

    errors: float = 0.0
    slow: float = 0.0
    slow_at_start: float = 0.0
    start_seconds: float = 0.0
    wrong: float | None = None
    labels: tuple[float, ...] = ()
    outcome: float | None = None
    cost: float | None = None


@dataclass(frozen=True)
class Trouble:
    """What a process goes through by itself, while the others are well.

    Attributes:
        share: of the time. seconds: it lasts, on average. errors: the share of its requests that fail meanwhile.
    """

    share: float
    seconds: float = 25.0
    errors: float = 0.5


@dataclass(frozen=True)
class Scenario:
    """Traffic and two models.

    Attributes:
        rate: requests a second, on average.
        traffic: ``steady``; ``diurnal``, a sine of amplitude 0.8 over `period` seconds; ``bursts``, a fault of what
            both models depend on: a tenth of the time half of all requests fail, in either arm.
        every: seconds between looks; None for about 60 looks a step.
        scrape: seconds between scrapes of a process's counters (Prometheus), which come at another moment for each; None: a look reads them itself.
        users: who asks; None: nobody twice.
        pods: processes of each arm, or of stable and of the candidate. trouble: of each by itself, by one law for all.
        flapping: the share of looks at which a process is not there, of an arm that has several.
        turning: by so much the shares of the first two labels turn to and fro over `period`, in both arms.
        clock: (when, by how many seconds) the clock of the looks is set once, forward or back; None: it runs as time does.
    """

    rate: float
    stable: Behaviour = Behaviour()
    candidate: Behaviour = Behaviour()
    traffic: Literal["steady", "diurnal", "bursts"] = "steady"
    period: float = 86_400.0
    every: float | None = None
    scrape: float | None = None
    users: Users | None = None
    pods: int | tuple[int, int] = 1
    trouble: Trouble | None = None
    flapping: float = 0.0
    turning: float = 0.0
    clock: tuple[float, float] | None = None

    def interval(self, spec: RolloutSpec) -> float:
        """Simulated seconds between two looks: as set, else about sixty of them a step."""
        if self.every is not None:
            return self.every
        return max(0.25, spec.minimum_requests / (self.rate * spec.steps[0] / 100) / 60)


@dataclass(frozen=True)
class Outcome:
    """One simulated rollout.

    Attributes:
        phase: how it ended (``Succeeded``, ``RolledBack``; ``Held`` before the first step, as the plan cannot be kept at this traffic), or where
            it stood at the time limit.
        seconds: from the first live request to the end. exposed: live requests the candidate got before.
        harmed: those of them that failed, were slow or wrong. reasons: of the end.
    """

    phase: str
    seconds: float
    exposed: int
    harmed: int
    reasons: tuple[str, ...]


@dataclass
class World:
    """Two arms under a router, on a virtual clock; applies what the decision asks for at once."""

    scenario: Scenario
    generator: np.random.Generator
    time: float = 0.0
    routed: Routed = field(default_factory=lambda: Routed({STABLE: 100}))
    counts: dict[str, Counts] = field(default_factory=lambda: {arm: {} for arm in ARMS})
    ready: bool = True
    live_from: float | None = None
    warm_from: float | None = None
    exposed: int = 0
    harmed: int = 0
    burst: bool = False

    def __post_init__(self) -> None:
        #: By arm and process: its counters, as they are and as they were last scraped, and the number of that scrape.
        s = self.scenario
        many = dict(zip(ARMS, s.pods if isinstance(s.pods, tuple) else (s.pods, s.pods), strict=True))
        self.pods: dict[str, list[Counts]] = {arm: [{} for _ in range(n)] for arm, n in many.items()}
        self.shown: dict[str, list[Counts]] = {arm: [{} for _ in range(n)] for arm, n in many.items()}
        self.scraped = {(arm, i): -math.inf for arm, n in many.items() for i in range(n)}
        self.troubled = {
            arm: self.generator.random(n) < s.trouble.share if s.trouble else np.zeros(n, dtype=bool) for arm, n in many.items()
        }
        self.crowd = Crowd(self.scenario.users, self.generator) if self.scenario.users else None

    @property
    def now(self) -> float:
        """What the clock of the looks says."""
        at = self.scenario.clock
        return self.time + (at[1] if at and self.time >= at[0] else 0.0)

    def pass_time(self, seconds: float) -> None:
        """Let requests come in for a while."""
        s = self.scenario
        self.time += seconds
        rate = s.rate
        if s.traffic == "diurnal":
            rate *= 1 + 0.8 * math.sin(2 * math.pi * self.time / s.period)
        shared = 0.0
        if s.traffic == "bursts":
            # A two-state chain: bursts of five looks on average, a tenth of the time.
            self.burst = self.generator.random() < (0.8 if self.burst else 0.2 / 9)
            shared = 0.5 if self.burst else 0.0
        if s.trouble is not None:
            stay = math.exp(-seconds / s.trouble.seconds)
            come = (1 - stay) * s.trouble.share / (1 - s.trouble.share)
            self.troubled = {arm: self.generator.random(now.size) < np.where(now, stay, come) for arm, now in self.troubled.items()}
        n = int(self.generator.poisson(rate * seconds))
        weight = self.routed.weights.get(CANDIDATE, 0)
        if self.crowd is None:
            live = int(self.generator.binomial(n, weight / 100))
            who, mine, theirs = None, None, None
        else:
            who, arms = self.crowd.come(n, weight)
            live = int(arms.sum())
            mine, theirs = who[arms == 0], who[arms == 1]
        self.answer("stable", s.stable, n - live, shared, 0.0, mine)
        if self.routed.mirror == CANDIDATE:
            self.warm_from = self.time if self.warm_from is None else self.warm_from
            self.answer("candidate", s.candidate, n, shared, self.time - self.warm_from, who)
        if live:
            self.warm_from = self.time if self.warm_from is None else self.warm_from
            self.live_from = self.time if self.live_from is None else self.live_from
            self.exposed += live
            self.harmed += self.answer("candidate", s.candidate, live, shared, self.time - self.warm_from, theirs)
        if self.crowd is not None and who is not None:
            self.crowd.leave(who)

        for i, arm in enumerate(ARMS):
            for j, counts in enumerate(self.pods[arm]):
                turn = math.floor(self.time / s.scrape + 0.4 * i + 0.23 * j) if s.scrape else math.inf
                if turn > self.scraped[arm, j] or not s.scrape:
                    self.scraped[arm, j], self.shown[arm][j] = turn, dict(counts)

    def answer(self, arm: str, how: Behaviour, n: int, shared: float, age: float, who: NDArray[np.int64] | None = None) -> int:
        """n requests answered, spread over the arm's processes; how many were no good to their users."""
        many = len(self.pods[arm])
        if many == 1:
            return self._answer(arm, 0, how, n, shared, age, who)
        if who is None:
            parts = self.generator.multinomial(n, [1 / many] * many)
            return sum(self._answer(arm, i, how, int(parts[i]), shared, age, None) for i in range(many))
        at = self.generator.integers(0, many, n)
        return sum(self._answer(arm, i, how, int((at == i).sum()), shared, age, who[at == i]) for i in range(many))

    def _answer(self, arm: str, pod: int, how: Behaviour, n: int, shared: float, age: float, who: NDArray[np.int64] | None) -> int:
        draw = self.generator.binomial
        if self.scenario.trouble is not None and self.troubled[arm][pod]:
            shared += (1 - shared) * self.scenario.trouble.errors
        fails, late = how.errors + shared - how.errors * shared, how.slow_at_start if age < how.start_seconds else how.slow
        if self.crowd is None or who is None:
            errors, slow = int(draw(n, fails)), int(draw(n, late))
            new: Counts = {"requests": n, "errors": errors, "timed": n, "slow": slow}
        else:
            failed, slowly = (self.crowd.turns_out(way, who, share) for way, share in (("errors", fails), ("slow", late)))
            errors, slow = int(failed.sum()), int(slowly.sum())
            new = {"requests": n, "errors": errors, "timed": n, "slow": slow}
            for name, of in (("requests", who), ("errors", who[failed]), ("slow", who[slowly])):
                new |= self.crowd.by_group(BY_USER[name], of)
            if how.labels:
                answered = who[~failed]
                found = self.crowd.labels(answered, self.mix(how.labels))
                new |= {f"{LABEL}{i}": int(x) for i, x in enumerate(np.bincount(found, minlength=len(how.labels)))}
                new |= self.crowd.by_group(BY_USER["odd_labels"], answered[found % 2 == 1])
            if how.outcome is not None:
                brings = self.crowd.turns_out("outcome", who, how.outcome).astype(np.float64)
                total = float(brings.sum())
                new |= {"outcomes": n, "outcome_sum": total, "outcome_squares": total}
                new |= self.crowd.by_group(BY_USER["outcomes"], who) | self.crowd.by_group(BY_USER["outcome_sum"], who, brings)
        wrong = 0
        if how.wrong is not None:
            wrong = int(draw(n - errors, how.wrong))
            new |= {"judged": n - errors, "wrong": wrong}
        if how.cost is not None:
            paid = how.cost * self.generator.lognormal(-(_SIGMA**2) / 2, _SIGMA, n - errors)
            new |= {costs.ANSWERS: n - errors} | {f"{costs.PAID}{b}": float(np.minimum(paid, float(b)).sum()) for b in _BOUNDS}
        if how.labels and (self.crowd is None or who is None):
            new |= {f"{LABEL}{i}": int(x) for i, x in enumerate(self.generator.multinomial(n - errors, self.mix(how.labels)))}
        self.counts[arm], self.pods[arm][pod] = add(self.counts[arm], new), add(self.pods[arm][pod], new)
        return errors + slow + wrong

    def mix(self, labels: tuple[float, ...]) -> NDArray[np.float64]:
        """The labels' shares of now."""
        out = np.array(labels)
        if self.scenario.turning:
            turned = self.scenario.turning * math.sin(2 * math.pi * self.time / self.scenario.period)
            out[:2] += (turned, -turned)
        return out

    def look(self, **changes: Any) -> Observations:
        """What an observer sees now."""

        def replicas(arm: str, ready: bool) -> tuple[Replica, ...]:
            away = self.scenario.flapping if len(self.shown[arm]) > 1 else 0.0
            return tuple(
                Replica(arm[0] + (str(i) if i else ""), ready, dict(c))
                for i, c in enumerate(self.shown[arm])
                if not (away and i and self.generator.random() < away)
            )

        arms = {"stable": Arm(replicas("stable", True), True), "candidate": Arm(replicas("candidate", self.ready), self.ready)}
        return replace(Observations(self.now, CANDIDATE, arms, self.routed, frozenset((STABLE, CANDIDATE))), **changes)

    def apply(self, actions: Sequence[Action]) -> None:
        """Do what was decided: routes alone matter here."""
        for a in actions:
            if isinstance(a, Route):
                self.routed = Routed(dict(a.weights), a.mirror)


def run(spec: RolloutSpec, scenario: Scenario, seed: int, limit: float = math.inf) -> Outcome:
    """One rollout, decided by `decide`, until it ends or `limit` seconds have passed."""
    world = World(scenario, np.random.default_rng(seed))
    state = State(stable=STABLE)
    every = scenario.interval(spec)
    while state.phase not in TERMINAL and world.time < limit:
        world.pass_time(every)
        state, actions = decide(spec, state, world.look(), world.now)
        world.apply([a for a in actions if not isinstance(a, Retire)])
        if state.held and state.resume != "Step" and world.time - state.paused_at > PATIENCE * spec.step_deadline_seconds:
            return Outcome("Held", 0.0, world.exposed, world.harmed, state.reasons)
    seconds = 0.0 if world.live_from is None else world.time - world.live_from
    return Outcome(state.phase, seconds, world.exposed, world.harmed, state.reasons)


def simulate(spec: RolloutSpec, scenario: Scenario, runs: int = 200, seed: int = 0) -> dict[str, Any]:
    """Many rollouts alike.

    Returns:
        ``{runs, promoted, rolled_back, rolled_back_inconclusive, held, seconds_median, seconds_p95, exposed_median,
        harmed_median, harmed_p95, says}``; those up to `held` are shares, seconds count from the first live request, `says` is why it was held.
    """
    outcomes = [run(spec, scenario, seed * 1_000_003 + i) for i in range(runs)]
    back = [o for o in outcomes if o.phase == "RolledBack"]
    unclear = [o for o in back if any(r.startswith("no verdict") for r in o.reasons)]
    harmed, seconds = np.array([o.harmed for o in outcomes]), np.array([o.seconds for o in outcomes])
    return {
        "runs": runs,
        "promoted": sum(o.phase == "Succeeded" for o in outcomes) / runs,
        "rolled_back": len(back) / runs,
        "rolled_back_inconclusive": len(unclear) / runs,
        "held": sum(o.phase == "Held" for o in outcomes) / runs,
        "seconds_median": float(np.median(seconds)),
        "seconds_p95": float(np.quantile(seconds, 0.95)),
        "exposed_median": float(np.median([o.exposed for o in outcomes])),
        "harmed_median": float(np.median(harmed)),
        "harmed_p95": float(np.quantile(harmed, 0.95)),
        "says": next((o.reasons[0] for o in outcomes if o.phase == "Held"), None),
    }


#: Regressions a plan is tried on: name -> what the candidate does worse.
TRIALS: Mapping[str, Mapping[str, float]] = {
    "as good": {},
    "+0.5 points of errors": {"errors": 0.005},
    "+1 point of errors": {"errors": 0.01},
    "+2 points of errors": {"errors": 0.02},
    "+5 points of errors": {"errors": 0.05},
    "+20 points of slow answers": {"slow": 0.2},
}


def detects(
    spec: RolloutSpec, rate: float, *, errors: float = 0.0, slow: float = 0.0, runs: int = 100, seed: int = 0
) -> list[dict[str, Any]]:
    """The plan as it is, its deadline included, tried on `TRIALS` at this traffic: one row each, `simulate`'s figures with ``trial`` before them.

    A plan that cannot end in time at this traffic is held: ``held`` is 1 then, and ``says`` what would do.

    Args:
        spec: the plan. rate: requests a second.
        errors, slow: the stable model's own shares.
        runs: rollouts a trial.
    """
    rows = []
    for name, worse in TRIALS.items():
        base = Behaviour(errors=errors, slow=slow)
        candidate = replace(base, errors=errors + worse.get("errors", 0.0), slow=slow + worse.get("slow", 0.0))
        rows.append({"trial": name, **simulate(spec, Scenario(rate, base, candidate), runs, seed)})
    return rows
