"""The registry follows what serves: a real MLflow server over its REST interface, the real controller, a registry that comes and goes."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.controller.kube import connect
from serving.controller.rollouts import registrar as registrars
from serving.controller.rollouts import resource
from serving.controller.rollouts.evidence import Pods
from serving.controller.rollouts.reconcile import Rollouts
from serving.controller.rollouts.registrar import Registrar
from sluice.core.errors import SluiceError
from sluice.registry.rest import Rest
from sluice.registry.serving import OUTCOME, REASON, Served, align
from sluice.registry.versions import CANDIDATE, CHAMPION, PREVIOUS, Registry, RegistryFault
from sluice.tracking.mlflow import client
from tests.unit.rollouts.test_controller import ONE, PATH, THREE, TWO, Cluster

DIGESTS = {d: f"s3://models/sha256/{d}" for d in (ONE, TWO, THREE, "4" * 64)}
SEQUENCES = int(os.environ.get("SLUICE_REGISTRY_SEQUENCES", "15"))
QUICK = {
    "steps": [50],
    "shadow": {"requests": 0},
    "troubleSeconds": 2,
    "settleSeconds": 0,
    "warmupSeconds": 0,
    "verifySeconds": 0,
    "holdBack": 0,
    "keepSeconds": 0,
    "minimumRequests": 50,
}


def lasting_port() -> int:
    """A free port that no connection is given while the server is away: below those the kernel gives out."""
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port from 20000 to 30000")


class Server:
    """MLflow's own server in a thread: its application, its SQLite store, a real socket. `away` refuses connections."""

    def __init__(self, database: Path):
        # These are what `mlflow server` sets for its own processes.
        for name in ("_MLFLOW_SERVER_FILE_STORE", "_MLFLOW_SERVER_REGISTRY_STORE"):
            os.environ[name] = f"sqlite:///{database}"
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        from mlflow.server import app

        client(f"sqlite:///{database}")  # makes the tables
        from werkzeug.serving import make_server

        self._make = lambda port: make_server("127.0.0.1", port, app, threaded=False)
        self._server: Any = None
        self.port = lasting_port()
        self.back()
        self.uri = f"http://127.0.0.1:{self.port}"

    def back(self) -> None:
        end = time.monotonic() + 60
        while self._server is None:
            try:
                self._server = self._make(self.port)
            except (OSError, SystemExit):  # werkzeug ends a process whose port another one has for a moment
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
                continue
            self.port = self._server.server_port
            threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def away(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def registry(self) -> Registry:
        return Registry(self.uri, Rest(self.uri, seconds=120))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    before = dict(os.environ)
    made = Server(tmp_path_factory.mktemp("mlflow") / "mlflow.db")
    yield made
    made.away()
    os.environ.clear()
    os.environ |= before


class Followed(Cluster):
    """A cluster whose controller follows a registry; nothing of either controller or registrar outlives `replace_controller`."""

    def __init__(self, server: Server, name: str, seed: int = 1):
        self.server, self.name, self.now = server, name, 0.0
        super().__init__(seed)

    def replace_controller(self) -> None:
        kube = connect(self.api)
        self.registrar = Registrar(self.server.registry(), clock=lambda: self.now)
        self.controller = Rollouts(kube, Pods(kube, proxied=True), registrar=self.registrar, clock=lambda: self.api.now)

    def apply(self, digest: str, **spec: Any) -> None:
        super().apply(digest, strategy=QUICK | spec.pop("strategy", {}), registry={"model": self.name}, **spec)
        self.api.objects[PATH]["spec"]["model"]["uri"] = DIGESTS[digest]

    def order(self, command: str) -> None:
        self.api.objects[PATH]["metadata"].setdefault("annotations", {})[resource.COMMAND] = f"{command}#{self.api.now}"

    def settle(self, looks: int = 60) -> None:
        """Look until there is nothing left to do, and let the registrar take its turns after it."""
        for _ in range(looks):
            after = self.look()
            if after is not None and after > 60:
                break
        self.wait()

    def wait(self) -> None:
        """Time enough for what was put off, without that of a look at all again."""
        self.now += registrars._REFUSED
        self.registrar.turn()
        self.look()

    @property
    def serves(self) -> str | None:
        return self.state.get("stable")

    @property
    def state(self) -> dict[str, Any]:
        return self.status.get("state") or {}

    @property
    def registered(self) -> dict[str, Any]:
        return next(x for x in self.status["conditions"] if x["type"] == resource.REGISTERED)


def holders(registry: Registry, model: str) -> dict[str, str]:
    return {alias: v.digest for v in registry.versions(model) for alias in v.aliases}


def test_what_is_promoted_is_champion_the_one_before_previous_and_what_is_rolled_back_neither(server: Server) -> None:
    registry = server.registry()
    c = Followed(server, "road")
    made = registry.register("road", ONE, DIGESTS[ONE], metrics={"accuracy": 0.9}, tags={}, run_id=None)
    registry.set_alias("road", CANDIDATE, made.number)
    c.apply(ONE)
    c.settle()
    assert holders(registry, "road") == {CHAMPION: ONE}, "and no candidate any more"
    assert c.registered["status"] == "True" and "version 1 (111111111111) is champion" in c.registered["message"]
    c.apply(TWO)
    c.settle()
    # No run had registered it: what serves is visible all the same, and the next run has something to be compared with.
    assert holders(registry, "road") == {CHAMPION: TWO, PREVIOUS: ONE}
    two = registry.by_alias("road", CHAMPION)
    assert two is not None and two.tags["sluice.registered_by"] == "ModelRollout ns/m" and two.uri == DIGESTS[TWO]
    assert "version 2 registered here, which no run had done" in c.registered["message"]
    three = registry.register("road", THREE, DIGESTS[THREE], metrics={}, tags={}, run_id=None)
    registry.set_alias("road", CANDIDATE, three.number)
    c.api.behaviour[THREE[:12]] = {"errors": 0.5}
    c.apply(THREE)
    c.settle()
    assert holders(registry, "road") == {CHAMPION: TWO, PREVIOUS: ONE}
    tags = {v.digest: v.tags for v in registry.versions("road")}
    assert tags[THREE][OUTCOME] == "rolled_back" and "errors" in tags[THREE][REASON]
    assert tags[TWO][OUTCOME] == "promoted" and tags[ONE]["sluice.replaced_by"] == "2"
    c.api.behaviour.clear()
    c.order("retry")
    c.settle()
    assert holders(registry, "road") == {CHAMPION: THREE, PREVIOUS: TWO}
    assert registry.by_digest("road", THREE).tags[OUTCOME] == "promoted"
    assert [v.number for v in registry.versions("road")] == ["3", "2", "1"]


def test_a_registry_that_is_away_neither_holds_up_nor_is_forgotten(server: Server) -> None:
    c = Followed(server, "away")
    c.apply(ONE)
    c.settle()
    server.away()
    c.apply(TWO)
    for _ in range(60):
        if c.look() == 300.0:
            break
    assert c.serves == TWO, "the rollout went on"
    c.registrar.turn()
    c.look()
    assert c.registered["reason"] == "RegistryAway" and "tried again by itself" in c.registered["message"]
    calls = c.registrar.registry._client.calls
    c.registrar.turn()
    assert c.registrar.registry._client.calls == calls, "not before its time"
    c.replace_controller()
    server.back()
    c.settle()
    assert holders(server.registry(), "away") == {CHAMPION: TWO, PREVIOUS: ONE} and c.registered["status"] == "True"


def test_the_registry_is_asked_in_a_thread_of_its_own_and_the_look_waits_for_nobody(server: Server) -> None:
    c = Followed(server, "thread")
    slow, told = threading.Event(), threading.Event()
    versions = c.registrar.registry.versions
    c.registrar.registry.versions = lambda model: (slow.wait(30), versions(model))[1]  # type: ignore[method-assign]
    c.registrar.clock = time.monotonic
    c.registrar.changed = lambda key: told.set()
    c.registrar.start()
    c.apply(ONE)
    begun = time.monotonic()
    for _ in range(20):
        c.look()
    assert c.serves == ONE and time.monotonic() - begun < 20 and not told.is_set()
    slow.set()
    assert told.wait(30)
    c.look()
    c.registrar.stop()
    assert c.registered["status"] == "True"


def test_an_alias_moved_by_hand_is_put_back_and_nothing_else_is_written_again(server: Server) -> None:
    registry = server.registry()
    c = Followed(server, "hand")
    for digest in (ONE, TWO):
        c.apply(digest)
        c.settle()
    registry.set_alias("hand", CHAMPION, "1")
    c.now += registrars.RECHECK
    client = c.registrar.registry._client
    written: list[str] = []
    call = client._call
    client._call = lambda method, path, **what: (written.append(path) if method != "GET" else None, call(method, path, **what))[1]
    c.look()
    c.registrar.turn()
    assert holders(registry, "hand") == {CHAMPION: TWO, PREVIOUS: ONE} and written == ["registered-models/alias"]


def test_first_model_that_fails_loses_the_alias_and_anothers_champion_is_left_alone(server: Server) -> None:
    registry = server.registry()
    for model, holder in (("lost", ONE), ("kept", TWO)):
        made = registry.register(model, holder, DIGESTS[holder], metrics={}, tags={}, run_id=None)
        registry.set_alias(model, CHAMPION, made.number)
        c = Followed(server, model)
        c.api.behaviour[ONE[:12]] = {"errors": 0.9}
        c.apply(ONE, strategy={"verifySeconds": 5})
        c.settle()
        assert c.status["phase"] == "RolledBack" and c.registered["reason"] == "NothingServes"
    assert holders(registry, "lost") == {} and holders(registry, "kept") == {CHAMPION: TWO}


def test_two_rollouts_of_one_name_do_not_fight(server: Server) -> None:
    registrar = Registrar(server.registry())
    for space, digest in (("a", ONE), ("b", TWO)):
        registrar.want((space, "m"), Served("rivals", digest, uris=tuple(DIGESTS.items())))
    registrar.turn()
    said = registrar.said(("b", "m"), Served("rivals", TWO, uris=tuple(DIGESTS.items())))
    assert said is not None and not said.agrees and "spec.registry" in said.message
    assert holders(server.registry(), "rivals") == {CHAMPION: ONE}


def test_a_rollout_that_is_kept_out_says_nothing(server: Server) -> None:
    c = Followed(server, "out")
    c.apply(ONE)
    c.api.objects[PATH]["spec"]["registry"] = {"follow": False}
    c.settle()
    assert server.registry().versions("out") == [] and all(x["type"] != resource.REGISTERED for x in c.status["conditions"])


@pytest.mark.timeout(3600)
def test_champion_is_what_serves_after_any_sequence_of_apply_retry_rollback_and_run_with_the_registry_away_in_between(
    server: Server,
) -> None:
    """The controller is replaced at any look, and the registry goes and comes at any step. A quarter of a second of CPU each: `$SLUICE_REGISTRY_SEQUENCES` of them."""
    registry = server.registry()
    ended = set()
    for sequence in range(SEQUENCES):
        dice = random.Random(sequence)
        name = f"any-{sequence}"
        c = Followed(server, name, seed=sequence)
        c.apply(ONE)
        for _ in range(dice.randint(2, 5)):
            (server.away if dice.random() < 0.4 else server.back)()
            what = dice.choice(["apply", "apply", "run", "retry", "rollback", "abort", "restart"])
            if what in ("apply", "run"):
                digest = dice.choice(list(DIGESTS))
                if what == "run" and server._server is not None:
                    # As the pipeline's steps do, before and beside the controller.
                    made = registry.register(name, digest, DIGESTS[digest], metrics={"accuracy": 0.9}, tags={}, run_id=None)
                    registry.set_alias(name, CANDIDATE, made.number)
                c.api.behaviour = {digest[:12]: {"errors": 0.6}} if dice.random() < 0.4 else {}
                c.apply(digest)
            elif what == "rollback" and c.serves and c.state.get("previous"):
                c.apply(c.state["previous"])
            elif what == "restart":
                c.replace_controller()
            else:
                c.order("abort" if what == "abort" else "retry")
            for _ in range(dice.choice([1, 3, 12])):
                c.look()
                if dice.random() < 0.2:
                    c.now += dice.choice([0.5, 5.0])
                    c.registrar.turn()
                if dice.random() < 0.1:
                    c.replace_controller()
        server.back()
        c.settle()
        found = holders(registry, name)
        assert found.get(CHAMPION) == c.serves, (name, found, c.status["message"])
        before = c.status["state"].get("previous")
        assert found.get(PREVIOUS) == before or before is None, (name, found)
        digests = [v.digest for v in registry.versions(name)]
        assert len(digests) == len(set(digests)), "each package is one version"
        assert c.registered["status"] == "True"
        ended.add(c.status["phase"])
    assert {"Succeeded", "RolledBack"} <= ended


@pytest.mark.parametrize(
    ("answer", "away"),
    [
        ((503, b"<html>no backend</html>"), True),
        ((500, b'{"error_code": "INTERNAL_ERROR", "message": "boom"}'), True),
        ((200, b"<html>a proxy's page"), True),
        ((403, b"who are you"), False),
        ((400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}'), False),
    ],
)
def test_an_answer_that_is_none_is_tried_again_and_a_refusal_is_said(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[int, bytes], away: bool
) -> None:
    monkeypatch.setattr("sluice.core.fetch.send", lambda *_, **__: answer)
    with pytest.raises(RegistryFault) as e:
        align(Registry("http://x", Rest("http://x")), Served("m", ONE))
    assert e.value.away == away and isinstance(e.value, SluiceError)


def test_credentials_go_along_by_mlflows_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []
    monkeypatch.setattr(
        "sluice.core.fetch.send", lambda *_, headers, **__: sent.append(headers) or (404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')
    )
    for environ in ({"MLFLOW_TRACKING_TOKEN": "abc\n"}, {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "pw"}, {}):
        assert Registry("http://x", Rest("http://x", environ=environ)).versions("m") == []
    assert [h.get("Authorization") for h in sent] == ["Bearer abc", "Basic bWU6cHc=", None]


def test_the_program_needs_no_package_that_its_image_lacks() -> None:
    lacks = ("mlflow", "pyarrow", "torch", "pandas", "rich", "PIL", "onnx", "onnxruntime", "scipy", "sklearn", "fastapi", "kfp")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({lacks!r})); from serving.controller.__main__ import main; from sluice.registry.rest import Rest; "
        "from sluice.registry.versions import Registry; Registry('http://x', Rest('http://x'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
