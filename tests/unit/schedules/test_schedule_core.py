"""The decision about recurring runs, on a scheduler in memory that ticks as Kubeflow Pipelines does, with calls lost and done twice."""

from __future__ import annotations

import functools
import itertools
import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.controller.runs.recurring import Action, Recurring, Run, Wanted, leave, reconcile, tidy
from sluice.core.cron import parse, parse_six

NOW = 1_800_000_000.0 - 1_800_000_000 % 86400
HOUR = 3600.0


@dataclass
class Scheduler:
    """Recurring runs that fire; `fired` holds (tick, hash)."""

    now: float = NOW
    runs: dict[str, Recurring] = field(default_factory=dict)
    fired: list[tuple[float, str]] = field(default_factory=list)
    ids: itertools.count[int] = field(default_factory=itertools.count)
    catch_up: bool = False
    was_there: bool = False
    lag: float = 0.0

    def pass_to(self, moment: float) -> None:
        while self.now < moment:
            self.now = min(moment, self.now + 5)
            for r in list(self.runs.values()):
                self.fire(r)

    def fire(self, r: Recurring) -> None:
        base = max(r.start, r.last_run)
        while r.enabled and (tick := after(r.cron, base)) is not None and tick <= self.now:
            nxt = after(r.cron, tick)
            if tick + self.lag > self.now:
                break
            if self.catch_up or nxt is None or nxt + self.lag > self.now:
                self.fired.append((tick, r.hash))
                r = replace(r, last_run=tick + self.lag + 1)
            base = tick
        self.runs[r.id] = r

    def apply(self, action: Action, wanted: Wanted) -> None:
        if action.kind == "create":
            new = Recurring(f"r{next(self.ids)}", wanted.hash, False, wanted.cron, self.now, action.start)
            self.runs[new.id] = new
        elif action.kind in ("enable", "disable") and action.id in self.runs:
            self.runs[action.id] = replace(self.runs[action.id], enabled=action.kind == "enable")
            if action.kind == "enable":
                self.fire(self.runs[action.id])
        elif action.kind == "delete":
            self.runs.pop(action.id, None)
            assert self.runs or not self.was_there, "the only recurring run is gone"
        self.was_there = bool(self.runs)


@functools.cache
def after(six: str, moment: float) -> float | None:
    """The next tick: a scheduler looks every five seconds, and few of its looks ask another question."""
    cron = parse_six(six)
    assert cron
    return cron.after(moment)


def want(name: str, cron: str, now: float, **more: bool) -> Wanted:
    tick = parse(cron).after(now)
    assert tick
    return Wanted(name, "0 " + cron, tick, **more)


def settle(world: Scheduler, name: str, cron: str, dice: random.Random | None = None, **more: bool) -> None:
    """Looks until nothing is to be done; with dice, calls are lost, repeated, or the process dies between two."""
    for _ in range(400):
        wanted = want(name, cron, world.now, **more)
        actions = reconcile(wanted, list(world.runs.values()), world.now)
        if not actions:
            return
        for action in actions:
            luck = dice.random() if dice else 1.0
            if luck < 0.2:
                break
            world.apply(action, wanted)
            if luck < 0.4:
                world.apply(action, wanted)
        world.pass_to(world.now + (dice.choice([0, 1, 7, 30]) if dice else 1))
    raise AssertionError(f"does not settle: {world.runs}")


def test_a_first_look_makes_it_disabled_then_enables_it() -> None:
    wanted = want("a", "0 2 * * *", NOW)
    assert reconcile(wanted, [], NOW) == (Action("create", start=NOW + 2 * HOUR - 1),)
    made = Recurring("1", "a", False, "0 0 2 * * *", NOW, NOW + 2 * HOUR - 1)
    assert reconcile(wanted, [made], NOW) == (Action("enable", "1"),)
    assert reconcile(wanted, [replace(made, enabled=True)], NOW) == ()


def test_the_old_goes_after_the_new_is_there_and_its_runs_have_ended() -> None:
    old = Recurring("1", "a", True, "0 0 2 * * *", NOW - 99, NOW - 100, active=1, last_run=NOW - 50)
    wanted = want("b", "0 3 * * *", NOW)
    assert [a.kind for a in reconcile(wanted, [old], NOW)] == ["create"]
    new = Recurring("2", "b", False, "0 0 3 * * *", NOW, NOW + 3 * HOUR - 1)
    assert reconcile(wanted, [old, new], NOW) == (Action("disable", "1"),)
    off = replace(old, enabled=False)
    assert reconcile(wanted, [off, new], NOW) == (Action("enable", "2"),)
    assert reconcile(wanted, [off, replace(new, enabled=True)], NOW) == ()
    assert reconcile(wanted, [replace(off, active=0), replace(new, enabled=True)], NOW) == (Action("delete", "1"),)


@pytest.mark.parametrize(
    ("seconds", "seen", "calm"),
    [(-6, False, True), (-4, False, False), (0, False, False), (30, False, False), (30, True, True), (59, False, False), (61, False, True)],
)
def test_no_hand_over_shortly_before_a_tick_nor_until_its_run_is_seen(seconds: float, seen: bool, calm: bool) -> None:
    tick = NOW + 2 * HOUR
    old = Recurring("1", "a", True, "0 0 2 * * *", NOW, NOW, last_run=tick + 28 if seen else 0.0)
    new = Recurring("2", "b", False, "0 0 3 * * *", NOW, NOW + 3 * HOUR - 1)
    kinds = [a.kind for a in reconcile(want("b", "0 3 * * *", tick + seconds), [old, new], tick + seconds)]
    assert kinds == (["disable"] if calm else ["wait"])


def test_a_scheduler_that_does_not_fire_holds_no_change_up() -> None:
    old = Recurring("1", "a", True, "0 * * * * *", NOW - 9999, NOW - 600)
    new = Recurring("2", "b", False, "0 0 3 * * *", NOW, NOW + 3 * HOUR - 1)
    assert reconcile(want("b", "0 3 * * *", NOW + 30), [old, new], NOW + 30) == (Action("disable", "1"),)


def test_suspended_means_disabled_and_nothing_made_or_deleted() -> None:
    wanted = want("a", "0 2 * * *", NOW, suspended=True)
    assert reconcile(wanted, [], NOW) == ()
    there = Recurring("1", "z", True, "0 0 2 * * *", NOW, NOW)
    assert reconcile(wanted, [there], NOW) == (Action("disable", "1"),)
    assert reconcile(wanted, [replace(there, enabled=False)], NOW) == ()


@pytest.mark.parametrize(("catch_up", "expected"), [(False, []), (True, [NOW + 2 * HOUR, NOW + 26 * HOUR])])
def test_resuming_runs_what_was_missed_only_if_it_is_to_catch_up(catch_up: bool, expected: list[float]) -> None:
    world = Scheduler(catch_up=catch_up)
    settle(world, "a", "0 2 * * *", catch_up=catch_up)
    settle(world, "a", "0 2 * * *", catch_up=catch_up, suspended=True)
    world.pass_to(NOW + 30 * HOUR)
    assert world.fired == []
    settle(world, "a", "0 2 * * *", catch_up=catch_up)
    assert [t for t, _ in world.fired] == expected
    world.pass_to(NOW + 51 * HOUR)
    assert [t for t, _ in world.fired] == [*expected, NOW + 50 * HOUR]
    assert len(world.runs) == 1


crons = st.sampled_from(["0 * * * *", "*/5 * * * *", "30 */2 * * *", "* * * * *", "15,45 * * * *"])


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(crons, st.booleans(), st.integers(0, 4000)), min_size=1, max_size=5), st.integers(0, 2**32), st.booleans())
def test_lost_and_repeated_calls_lead_to_the_same_end(changes: list[tuple[str, bool, int]], seed: int, catch_up: bool) -> None:
    world, dice = Scheduler(catch_up=catch_up), random.Random(seed)
    for n, (cron, suspended, later) in enumerate(changes):
        settle(world, f"h{n}-{cron}", cron, dice, suspended=suspended, catch_up=catch_up)
        world.pass_to(world.now + later)
    cron = changes[-1][0]
    settle(world, f"end-{cron}", cron, dice, catch_up=catch_up)
    assert [(r.hash, r.enabled, r.cron) for r in world.runs.values()] == [(f"end-{cron}", True, "0 " + cron)]
    # no tick twice by the same specification, however often calls were repeated
    assert len(world.fired) == len(set(world.fired))


@settings(max_examples=6, deadline=None)
@given(st.lists(st.tuples(crons, st.integers(60, 5000)), min_size=2, max_size=5), st.integers(0, 59), st.sampled_from([0, 7, 28]))
def test_a_change_loses_no_tick_and_runs_none_twice(changes: list[tuple[str, int]], offset: int, lag: float) -> None:
    """Undisturbed, the ticks are those of whichever specification held then: each once, however late the scheduler is."""
    world = Scheduler(now=NOW + offset, lag=lag)
    settle(world, "h0", changes[0][0])
    for n, (cron, later) in enumerate(changes):
        before = world.now
        settle(world, f"h{n}", cron)
        world.pass_to(world.now + later)
        ticks = [t for t, h in world.fired if h == f"h{n}"]
        first = ticks[0] if ticks else world.now + 1
        parsed, due, moment = parse(cron), [], first - 1
        while (tick := parsed.after(moment)) is not None and tick <= world.now - lag - 5:
            due.append(tick)
            moment = tick
        assert ticks[: len(due)] == due
        # the hand-over takes less than two minutes, waits included
        expected = parsed.after(before + 120) or 0
        assert first <= expected if ticks else expected > world.now - lag - 5
    times = [t for t, _ in world.fired]
    assert len(times) == len(set(times))
    # between two specifications with a tick each minute there is one for each minute
    if {c for c, _ in changes} == {"* * * * *"}:
        assert all(b - a == 60 for a, b in itertools.pairwise(times))


def test_leaving_stops_the_clock_ends_the_runs_and_then_deletes() -> None:
    there = Recurring("1", "a", True, "0 0 2 * * *", NOW, NOW, active=1)
    going = Run("x", "RUNNING", NOW)
    assert leave([there], [going]) == (Action("disable", "1"),)
    off = replace(there, enabled=False)
    assert leave([off], [going]) == (Action("terminate", "x"),)
    assert leave([off], [replace(going, state="CANCELING")]) == (Action("wait"),)
    assert leave([off], [replace(going, state="FAILED")]) == (Action("delete", "1"),)
    assert leave([], [replace(going, state="FAILED")]) == ()


def test_replacing_ends_every_active_run_but_the_newest() -> None:
    runs = [Run("1", "RUNNING", 1), Run("2", "PENDING", 2), Run("3", "RUNNING", 3), Run("0", "CANCELING", 0)]
    assert {a.id for a in tidy(runs, replace=True, succeeded=9, failed=9, remove=False)} == {"1", "2"}
    assert tidy(runs, replace=False, succeeded=9, failed=9, remove=False) == ()


@given(
    st.lists(st.tuples(st.sampled_from(["SUCCEEDED", "FAILED", "RUNNING", "CANCELED"]), st.booleans()), max_size=20),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_history_keeps_the_newest_of_each_kind_and_touches_nothing_active(kinds: list[tuple[str, bool]], good: int, bad: int) -> None:
    runs = [Run(str(i), state, float(i), archived=gone) for i, (state, gone) in enumerate(kinds)]
    actions = tidy(runs, replace=False, succeeded=good, failed=bad, remove=True)
    gone = {a.id for a in actions}
    left = [r for r in runs if r.id not in gone and not r.archived and not r.active]
    assert all(a.kind == "remove" for a in actions) and not {r.id for r in runs if r.active or r.archived} & gone
    assert sum(r.state == "SUCCEEDED" for r in left) <= good and sum(r.state != "SUCCEEDED" for r in left) <= bad
    kept = [r.created for r in left if r.state == "SUCCEEDED"]
    assert all(r.created < min(kept) for r in runs if r.id in gone and r.state == "SUCCEEDED" and kept)
