"""Decisions of rollouts in the audit log: each once, whatever dies; a log that is away costs time alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.controller.rollouts.auditor import Auditor, Told
from sluice.audit.log import AuditError, FolderLog, records
from sluice.audit.verify import verify
from sluice.rollouts.state import State

A, B = "a" * 64, "b" * 64


def note(sequence: int, kind: str = "phase", message: str = "step 1 of 2") -> dict[str, Any]:
    return {"sequence": sequence, "time": "2026-11-30T02:00:00Z", "kind": kind, "message": message, "checks": [{"reason": "errors fine"}]}


def told(*history: dict[str, Any], by: str = "ada", state: State | None = None) -> Told:
    raw = {"metadata": {"annotations": {"sluice.dev/by": by}}}
    rollout: Any = SimpleNamespace(uid="u1", namespace="ns", name="m", model="digits", spec={"registry": {}}, raw=raw)
    return Told.of(rollout, state or State(stable=A, candidate=B, phase="Step"), history, "production")


@pytest.fixture
def log(tmp_path: Path) -> FolderLog:
    return FolderLog(tmp_path / "audit", tmp_path / "head.json")


def test_each_decision_is_written_once_with_who_and_where(log: FolderLog) -> None:
    auditor = Auditor(log)
    auditor.want(told(note(1), note(2, "command", "rollback: done")))
    auditor.turn()
    auditor.want(told(note(1), note(2, "command", "rollback: done"), note(3)))
    auditor.turn()
    found = [r.entry for r in records(log)]
    assert [(e.data["note"], e.user) for e in found] == [(1, "controller of ns/m"), (2, "ada"), (3, "controller of ns/m")]
    assert {(e.model, e.digest, e.environment, e.data["rollout"]) for e in found} == {("digits", B, "production", "ns/m")}
    assert verify(*log.read()) == []


def test_a_new_process_goes_on_behind_what_is_in_the_log_and_says_what_was_missed(log: FolderLog) -> None:
    Auditor(log)  # dies before it wrote
    first = Auditor(log)
    first.want(told(note(1), note(2)))
    first.turn()
    second = Auditor(log)
    second.want(told(note(2), note(5)))
    second.turn()
    assert [(r.entry.data["note"], r.entry.data["missed"]) for r in records(log)] == [(1, 0), (2, 0), (5, 2)]


def test_a_log_that_is_away_is_tried_again_and_nothing_is_lost(log: FolderLog, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    auditor = Auditor(log, clock=lambda: now[0])
    good = log.append
    monkeypatch.setattr(log, "append", lambda entry: (_ for _ in ()).throw(AuditError("the disk is full")))
    auditor.want(told(note(1)))
    assert auditor.turn() == 2.0 and auditor.turn() == 2.0
    monkeypatch.setattr(log, "append", good)
    now[0] = 3.0
    auditor.turn()
    assert len(records(log)) == 1


def test_one_that_leads_no_more_writes_nothing(log: FolderLog) -> None:
    auditor = Auditor(log, may_act=lambda: False)
    auditor.want(told(note(1)))
    assert auditor.turn() == 1.0 and records(log) == []


def test_of_a_rollout_that_went_back_it_names_what_went() -> None:
    assert told(state=State(stable=A, phase="RolledBack", rejected=(B,))).digest == B
