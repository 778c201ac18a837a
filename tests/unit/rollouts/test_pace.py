"""The replay's pace and the machine's measure, on made-up servers and clocks."""

from __future__ import annotations

import heapq
import os
from pathlib import Path

import pytest

from sluice.rollouts.machine import Machine, Usage, measure
from sluice.rollouts.pace import EVERY, Pace


class Servers:
    """Open-loop replay against servers that answer one request at a time each, on a virtual clock.

    Args:
        pace: under test. seconds: a request takes, by arm. shares: of the requests, by arm. quick: every third answer
            comes at once, the others wait without holding anybody up (a model that waits for something, no queue).
    """

    def __init__(self, pace: Pace, seconds: dict[str, float], shares: dict[str, float], waiting: float = 0.0):
        self.pace, self.seconds, self.shares, self.waiting = pace, seconds, shares, waiting
        self.now = self.due = self.looked = 0.0
        self.free = dict.fromkeys(seconds, 0.0)
        self.credit = dict.fromkeys(seconds, 0.0)
        self.flying: list[tuple[float, float, str]] = []
        self.sent = dict.fromkeys(seconds, 0)
        self.most_waiting = 0.0

    def run(self, seconds: float, refused: int = 0, lag: float = 0.0) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.due, self.looked + EVERY)
            while self.flying and self.flying[0][0] <= self.now:
                done, due, arm = heapq.heappop(self.flying)
                self.pace.answered(arm, done - due)
            if self.now >= self.looked + EVERY:
                self.looked = self.now
                self.pace.look(self.now, in_flight=len(self.flying), refused=refused, lag=lag)
                self.due = min(self.due, self.now + 1 / self.pace.rate)
            if self.now >= self.due:
                if len(self.flying) < self.pace.in_flight:
                    self._send()
                self.due = self.now + 1 / self.pace.rate

    def _send(self) -> None:
        for arm, share in self.shares.items():
            self.credit[arm] += share
        arm = max(self.credit, key=lambda a: self.credit[a])
        self.credit[arm] -= 1
        self.sent[arm] += 1
        begun = max(self.now, self.free[arm])
        self.most_waiting = max(self.most_waiting, begun - self.now)
        self.free[arm] = begun + self.seconds[arm]
        waits = self.waiting if self.sent[arm] % 3 else 0.0
        heapq.heappush(self.flying, (self.free[arm] + waits, self.now, arm))


def test_quick_servers_get_the_whole_rate_within_two_seconds():
    pace = Pace(300, 64)
    servers = Servers(pace, {"a": 0.001}, {"a": 1.0})
    servers.run(2.0)
    assert pace.rate == 300
    before = servers.sent["a"]
    servers.run(10.0)
    assert servers.sent["a"] - before == pytest.approx(3000, rel=0.02)


@pytest.mark.parametrize("seconds", [0.013, 0.05, 0.5])
def test_a_slow_server_is_given_what_it_sustains_and_a_health_check_is_not_starved(seconds: float):
    """A row of 784 columns costs 13 ms: 300 requests a second would queue without end."""
    pace = Pace(300, 64)
    servers = Servers(pace, {"a": seconds}, {"a": 1.0})
    servers.run(10.0)
    servers.most_waiting, before = 0.0, servers.sent["a"]
    servers.run(60.0)
    assert servers.most_waiting < 30 * seconds < 64 * seconds, "what a health check would wait behind"
    assert servers.sent["a"] - before > 0.4 * 60 / seconds, "and the server is not left idle"


def test_the_slower_arm_alone_is_seen_however_few_requests_it_gets():
    pace = Pace(300, 64)
    servers = Servers(pace, {"stable": 0.001, "candidate": 0.03}, {"stable": 0.7, "candidate": 0.3})
    servers.run(40.0)
    assert 0.3 * pace.rate < 1.5 / 0.03
    assert servers.free["candidate"] - servers.now < 20 * 0.03


def test_a_model_that_waits_without_a_queue_keeps_its_rate():
    pace = Pace(100, 64)
    servers = Servers(pace, {"a": 0.001}, {"a": 1.0}, waiting=0.3)
    servers.run(10.0)
    assert pace.rate == 100


def test_other_servers_are_begun_with_gently_again():
    pace = Pace(300, 64)
    Servers(pace, {"a": 0.001}, {"a": 1.0}).run(3.0)
    pace.ease()
    assert pace.rate < 30 and pace.in_flight < 10


def test_a_starved_sender_slows_down_but_goes_on_and_servers_that_turn_requests_away_are_left_alone():
    pace = Pace(300, 64)
    servers = Servers(pace, {"a": 0.001}, {"a": 1.0})
    servers.run(3.0)
    servers.run(20.0, lag=0.5)
    assert 10 <= pace.rate <= 40
    servers.run(20.0, refused=50)
    assert pace.rate <= 2
    servers.run(30.0)
    assert pace.rate == 300


def test_fewer_requests_than_asked_for_are_never_more_in_flight_than_the_connections():
    assert Pace(5, 64).rate == 5 and Pace(5, 64).in_flight == 64 and Pace(300, 2).in_flight == 2


class Cpus:
    """A machine of two CPUs whose work is told a second at a time."""

    def __init__(self) -> None:
        self.now = self.idle = self.stolen = self.own = self.throttled = 0.0
        self.machine = Machine(
            usage=lambda: Usage(2 * self.now, self.idle, self.stolen, {1: self.own}, self.throttled),
            load=lambda: 9.5,
            cpus=2,
            clock=lambda: self.now,
        )

    def second(self, *, own: float = 0.0, others: float = 0.0, stolen: float = 0.0, throttled: float = 0.0) -> str | None:
        self.now += 1
        self.own, self.stolen, self.throttled = self.own + own, self.stolen + stolen, self.throttled + throttled
        self.idle += 2 - own - others - stolen
        return self.machine.limit()


def test_a_machine_is_the_limit_when_others_have_its_cpus_and_not_when_we_do():
    cpus = Cpus()
    assert [cpus.second(own=1.9) for _ in range(10)] == [None] * 10, "our own servers' work is the models' doing"
    assert [cpus.second(own=0.3, others=0.8) for _ in range(10)] == [None] * 10, "one of two CPUs is free"
    said = [cpus.second(own=0.4, others=1.6) for _ in range(30)]
    assert said[0] is None and "other work takes 80% of its 2 CPUs (load average 9.5)" in (said[-1] or "")
    assert [cpus.second() for _ in range(10)][-1] is None


def test_a_host_that_takes_time_away_and_a_used_up_quota_are_limits_too():
    cpus = Cpus()
    assert "took 20% of its CPU time" in ([cpus.second(own=0.5, stolen=0.4) for _ in range(12)][-1] or "")
    assert "CPU quota was used up 50% of the time" in ([cpus.second(own=0.5, throttled=0.5) for _ in range(20)][-1] or "")


def test_without_measurements_only_a_load_far_above_our_own_counts():
    now = {"load": 3.0, "clock": 0.0}
    machine = Machine(usage=lambda: None, load=lambda: now["load"], cpus=2, clock=lambda: now["clock"])
    assert machine.limit() is None
    now |= {"load": 20.0, "clock": 2.0}
    assert "other work keeps its 2 CPUs busy" in (machine.limit() or "")


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no /proc")
def test_this_machine_can_be_measured():
    usage = measure()
    assert usage is not None and 0 < usage.idle < usage.total and usage.own[os.getpid()] > 0
