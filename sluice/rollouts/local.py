"""A rollout on this machine: two real server processes behind a real Envoy, under replayed load."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sluice.core.errors import ProjectError, SluiceError
from sluice.core.processes import wait_until
from sluice.package import package
from sluice.rollouts import traffic
from sluice.rollouts.backend import MIRROR, SPLIT, View
from sluice.rollouts.drive import Driver
from sluice.rollouts.envoy import Envoy
from sluice.rollouts.load_generator import Load, Request
from sluice.rollouts.machine import Machine
from sluice.rollouts.server_process import Comparison, Model
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import TERMINAL, Arm, Replica, Routed, State
from sluice.rollouts.store import Store
from sluice.rollouts.turn import STRETCH

__all__ = ["LocalBackend", "Request", "RolloutResult", "run_local"]

_EVERY = 0.25
_PORTS = 20
#: Seconds a step may take where the project says nothing: at least, at most.
_DEADLINE = (60.0, 600.0)
#: Seconds that requests in flight to a model which is taken away get to be answered, and that a late answer to a health check is borne.
_DRAIN, _PATIENCE = 5.0, 20.0


@dataclass(frozen=True)
class RolloutResult:
    """How a rollout ended.

    Attributes:
        outcome: ``promoted`` or ``rolled_back``.
        reasons: sentences for a person.
        evidence: ``{stable, candidate, seconds, timeline: [{t, phase, weight, arms, tests, ...}],
            events, machine: {limited, limit}, load: {sent, answered, failed, unsent, rate, reasons, by_arm, p50_ms, p99_ms} | None}``;
            ``limited``: seconds in which the machine was the limit, ``limit``: why, the last time.
    """

    outcome: Literal["promoted", "rolled_back"]
    reasons: tuple[str, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)


class LocalBackend:
    """Server processes and Envoy as a `Backend`.

    Args:
        root: a directory of its own. name: the model's name in requests.
        server: the server's command, for example ``[sys.executable, "-m", "serving.runtime"]``.
        packages: directory by digest, of every model that may be launched.
        spec: the plan. requests: for probes and comparisons.
        port: where Envoy listens; 0 takes a free one, a taken one makes way for the next free.
    """

    can = frozenset({MIRROR, SPLIT})

    def __init__(
        self,
        root: Path,
        name: str,
        server: Sequence[str],
        packages: Mapping[str, Path],
        spec: RolloutSpec,
        requests: Sequence[Request] = (),
        port: int = 0,
    ):
        self.root, self.name, self.server, self.packages, self.spec = root, name, list(server), dict(packages), spec
        self.requests = list(requests)
        self.models: dict[str, Model] = {}
        self.load: Load | None = None
        self.machine = Machine()
        self._comparison: Comparison | None = None
        self._draining: dict[str, float] = {}
        self._mirror: str | None = None
        self._stable: str | None = None
        self.envoy = Envoy(root / "envoy", port)

    def start(self) -> None:
        """Start Envoy. Raises `SluiceError` when no port is to be had."""
        wanted = self.envoy._wanted
        for port in [wanted] if wanted == 0 else range(wanted, wanted + _PORTS):
            self.envoy = Envoy(self.root / "envoy", port)
            try:
                self.envoy.start()
                return
            except SluiceError as e:
                if "in use" not in str(e):
                    raise
        raise SluiceError(f"no free port from {wanted} to {wanted + _PORTS - 1}", field="port", value=wanted, fix="name another port")

    def adopt(self) -> tuple[str, str] | None:
        """None: nothing serves on this machine between rollouts."""
        return None

    def leave(self, stable: str | None) -> None:
        """End everything that was started; in the order that fails no request."""
        if self._comparison is not None:
            self._comparison.stop()
        if self.load is not None:
            self.load.stop()
        self.envoy.stop()
        for model in self.models.values():
            if model.process is not None and model.process.poll() is None:
                model.process.terminate()
        for model in self.models.values():
            model.stop()

    # -- Backend -----------------------------------------------------------------------------------

    def observe(self, stable: str | None, candidate: str | None) -> View:
        """Both arms by their servers' counters, and the router. Raises `SluiceError` when Envoy has ended."""
        self._stable = stable
        if not self.envoy.alive():
            raise SluiceError("Envoy has ended", field=str(self.envoy.log), value=self.envoy.log.read_text(errors="replace")[-400:])
        limit = self.machine.limit()
        for model in self.models.values():
            model.patience = _PATIENCE if limit else 0.0
        arms = {arm: self._arm(digest, arm) for arm, digest in (("stable", stable), ("candidate", candidate)) if digest}
        lacking = [arm for arm, seen in arms.items() if seen.ready and any(r.counts is None for r in seen.replicas)]
        error = f"no counters from the {' and '.join(lacking)} server" if lacking else None
        return View(
            arms, self.envoy.routed() or Routed({}), frozenset(self.models), error, limit, self.load.share if self.load is not None else 1.0
        )

    def launch(self, digest: str) -> None:
        """Start the model's server. Raises `SluiceError` where no package of this digest was given."""
        if digest in self.models:
            return
        if digest not in self.packages:
            raise SluiceError("no package of this digest was given", field="digest", value=digest)
        slo = f"{self.spec.latency_slo_ms:g}"
        command = [*self.server, str(self.packages[digest]), "--name", self.name, "--slo-ms", slo, "--digest", digest]
        model = Model(command, self.root / f"server-{digest[:12]}.log", self.spec.latency_slo_ms / 1e3, self.requests)
        self.models[digest] = model
        model.start()

    def route(self, weights: Mapping[str, int], mirror: str | None) -> None:
        """Have Envoy split by these weights, and the two models compared while copies are sent."""
        if not weights and self.load is not None:
            # A first model that is rolled back: nobody takes its place, so there is nothing to replay and nowhere to send it.
            self.load.stop(wait=_DRAIN)
        self._send(weights, mirror)
        if weights and self.load is not None:
            self.load.ease()
        if mirror is not None and self._stable in self.models and mirror in self.models and self._mirror != mirror:
            assert self._stable is not None
            self._comparison = Comparison(self.requests)
            self._comparison.start(self.models[self._stable].address, self.models[mirror].address)
        elif mirror is None and self._comparison is not None:
            self._comparison.stop()
        self._mirror = mirror

    def retire(self, digest: str) -> None:
        """Stop the model's server once nothing is in flight to it, or after a while."""
        model = self.models.get(digest)
        if model is None:
            return
        began = self._draining.setdefault(digest, time.monotonic())
        if self.envoy.active(digest) > 0 and time.monotonic() - began < _DRAIN:
            return
        del self.models[digest], self._draining[digest]
        self._again()
        model.stop()

    def _send(self, weights: Mapping[str, int], mirror: str | None) -> None:
        self.envoy.route(
            {d: m.address for d, m in self.models.items()},
            weights,
            mirror,
            self._stable,
            self.spec.shadow.percent,
            {d: m.grpc for d, m in self.models.items()},
        )

    def _again(self) -> None:
        """The same weights, over the addresses of now."""
        routed = self.envoy.routed()
        if routed is not None:
            self._send(routed.weights, routed.mirror)

    def begin(self, load: Load) -> None:
        """Send the load, once there is a route for it; one that is sent already is sent on."""
        if self.load is None and self.envoy.routed() is not None:
            self.load = load
            load.start()

    def _arm(self, digest: str, arm: str) -> Arm:
        model = self.models.get(digest)
        if model is None:
            return Arm(exists=False)
        port = model.address[1]
        seen = model.look(revive=arm == "stable")
        if model.address[1] != port:
            self._again()
        more = [Replica("replay", counts=self.load.truth(digest))] if self.load is not None else []
        if self._comparison is not None:
            more.append(Replica("comparison", counts=self._comparison.counts(arm)))
        return replace(seen, replicas=(*seen.replicas, *more))


def run_local(
    name: str,
    spec: RolloutSpec,
    *,
    stable: Path | None,
    candidate: Path,
    server: Sequence[str],
    requests: Sequence[Request],
    home: Path,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    port: int = 0,
) -> RolloutResult:
    """Roll a package out on this machine, from the first copy of a request to all traffic, or back.

    Both models run as real server processes behind a real Envoy while `requests` are replayed. Where
    it stands, its audit trail and its result are kept under ``<home>/rollouts/<name>/``.

    Args:
        name: the model's name; requests name it in their paths.
        spec: the plan; its `replay` gives the load.
        stable: the package that serves now, None for the first model.
        candidate: the package to roll out.
        server: command of the server; the package and options are appended
            (``PACKAGE --name NAME --slo-ms MS --digest D --host H --port P --grpc-port G``).
        requests: to replay; `Request.label` where the truth is known.
        home: ``$SLUICE_HOME``.
        on_event: told of every note (``kind`` phase, verdict, command), look and fault.
        port: where Envoy listens; 0 takes any.

    Raises:
        PackageError: a package cannot be read. HomeError: another process rolls out this name.
        ProjectError: the replayed traffic gives no verdict in time; the package may be tried again.
        SluiceError: the *stable* model cannot be served, or Envoy not started.
    """
    new = package.read(candidate)
    old = package.read(stable) if stable is not None else None
    if old is not None and old.digest == new.digest:
        return RolloutResult("promoted", ("this package already is the stable model",), {"stable": old.digest, "candidate": new.digest})
    plan = spec.model_copy(update={"step_deadline_seconds": deadline(spec), "keep_seconds": 0.0})
    store = Store(home, name)
    with store.held():
        store.fresh()
        packages = {new.digest: candidate} | ({old.digest: old.root} if old else {})
        backend = LocalBackend(store.root, name, server, packages, plan, requests, port)
        state, started = State(stable=old.digest if old else None), time.time()
        around = {"address": None, "load": None, "stable": old.digest if old else None, "candidate": new.digest, "desired": new.digest}
        if old:
            _check_time(name, plan, store, state, around)
        try:
            around["address"] = _begin(backend, plan, old.digest if old else None, beside=new.digest)
            load = _load(backend, requests, plan)
            driver = Driver(plan, backend, new.digest, state, store, on_event=on_event, around=lambda: {**around, "load": load.report()})
            state = _driven(driver, backend, load, _longest(plan))
            if state.held:
                raise _held(name, plan, "; ".join(state.reasons))
            result = _result(state, new.digest, old.digest if old else None, driver, load if load.sent else None, started, store)
        finally:
            backend.leave(state.stable)
        store.finish(asdict(result))
    return result


def _check_time(name: str, plan: RolloutSpec, store: Store, state: State, around: Mapping[str, Any]) -> None:
    """Raises `ProjectError` where what is replayed gives no verdict before a step's deadline; where it stands says so too."""
    if traffic.slowest(plan, {}, plan.replay.rate)[0] > plan.step_deadline_seconds:
        store.save(state, plan=plan.model_dump(mode="json"), started=time.time(), **around)
        raise _held(name, plan, traffic.said(plan, {}, plan.replay.rate))


def _begin(backend: LocalBackend, plan: RolloutSpec, stable: str | None, *, beside: str) -> str:
    """Where requests go: Envoy's address, the stable model behind it. Raises as `run_local`."""
    backend.start()
    if stable:
        _serve_stable(backend, stable, plan, beside=beside)
    return f"http://127.0.0.1:{backend.envoy.port}"


def _driven(driver: Driver, backend: LocalBackend, load: Load, seconds: float) -> State:
    """Where the rollout ended, the load sent as soon as there is a route for it."""
    backend.begin(load)
    state = driver.run(every=_EVERY, seconds=seconds, between=lambda: backend.begin(load))
    load.stop()
    return state


def _load(backend: LocalBackend, requests: Sequence[Request], plan: RolloutSpec) -> Load:
    address, replay = ("127.0.0.1", backend.envoy.port), plan.replay
    return Load(address, requests, replay.rate, connections=replay.connections, timeout=replay.timeout_seconds)


def deadline(spec: RolloutSpec) -> float:
    """Seconds a step may take on this machine: as set, else four times what it takes at the rate that is replayed, a minute at least and ten at most."""
    if spec.replay.step_deadline_seconds is not None:
        return spec.replay.step_deadline_seconds
    return min(max(_DEADLINE[0], 4 * traffic.slowest(spec, {}, spec.replay.rate)[0]), _DEADLINE[1])


def _held(name: str, plan: RolloutSpec, why: str) -> ProjectError:
    return ProjectError(
        f"no verdict is to be had: {why}",
        field="rollout.replay.rate",
        value=plan.replay.rate,
        fix=(
            f"`sluice rollout retry {name}`: on a less busy machine, or with --set rollout.replay.rate, rollout.replay.step_deadline_seconds, rollout.steps or rollout.minimum_requests; "
            "nothing was held against the candidate"
        ),
    )


def _serve_stable(backend: LocalBackend, digest: str, plan: RolloutSpec, beside: str) -> None:
    """The stable model must serve before anything is compared with it; the one `beside` it begins at the same time."""
    backend.launch(digest)
    with contextlib.suppress(SluiceError):  # it is launched, and looked at, again
        backend.launch(beside)

    def ready() -> bool:
        seen = backend.models[digest].look(revive=False)
        if seen.failure:
            raise SluiceError(
                f"the stable model cannot be served: it {seen.failure}",
                field="stable",
                value=digest,
                fix="roll back the registry's champion, or pass stable=None to start anew",
            )
        return seen.ready

    wait_until(ready, what="the stable model's server", seconds=plan.ready_seconds, log=backend.models[digest].log)
    backend.route({digest: 100}, None)
    wait_until(lambda: backend.envoy.routed() is not None, what="Envoy's first routes", seconds=20)


def _longest(plan: RolloutSpec) -> float:
    """No rollout takes longer, whatever happens: each wait's own deadline, added up and put off as far as it can be."""
    waits = 2 * plan.ready_seconds + (len(plan.steps) + 1) * (plan.step_deadline_seconds + plan.settle_seconds)
    return (1 + STRETCH) * (waits + plan.ready_seconds) + plan.warmup_seconds + plan.verify_seconds + 60


def _result(
    state: State, candidate: str, stable: str | None, driver: Driver, load: Load | None, started: float, store: Store
) -> RolloutResult:
    assert state.phase in TERMINAL or state.reported
    promoted = state.phase == "Succeeded" and state.stable == candidate
    reasons = state.reasons or ("ready and answering",)
    evidence = {
        "stable": stable,
        "candidate": candidate,
        "phase": state.phase,
        "seconds": round(time.time() - started, 3),
        "timeline": driver.timeline,
        "events": store.events(),
        "machine": {"limited": round(state.limited, 1), "limit": state.limit},
        "load": _by_arm(load, stable, candidate) if load else None,
    }
    return RolloutResult("promoted" if promoted else "rolled_back", reasons, evidence)


def _by_arm(load: Load, stable: str | None, candidate: str) -> dict[str, Any]:
    report = load.report()
    report["by_arm"] = {arm: report["by_arm"].get(d, 0) for arm, d in (("stable", stable), ("candidate", candidate)) if d}
    return report
