"""Of several controllers one acts: who holds the lease, and when another may."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from serving.controller import kube as kube_module
from serving.controller.kube import connect
from serving.controller.lease import Leadership

_spec = importlib.util.spec_from_file_location("rollout_memory_api", Path(__file__).with_name("memory_api.py"))
assert _spec and _spec.loader
memory = sys.modules.setdefault("rollout_memory_api", importlib.util.module_from_spec(_spec))
if not hasattr(memory, "MemoryApi"):
    _spec.loader.exec_module(memory)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_module, "_PAUSES", (0.0, 0.0))


def test_one_replica_leads_at_a_time_and_another_takes_over_when_it_is_gone():
    api = memory.MemoryApi()
    clock = [0.0]
    first, rival = (Leadership(connect(api), "ns", "lease", name, seconds=10, clock=lambda: clock[0]) for name in ("a", "b"))
    assert first.attempt() and not rival.attempt()
    both = 0
    for _ in range(200):
        clock[0] += 0.5
        if clock[0] < 40:
            first.attempt()
        rival.attempt()
        both += first.leading() and rival.leading()
        assert clock[0] < 40 or not first.leading() or clock[0] < 48.5
    assert both == 0
    assert rival.leading() and not first.leading()


def test_replica_that_cannot_reach_the_api_stops_before_another_may_start():
    api = memory.MemoryApi()
    clock = [0.0]
    one = Leadership(connect(api), "ns", "lease", "a", seconds=10, clock=lambda: clock[0])
    assert one.attempt()
    api.fault = lambda method, path: (_ for _ in ()).throw(OSError("gone"))
    clock[0] = 7.0
    assert one.attempt() and one.leading()
    clock[0] = 8.5
    assert not one.attempt() and not one.leading()


def test_stopped_replica_gives_the_lease_up_at_once():
    api = memory.MemoryApi()
    one = Leadership(connect(api), "ns", "lease", "a", seconds=10)
    one.attempt()
    one.stop()
    assert Leadership(connect(api), "ns", "lease", "b", seconds=10).attempt()
