"""Rollouts with real server processes behind a real Envoy."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from sluice.core.errors import HomeError, SluiceError
from sluice.core.processes import wait_until
from sluice.package import package
from sluice.rollouts import control, local
from sluice.rollouts.load_generator import Request
from sluice.rollouts.local import LocalBackend, RolloutResult, run_local
from sluice.rollouts.spec import Replay, RolloutSpec, Shadow
from sluice.rollouts.store import Store

HERE = Path(__file__).parent
SERVER = [sys.executable, str(HERE / "standin.py")]
SPEC = RolloutSpec(
    steps=[30, 60],
    settle_seconds=0.5,
    warmup_seconds=0.2,
    verify_seconds=1.0,
    shadow=Shadow(requests=100),
    replay=Replay(rate=400, step_deadline_seconds=60),
    minimum_requests=250,
)
Roll = Callable[..., RolloutResult]


@pytest.fixture
def roll(tmp_path: Path, requests: Sequence[Request]) -> Roll:
    def run(stable: Path | None, candidate: Path, spec: RolloutSpec = SPEC, **more: Any) -> RolloutResult:
        return run_local("m", spec, stable=stable, candidate=candidate, server=SERVER, requests=requests, home=tmp_path, **more)

    return run


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine does, it is not taken for the limit."""
    monkeypatch.setattr(local.Machine, "limit", lambda _: None)


def servers(home: Path) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if any(str(home) in a for a in p.info["cmdline"] or ())]


def test_healthy_candidate_is_promoted_and_no_request_fails(roll: Roll, make: Callable[..., Path], tmp_path: Path):
    stable, candidate = make("stable"), make("candidate")
    looks: list[dict[str, Any]] = []
    result = roll(stable, candidate, on_event=looks.append)
    assert result.outcome == "promoted", result.reasons
    load, timeline = result.evidence["load"], result.evidence["timeline"]
    assert load["failed"] == 0 and load["sent"] == load["answered"] == sum(load["by_arm"].values())
    assert sorted({e["weight"] for e in timeline}) == [0, 30, 60, 95, 100]
    assert [e["phase"] for e in timeline][-1] == "Succeeded"
    for c in next(e["tests"] for e in reversed(timeline) if e["tests"]):
        assert c["verdict"] == "pass" and (c["metric"] == "shift" or c["low"] < c["margin"])
    assert {e["kind"] for e in looks} == {"phase", "verdict", "look"}
    assert servers(tmp_path) == []
    found = control.status(tmp_path, "m")
    assert (found["phase"], found["outcome"], found["running"], found["interrupted"]) == ("Succeeded", "promoted", False, False)
    said = control.explain(found)
    assert "step 1 of 2: 30 % to the candidate" in said and "evidence against" in said
    console = Console(record=True, width=120, file=(tmp_path / "screen").open("w"))
    control.watch(tmp_path, "m", console=console)
    assert "Succeeded" in console.export_text()


def test_second_rollout_of_a_name_keeps_the_first_in_its_history(roll: Roll, make: Callable[..., Path], tmp_path: Path):
    first, second = make("first"), make("second", exit=3)
    assert roll(None, first).outcome == "promoted"
    assert roll(first, second).outcome == "rolled_back"
    past = [json.loads(p.read_text())["outcome"] for p in (tmp_path / "rollouts" / "m" / "history").glob("*/result.json")]
    assert past == ["promoted"]
    assert roll(first, first).reasons == ("this package already is the stable model",)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"exit": 3}, "exited with status 3: cannot load the graph"),
        ({"ready_after": 1e9}, "the candidate was not ready after"),
        ({"error_share": 1.0}, "answered 5 of 5 probes with an error"),
        ({"error_share": 0.2}, "errors"),
        ({"wrong_share": 1.0}, "disagreement with stable"),
        ({"nan": True}, "disagreement with stable"),
        ({"always": "a"}, "a"),
    ],
)
def test_bad_candidate_is_stopped_before_any_user_meets_it(roll: Roll, make: Callable[..., Path], behaviour: dict[str, Any], reason: str):
    ready = 2 if "ready_after" in behaviour else 60
    result = roll(make("stable"), make("bad", **behaviour), SPEC.model_copy(update={"ready_seconds": ready}))
    assert result.outcome == "rolled_back"
    assert reason in " ".join(result.reasons)
    assert result.evidence["load"]["failed"] == 0
    assert result.evidence["load"]["by_arm"]["candidate"] == 0


def test_candidate_that_stops_being_ready_under_traffic_is_rolled_back(roll: Roll, make: Callable[..., Path]):
    spec = SPEC.model_copy(update={"unready_seconds": 1, "shadow": Shadow(requests=0)})
    result = roll(make("stable"), make("tired", unready_after=150), spec)
    assert result.outcome == "rolled_back"
    assert "not been ready for" in result.reasons[0]
    assert result.evidence["load"]["by_arm"]["candidate"] > 0


def test_dry_run_ends_before_the_first_live_request_and_says_what_would_come(roll: Roll, make: Callable[..., Path], tmp_path: Path):
    result = roll(make("stable"), make("candidate"), SPEC.model_copy(update={"dry_run": True}))
    assert (result.outcome, result.reasons[0]) == ("rolled_back", "dry run: would now send 30 % to the candidate")
    assert result.evidence["load"]["by_arm"]["candidate"] == 0
    found = control.status(tmp_path, "m")
    assert not found["interrupted"] and control.ended(found) == 4


@pytest.mark.usefixtures("calm")
def test_slow_candidate_is_stopped_in_the_first_step(roll: Roll, make: Callable[..., Path]):
    result = roll(make("stable"), make("slow", slow_share=0.4))
    assert result.outcome == "rolled_back"
    assert "slow answers" in result.reasons[0]
    assert max(e["weight"] for e in result.evidence["timeline"]) == 30


def test_candidate_killed_under_traffic_is_rolled_back_and_only_its_requests_in_flight_fail(roll: Roll, make: Callable[..., Path]):
    spec = SPEC.model_copy(update={"shadow": Shadow(requests=0)})
    result = roll(make("stable"), make("doomed", crash_after=150), spec)
    assert result.outcome == "rolled_back"
    assert "SIGKILL: out of memory" in result.reasons[0]
    assert result.evidence["load"]["failed"] <= 20
    assert result.evidence["load"]["by_arm"]["candidate"] > 0


def test_first_model_is_checked_and_goes_straight_to_stable(roll: Roll, make: Callable[..., Path]):
    result = roll(None, make("first"))
    assert result.outcome == "promoted"
    assert result.evidence["load"]["failed"] == 0
    broken = roll(None, make("broken", error_share=1.0))
    assert broken.outcome == "rolled_back"
    assert "probes" in broken.reasons[0]


def test_first_model_that_is_rolled_back_under_traffic_ends_the_rollout_within_seconds(
    roll: Roll, make: Callable[..., Path], tmp_path: Path
):
    """Nobody takes its place: the load ends, the route goes, and so does the server."""
    weights: list[tuple[str, int]] = []
    begun = time.monotonic()
    spec = SPEC.model_copy(update={"verify_seconds": 60.0, "unready_seconds": 1.0})
    result = roll(
        None,
        make("tired", unready_after=100),
        spec,
        on_event=lambda e: weights.append((e["phase"], e["weight"])) if e["kind"] == "look" else None,
    )
    assert result.outcome == "rolled_back" and "not been ready" in result.reasons[0]
    over = next(i for i, (phase, _) in enumerate(weights) if phase == "RolledBack")
    assert weights[-1] == ("RolledBack", 0) and len(weights) - over < 20, "looks after the decision"
    assert time.monotonic() - begun < 60 and servers(tmp_path) == []
    assert control.status(tmp_path, "m")["outcome"] == "rolled_back"


def test_stable_model_that_cannot_be_served_is_an_error_that_says_so(roll: Roll, make: Callable[..., Path], tmp_path: Path):
    with pytest.raises(SluiceError, match="stable model cannot be served: it exited with status 3"):
        roll(make("stable", exit=3), make("candidate"))
    assert servers(tmp_path) == []


def test_stable_server_that_dies_is_started_again(roll: Roll, make: Callable[..., Path]):
    # The server that takes its place would die in the same way, later.
    result = roll(make("stable", crash_after=1200), make("candidate"))
    assert result.outcome == "promoted", result.reasons


def test_commands_steer_a_running_rollout(roll: Roll, make: Callable[..., Path], tmp_path: Path):
    stable, candidate = make("stable"), make("candidate")
    results: list[RolloutResult] = []
    thread = threading.Thread(target=lambda: results.append(roll(stable, candidate)))
    thread.start()
    store = Store(tmp_path, "m")

    def phase() -> str:
        return str(control.status(tmp_path, "m")["phase"]) if (store.root / "state.json").exists() else ""

    wait_until(lambda: phase() == "Step", what="the first step", seconds=60)
    with pytest.raises(HomeError, match="another process"):
        roll(stable, candidate)
    control.request(tmp_path, "m", "pause")
    wait_until(lambda: phase() == "Paused", what="the pause", seconds=20)
    with pytest.raises(SluiceError, match="is not a command"):
        control.request(tmp_path, "m", "explode")
    control.request(tmp_path, "m", "abort")
    thread.join(60)
    assert results[0].outcome == "rolled_back"
    assert results[0].reasons == ("aborted by command",)
    with pytest.raises(SluiceError, match="is not running"):
        control.request(tmp_path, "m", "pause")
    with pytest.raises(SluiceError, match="no such rollout"):
        control.status(tmp_path, "unknown")


def test_killed_run_leaves_a_readable_state_and_no_processes_and_the_next_run_works(make: Callable[..., Path], tmp_path: Path, roll: Roll):
    stable, candidate = make("stable"), make("candidate")
    code = textwrap.dedent(f"""
        import json, sys
        from pathlib import Path
        sys.path.insert(0, {str(HERE)!r})
        from test_local import SERVER, SPEC, run_local, Request
        requests = [Request(json.dumps({{"instances": [n]}}).encode(), "/v1/models/m:predict", "abc"[n % 3]) for n in range(60)]
        run_local("m", SPEC, stable=Path({str(stable)!r}), candidate=Path({str(candidate)!r}), server=SERVER, requests=requests,
                  home=Path({str(tmp_path)!r}))
    """)
    process = subprocess.Popen([sys.executable, "-c", code])
    store = Store(tmp_path, "m")
    wait_until(
        lambda: (store.root / "state.json").exists() and control.status(tmp_path, "m")["phase"] == "Step",
        what="the first step",
        seconds=60,
        process=process,
    )
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    found = control.status(tmp_path, "m")
    assert found["interrupted"] and not found["running"] and found["outcome"] is None
    assert "is gone" in control.explain(found)
    wait_until(lambda: servers(tmp_path) == [], what="its servers to end with it", seconds=10)
    assert roll(stable, make("other", exit=4)).outcome == "rolled_back"


def test_taken_port_makes_way_for_the_next_free_one(make: Callable[..., Path], tmp_path: Path, requests: Sequence[Request]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        backend = LocalBackend(tmp_path, "m", SERVER, {}, SPEC, requests, port)
        backend.start()
        try:
            assert port < backend.envoy.port < port + 20
        finally:
            backend.leave(None)


def test_server_whose_port_was_taken_meanwhile_gets_another(
    make: Callable[..., Path], tmp_path: Path, requests: Sequence[Request], monkeypatch: pytest.MonkeyPatch
):
    root = make("candidate")
    digest = package.read(root).digest
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        ports = iter([busy])
        from sluice.rollouts import server_process

        real = server_process.free_port
        monkeypatch.setattr(server_process, "free_port", lambda: next(ports, None) or real())
        backend = LocalBackend(tmp_path, "m", SERVER, {digest: root}, SPEC, requests)
        backend.start()
        try:
            backend.launch(digest)
            wait_until(lambda: backend.observe(None, digest).arms["candidate"].ready, what="the server", seconds=30)
            arm = backend.observe(None, digest).arms["candidate"]
            assert backend.models[digest].address[1] != busy
            assert (arm.restarts, arm.failure) == (0, None)
        finally:
            backend.leave(None)
