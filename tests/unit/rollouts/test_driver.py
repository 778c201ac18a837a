"""The loop around the decision, killed at every write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.core.errors import DeadlineError, SluiceError
from sluice.rollouts import control
from sluice.rollouts.backend import View
from sluice.rollouts.drive import Driver
from sluice.rollouts.simulate import CANDIDATE, STABLE, Behaviour, Scenario, World
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import Arm, Note, Routed, State
from sluice.rollouts.store import Store

SPEC = RolloutSpec(settle_seconds=0.5, warmup_seconds=0.5, verify_seconds=0.5, keep_seconds=0)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class Worldly:
    """A back-end over a simulated world that counts what it is asked, and may be killed at a given write."""

    def __init__(self, scenario: Scenario, seed: int = 1):
        self.world = World(scenario, np.random.default_rng(seed))
        self.present = {STABLE}
        self.launched: list[str] = []
        self.kill_at: int | None = None
        self.writes = 0

    def write(self) -> None:
        self.writes += 1
        if self.writes == self.kill_at:
            raise Killed

    def observe(self, stable: str | None, candidate: str | None) -> View:
        self.world.pass_time(0.5)
        look = self.world.look()
        arms = {"stable": look.arms["stable"]} if stable else {}
        if candidate:
            arms["candidate"] = look.arms["candidate"] if candidate in self.present else Arm(exists=False)
        return View(arms, self.world.routed, frozenset(self.present))

    def launch(self, digest: str) -> None:
        self.write()
        self.present.add(digest)
        self.launched.append(digest)
        self.write()

    def route(self, weights: Mapping[str, int], mirror: str | None) -> None:
        self.write()
        self.world.routed = Routed(dict(weights), mirror)
        self.write()

    def retire(self, digest: str) -> None:
        self.write()
        self.present.discard(digest)
        self.write()


class Mortal(Store):
    backend: Worldly

    def note(self, note: Note, now: float) -> None:
        self.backend.write()
        super().note(note, now)
        self.backend.write()

    def save(self, state: State, **around: Any) -> None:
        self.backend.write()
        super().save(state, **around)
        self.backend.write()


def rolled_out(home: Path, scenario: Scenario, kills: list[int]) -> tuple[Worldly, Store, State]:
    backend, store = Worldly(scenario), Mortal(home, "m")
    store.backend = backend
    store.fresh()
    state, deaths = State(stable=STABLE), list(kills)
    for _ in range(len(kills) + 1):
        backend.kill_at = backend.writes + deaths.pop(0) if deaths else None
        driver = Driver(SPEC, backend, CANDIDATE, state, store, clock=lambda: backend.world.time)
        try:
            return backend, store, driver.run(every=0, seconds=1e6)
        except Killed:
            # What a new process finds.
            state = State.from_dict(store.load()["state"]) if (store.root / "state.json").exists() else State(stable=STABLE)
    raise AssertionError("killed more often than planned")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.integers(1, 60), max_size=8), st.booleans())
def test_driver_killed_at_any_write_goes_on_and_never_acts_twice(tmp_path: Path, kills: list[int], good: bool):
    backend, store, state = rolled_out(tmp_path, Scenario(200.0, candidate=Behaviour(errors=0.0 if good else 0.2)), kills)
    assert state.phase == ("Succeeded" if good else "RolledBack")
    assert backend.world.routed.weights == {CANDIDATE if good else STABLE: 100}
    assert backend.present == {CANDIDATE if good else STABLE}
    assert backend.launched.count(CANDIDATE) == 1
    numbers = [e["sequence"] for e in store.events()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len([e for e in store.events() if e["data"].get("phase") == "Promoting"]) == int(good)


def test_back_end_that_fails_is_asked_again(tmp_path: Path):
    backend, store = Worldly(Scenario(200.0)), Store(tmp_path, "m")
    store.fresh()
    real, failures = backend.route, [SluiceError("409 conflict"), OSError("429"), OSError("500")]

    def flaky(weights: Mapping[str, int], mirror: str | None) -> None:
        if failures:
            raise failures.pop()
        real(weights, mirror)

    backend.route = flaky  # type: ignore[method-assign]
    faults: list[dict[str, Any]] = []
    driver = Driver(
        SPEC,
        backend,
        CANDIDATE,
        State(stable=STABLE),
        store,
        clock=lambda: backend.world.time,
        on_event=lambda e: faults.append(e) if e["kind"] == "fault" else None,
    )
    assert driver.run(every=0, seconds=1e6).phase == "Succeeded"
    assert len(faults) == 3


def test_back_end_that_cannot_be_seen_for_a_while_only_delays(tmp_path: Path):
    backend, store = Worldly(Scenario(200.0)), Store(tmp_path, "m")
    store.fresh()
    real, looks = backend.observe, [0]

    def gone(stable: str | None, candidate: str | None) -> View:
        looks[0] += 1
        if 10 < looks[0] < 130:
            backend.world.pass_time(0.5)
            raise OSError("the API server is gone")
        return real(stable, candidate)

    backend.observe = gone  # type: ignore[method-assign]
    driver = Driver(SPEC, backend, CANDIDATE, State(stable=STABLE), store, clock=lambda: backend.world.time)
    assert driver.run(every=0, seconds=1e6).phase == "Succeeded"


def test_driver_has_a_deadline(tmp_path: Path):
    backend, store = Worldly(Scenario(0.001)), Store(tmp_path, "m")
    store.fresh()
    with pytest.raises(DeadlineError, match="not over after 60 s"):
        Driver(SPEC, backend, CANDIDATE, State(stable=STABLE), store, clock=lambda: backend.world.time).run(every=0, seconds=60)


def test_torn_audit_trail_and_repeated_notes_read_whole(tmp_path: Path):
    store = Store(tmp_path, "m")
    store.fresh()
    store.save(State(stable=STABLE))
    for n in (1, 2, 2):
        store.note(Note(n, "phase", f"note {n}"), 5.0)
    with (store.root / "events.jsonl").open("ab") as f:
        f.write(b'{"sequence": 3, "mess')
    assert [e["message"] for e in store.events()] == ["note 1", "note 2"]


def test_commands_are_read_in_order_and_nonsense_is_left_out(tmp_path: Path):
    store = Store(tmp_path, "m")
    store.fresh()
    first, second = store.order("pause"), store.order("resume")
    (store.root / "commands" / "zzz.json").write_text("{")
    (store.root / "commands" / "zzzz.json").write_text('{"id": 1, "command": "explode"}')
    assert store.commands() == ((first, "pause"), (second, "resume"))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}"])
def test_damaged_state_is_an_error_that_names_the_file(tmp_path: Path, content: bytes):
    store = Store(tmp_path, "m")
    store.fresh()
    (store.root / "state.json").write_bytes(content)
    with pytest.raises(SluiceError, match=r"state\.json"):
        control.status(tmp_path, "m")
