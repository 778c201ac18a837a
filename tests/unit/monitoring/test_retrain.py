"""When a model is trained again: once for whatever asks for it, in whatever order, however often, and whoever dies in between."""

from __future__ import annotations

import dataclasses
import json
import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.cron import CronError
from sluice.monitor.config import Retrain
from sluice.monitor.retrain import Action, Event, State, decide, run_name

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
DRIFT = Retrain.model_validate({"drift": {"windows": 3}, "quality": {"floor": 0.8, "windows": 2}, "per_day": 5})


def drift(window: int, value: float, at: float | None = None) -> Event:
    return Event("drift", NOW + window if at is None else at, window=window, value=value, rows=500)


def quality(window: int, value: float, rows: int = 100) -> Event:
    return Event("quality", NOW + window, window=window, value=value, rows=rows)


def asked(by: str, key: str, at: float = NOW) -> Event:
    return Event("asked", at, id=key, by=by)


def begin() -> State:
    return State("digits", "uid-1")


def ended(state: State, outcome: str, now: float, policy: Retrain = DRIFT, why: str = "") -> State:
    assert state.run is not None
    return decide(policy, state, [Event("ended", now, id=state.run.name, by=outcome, why=why)], now)[0]


class Died(Exception):
    """The controller, at a write."""


class World:
    """A store with versions, a cluster that refuses a second run of a name, events that come until they are acknowledged."""

    def __init__(self, policy: Retrain, seed: int, deaths: float) -> None:
        self.policy, self.dice, self.deaths = policy, random.Random(seed), deaths
        self.stored = json.dumps(begin().to_dict())
        self.runs: list[str] = []

    def dies(self) -> None:
        if self.dice.random() < self.deaths:
            raise Died

    def look(self, batch: list[Event], now: float) -> Action:
        """What the controller does, which may die before and after each of its writes."""
        state, action = decide(self.policy, State.from_dict(json.loads(self.stored)), batch, now)
        self.dies()
        self.stored = json.dumps(state.to_dict())
        self.dies()
        if action.what in ("start", "follow") and state.run is not None and state.run.name not in self.runs:
            self.runs.append(state.run.name)
        self.dies()
        return action

    def deliver(self, events: list[Event], now: float) -> None:
        """Each batch until it is acknowledged: a sender tries again."""
        while events:
            batch, events = events[:7], events[7:]
            while True:
                now += 0.01
                try:
                    self.look(batch, now)
                    break
                except Died:
                    continue


def thousand(seed: int) -> list[Event]:
    """One episode told 1,000 times: drifting windows, quality that fell, an alert that fires again and again, a person, an event."""
    dice = random.Random(seed)
    kinds = [*(drift(n, 0.4) for n in range(5)), *(quality(n, 0.6) for n in range(5))]
    kinds += [asked("alert", "SluiceDrift/1"), asked("hand", "retrain#1"), asked("event", "store/7")]
    found = [*kinds, *(dice.choice(kinds) for _ in range(1000 - len(kinds)))]
    dice.shuffle(found)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_a_thousand_events_make_one_run_whatever_is_killed(seed: int) -> None:
    world = World(DRIFT, seed, deaths=0.2)
    world.deliver(thousand(seed), NOW + 10)
    assert world.runs == [run_name("digits", "uid-1", 1)]
    # Once it has ended well, what is told of the time before it makes no other, not even when it may.
    world.stored = json.dumps(ended(State.from_dict(json.loads(world.stored)), "promoted", NOW + 600).to_dict())
    world.deliver(thousand(seed + 1), NOW + 700)
    world.deliver(thousand(seed + 2), NOW + 86400)
    assert len(world.runs) == 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_order_and_the_number_of_events_decide_nothing(data: st.DataObject) -> None:
    values = data.draw(st.lists(st.sampled_from([0.1, 0.3]), min_size=3, max_size=8))
    events = [drift(n, v) for n, v in enumerate(values)]
    lost = data.draw(st.sets(st.integers(0, len(events) - 1), max_size=2))
    left = [e for n, e in enumerate(events) if n not in lost]
    again = data.draw(st.lists(st.sampled_from(left), max_size=20)) if left else []
    mixed = data.draw(st.permutations([*left, *again]))
    world = World(DRIFT, data.draw(st.integers(0, 99)), deaths=0.3)
    world.deliver(list(mixed), NOW + 10)
    kept = [v > 0.25 and n not in lost for n, v in enumerate(values)]
    wanted = any(all(kept[n : n + 3]) for n in range(len(kept) - 2))
    assert world.runs == ([run_name("digits", "uid-1", 1)] if wanted else [])


def test_the_state_is_the_same_behind_json() -> None:
    state = begin()
    for n, event in enumerate(thousand(3)[:50]):
        state, _ = decide(DRIFT, state, [event], NOW + n)
        assert State.from_dict(json.loads(json.dumps(state.to_dict()))) == state
    assert State.from_dict({**state.to_dict(), "of_a_later_version": 1}) == state


def test_what_is_remembered_is_bounded() -> None:
    policy = Retrain.model_validate({"drift": {"windows": 32}})
    state = begin()
    for n in range(3000):
        state, _ = decide(policy, state, [drift(n, 0.4 if n % 5 else 0.1), quality(n, 0.5), asked("alert", f"a{n}")], NOW + 10 + n)
    assert len(json.dumps(state.to_dict())) < 20_000


def test_a_gap_breaks_the_row_and_a_window_told_again_counts_by_its_rows() -> None:
    state, action = decide(DRIFT, begin(), [drift(1, 0.4), drift(2, 0.4), drift(4, 0.4)], NOW + 10)
    assert action.what == "none"
    assert decide(DRIFT, state, [drift(3, 0.4)], NOW + 11)[1].why == "drift is 0.4, over 0.25, in windows 1 to 3"
    worse = [quality(1, 0.6, rows=20), quality(2, 0.6)]
    assert decide(DRIFT, begin(), worse, NOW + 10)[1].reason == "quality"
    for order in ([quality(1, 0.9, rows=90), *worse], [*worse, quality(1, 0.9, rows=90)]):
        assert decide(DRIFT, begin(), order, NOW + 10)[1].what == "none"


def test_every_night_at_two_in_its_time_zone_and_one_for_what_was_missed() -> None:
    policy = Retrain(schedule="0 2 * * *", time_zone="Europe/Berlin", cool_down_hours=0, per_day=48)
    berlin = ZoneInfo("Europe/Berlin")
    state, action = decide(policy, begin(), [], datetime(2026, 3, 28, 12, tzinfo=berlin).timestamp())
    assert action.what == "none"
    # On the 29th the clocks jump over two o'clock; the controller is away until the 31st.
    state, action = decide(policy, state, [], datetime(2026, 3, 31, 9, tzinfo=berlin).timestamp())
    assert action.what == "start" and action.reason == "schedule"
    state = ended(state, "promoted", datetime(2026, 3, 31, 10, tzinfo=berlin).timestamp(), policy)
    assert decide(policy, state, [], datetime(2026, 4, 1, 1, 59, tzinfo=berlin).timestamp())[1].what == "none"
    assert decide(policy, state, [], datetime(2026, 4, 1, 2, 0, tzinfo=berlin).timestamp())[1].what == "start"


def test_a_refused_one_backs_off_longer_each_time_and_says_so() -> None:
    policy = Retrain.model_validate({"drift": {"windows": 1}, "per_day": 48, "back_off_hours": 2})
    state, at = begin(), NOW
    for number, hours in enumerate((2, 4, 8), 1):
        state, action = decide(policy, state, [drift(number, 0.5, at)], at + 1)
        assert action.what == "start"
        state = ended(state, "refused", at + 10, policy, "accuracy 0.71 is below 0.8")
        state, action = decide(policy, state, [drift(number, 0.5, at + 20)], at + 10 + hours * 3600 - 1)
        assert action.what == "held" and f"after {number} in a row" in action.told() and "accuracy 0.71 is below 0.8" in action.told()
        at += 10 + hours * 3600
        state = dataclasses.replace(state, drift={})
    state, _ = decide(policy, state, [drift(9, 0.5, at)], at + 1)
    state = ended(state, "promoted", at + 10, policy)
    assert state.failed == 0 and state.until == at + 10 + 6 * 3600


def test_cool_down_and_budget_hold_machines_and_not_people() -> None:
    policy = Retrain.model_validate({"drift": {"windows": 1}, "per_day": 2, "cool_down_hours": 1})
    state, action = decide(policy, begin(), [drift(1, 0.5)], NOW + 10)
    state = ended(state, "promoted", NOW + 100, policy)
    state, action = decide(policy, state, [asked("alert", "a", NOW + 200)], NOW + 300)
    assert action.what == "held" and action.held == "for the cool-down after the last one" and action.until == NOW + 3700
    # What waits is not forgotten.
    state, action = decide(policy, state, [], NOW + 3800)
    assert action.what == "start" and action.reason == "alert"
    state = ended(state, "promoted", NOW + 3900, policy)
    state, action = decide(policy, state, [drift(9, 0.5, NOW + 8000)], NOW + 8100)
    assert action.what == "held" and "2 may begin within a day" in action.held and action.until == NOW + 10 + 86400
    state, action = decide(policy, state, [asked("hand", "retrain#2", NOW + 8200)], NOW + 8300)
    assert action.what == "start" and action.reason == "hand"


def test_new_rows_count_from_the_last_retraining() -> None:
    policy = Retrain(new_rows=1000, cool_down_hours=0, per_day=9)
    state, action = decide(policy, begin(), [Event("rows", NOW, value=999), Event("rows", NOW, value=400)], NOW)
    assert action.what == "none"
    state, action = decide(policy, state, [Event("rows", NOW, value=1200)], NOW)
    assert action.what == "start" and action.reason == "rows"
    state = ended(state, "promoted", NOW + 10, policy)
    assert decide(policy, state, [Event("rows", NOW, value=2199)], NOW + 20)[1].what == "none"
    assert decide(policy, state, [Event("rows", NOW, value=2200)], NOW + 20)[1].what == "start"


def test_names_are_labels_that_differ_by_monitor_and_number() -> None:
    names = {run_name(n, u, k) for n in ("a", "b" * 63, "x" * 51 + "-y") for u in ("1", "2") for k in (1, 2)}
    assert len(names) == 12 and all(len(n) <= 63 and "--" not in n for n in names)


@pytest.mark.parametrize(("given_", "told"), [({"schedule": "0 25 * * *"}, "hour"), ({"time_zone": "Berlin"}, "no such time zone")])
def test_a_policy_that_makes_no_sense_is_refused(given_: dict, told: str) -> None:
    with pytest.raises(CronError, match=told):
        Retrain.model_validate(given_)
