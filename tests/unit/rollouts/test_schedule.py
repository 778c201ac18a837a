"""When the controller comes back after a look that failed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from serving.rollout import operator
from serving.rollout.kube import ApiFault
from serving.rollout.operator import Schedule

KEY = ("ns", "m")
BODY: dict[str, Any] = {"metadata": {"namespace": "ns", "name": "m", "uid": "u", "generation": 1}}


def test_failed_looks_come_back_soon_at_first_then_less_and_less_and_a_good_one_resets_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(operator, "time", SimpleNamespace(monotonic=lambda: 0.0))
    answers: list[float | Exception] = [ApiFault("made up", 500)] * 12 + [OSError("made up"), 3.0, ApiFault("made up", 500)]

    def look(namespace: str, name: str) -> float | None:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def made() -> Schedule:
        schedule = Schedule(look)
        schedule.seen("ADDED", BODY)
        return schedule

    schedule = asyncio.run(made())
    waits = []
    for _ in range(15):
        asyncio.run(schedule._one(KEY))
        waits.append(schedule.due[KEY])
    assert waits == [1, 2, 4, 8, *[10] * 9, 3, 1]


def test_watch_events_of_our_own_writes_wake_nobody_and_those_of_people_do():
    async def made() -> None:
        schedule = Schedule(lambda namespace, name: None)
        schedule.seen("ADDED", BODY)
        first = schedule.due[KEY]
        schedule.seen("MODIFIED", {**BODY, "status": {"phase": "Step"}})
        assert schedule.due[KEY] == first
        annotated = {"metadata": {**BODY["metadata"], "annotations": {"sluice.dev/command": "pause#1"}}}
        schedule.seen("MODIFIED", annotated)
        assert schedule.due[KEY] > first
        schedule.seen("DELETED", annotated)
        assert KEY not in schedule.due

    asyncio.run(made())
