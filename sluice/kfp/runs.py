"""A run on Kubeflow Pipelines, as far as REST tells: its tasks' states, and what its steps say in their logs.

REST gives neither a reason for a failure nor the outputs of a task, so decisions, evidence and errors
are read from the events the steps write to their output (`sluice.core.events`), through the API's own log endpoint: lines that
begin with the run's id, which nothing that was written before the run can hold.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sluice.core.errors import DeadlineError, SluiceError
from sluice.core.gate import REFUSAL, REPORT, Gate
from sluice.kfp.answers import timestamp
from sluice.kfp.client import Api
from sluice.kfp.connection import installation
from sluice.kfp.errors import EndpointFault, Unreachable
from sluice.kfp.submit import user_namespace
from sluice.kube.logs import PodLog
from sluice.steps.outcome import FAULT, conclude, last_exception
from sluice.steps.step import NAMES, OWN, in_order

TERMINAL = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_UNSETTLED = ("PENDING", "RUNNING", "CANCELING", "PAUSED")
#: Which state a step has when several of its tasks differ: the first of these.
_WORST = ("FAILED", "CANCELED", "RUNNING", "CANCELING", "PAUSED", "PENDING", "SUCCEEDED", "SKIPPED")
#: What has a driver, but is no step.
_BESIDE = ("root", REPORT, REFUSAL)
#: How KFP names what groups tasks.
_GROUPS = ("condition-", "for-loop-", "iteration-", "exit-handler-")
#: Argo's templates whose pods run a step; a pod is named WORKFLOW-TEMPLATE-HASH where its node is WORKFLOW-HASH. KFP names them by how
#: many annotations and labels the pod has (components.cluster: the third names the environment; compiled before, none), and whether it may be tried again.
_TEMPLATES = tuple(f"{extra}{again}system-container-impl" for extra in ("metadata-0-3-", "metadata-0-2-", "") for again in ("", "retry-"))


def step_states(run: Mapping[str, Any]) -> dict[str, str]:
    """Step -> state, in pipeline order; steps not reached are left out.

    KFP reports a task's driver, attempts and executor as tasks too; only those named for a step count.
    """
    found: dict[str, set[str]] = {}
    for task in _tasks(run):
        step = _step(task)
        state = str(task.get("state") or "")
        if step and state and state != "RUNTIME_STATE_UNSPECIFIED":
            found.setdefault(step, set()).add(state)
    return {s: next((w for w in _WORST if w in found[s]), "PENDING") for s in (*NAMES, *found) if s in found}


def failed_tasks(run: Mapping[str, Any]) -> list[str]:
    """Tasks that failed or were ended, of whatever pipeline; groups that failed with them, and what only tells the outcome, are left out."""
    found = (str(t.get("display_name") or "") for t in _tasks(run) if t.get("state") in ("FAILED", "CANCELED"))
    return [n for n in dict.fromkeys(found) if n in _driven(run) and n not in _BESIDE and not n.startswith(_GROUPS)]


def was_refused(run: Mapping[str, Any]) -> bool:
    """Whether a run failed because it was refused or rolled back, and the project lets that fail it: the same again would end the same."""
    return any(t.get("display_name") == REFUSAL and t.get("state") == "FAILED" for t in _tasks(run))


def was_terminated(run: Mapping[str, Any]) -> bool:
    """Whether somebody asked for a run's end: KFP then calls it FAILED, and keeps in its history that it was being cancelled."""
    history = (str(h.get("state")) for h in run.get("state_history") or () if isinstance(h, Mapping))
    return any(state in ("CANCELING", "CANCELED") for state in (*history, str(run.get("state"))))


def is_over(run: Mapping[str, Any]) -> bool:
    """Whether nothing more will come of a run's steps, while its own task that reports on them still runs.

    So it is once a task has failed, or was skipped, since a gate was shut; and when the last step is done. Not being started
    yet, as between two steps, is no end.
    """
    if str(run.get("state")) in (*TERMINAL, "CANCELING"):
        return True
    steps = _driven(run) - set(_BESIDE)
    for task in _tasks(run):
        name, state = str(task.get("display_name") or ""), task.get("state")
        if name in steps and (state in ("FAILED", "CANCELED", "SKIPPED") or (state == "SUCCEEDED" and _step(task) == NAMES[-1])):
            return True
        if state == "FAILED" and name.endswith("-driver") and name.removesuffix("-driver") in steps:
            return True
    return False


def pods(run: Mapping[str, Any], *, ended: bool = False) -> dict[str, tuple[str, ...]]:
    """Argo's nodes that may be steps' pods -> the names their pods may have; with `ended`, of those alone that are done.

    A step's task has a task `executor` below it: a pod, or, where it may be tried again, the parent of one
    pod a try. Tasks do not name their own nodes, only their children's.
    """
    tasks = _tasks(run)
    executors = [t for t in tasks if t.get("display_name") == "executor"]
    parents = [t for t in executors if t.get("child_tasks")]
    if len(parents) < len(executors):
        parents += [t for t in tasks if _step(t)]
    parents = [t for t in parents if t.get("state") in TERMINAL] if ended else parents
    found = {}
    for child in (c for t in parents for c in t.get("child_tasks") or ()):
        workflow, dash, number = str(child.get("pod_name") or "").rpartition("-")
        if dash and number.isdigit():
            found[f"{workflow}-{number}"] = tuple(f"{workflow}-{t}-{number}" for t in _TEMPLATES)
    return found


def seconds(run: Mapping[str, Any]) -> float:
    """How long a run took, or has taken so far."""
    start, end = timestamp(run.get("created_at")), timestamp(run.get("finished_at"))
    return max(0.0, (end or time.time()) - start) if start else 0.0


def _tasks(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((run.get("run_details") or {}).get("task_details") or [])


def _step(task: Mapping[str, Any]) -> str | None:
    return step_of(str(task.get("display_name") or ""))


def step_of(task: str) -> str | None:
    """The step of a task's name; null for a task of another kind, an attempt or a driver."""
    name = task.removeprefix(OWN).replace("-", "_")
    return name if name in NAMES or (task.startswith(OWN) and re.fullmatch(r"[a-z0-9_]+", name) and not name.endswith("_driver")) else None


def _driven(run: Mapping[str, Any]) -> set[str]:
    """Names of what has a driver, a pod that prepares it: tasks and groups, not their attempts and executors."""
    names = (str(t.get("display_name") or "") for t in _tasks(run))
    return {n.removesuffix("-driver") for n in names if n.endswith("-driver")}


def _failed_drivers(run: Mapping[str, Any]) -> Iterator[str]:
    """Steps whose driver, the pod that prepares theirs, has failed."""
    for task in _tasks(run):
        name = str(task.get("display_name") or "")
        if name.endswith("-driver") and task.get("state") == "FAILED" and (step := step_of(name.removesuffix("-driver"))):
            yield step


class Watch:
    """Reads a run again and again: events as they come, gates, the failure.

    A step that runs and has written nothing for `silence` seconds is pointed out once.

    Args:
        api: the endpoint.
        run_id: the run.
        on_event: called with each event a step wrote, once.
        patience: seconds the endpoint may be lost while a run is followed.
        last: how many bytes of a log are read, its last; null: all of it.
    """

    silence = 120.0

    def __init__(
        self,
        api: Api,
        run_id: str,
        on_event: Callable[[dict[str, Any]], None] = lambda event: None,
        *,
        patience: float = 300.0,
        last: int | None = None,
    ):
        self.api, self.run_id, self._on_event, self.patience, self.last = api, run_id, on_event, patience, last
        self.run: dict[str, Any] = {}
        self._logs: dict[str, PodLog] = {}
        self._gates: dict[str, Gate] = {}
        self._failure: dict[str, Any] | None = None
        self._started: dict[str, float] = {}

    @property
    def state(self) -> str:
        """The run's state, in the API's words."""
        return str(self.run.get("state") or "PENDING")

    @functools.cached_property
    def space(self) -> str:
        """The namespace of the run's pods, for hints: the user's where the installation has many users, else its own."""
        try:
            return user_namespace(self.api) or installation()
        except SluiceError:
            return self.api.connection.namespace or installation()

    @property
    def gates(self) -> list[Gate]:
        """The gates seen, in pipeline order."""
        return in_order(self._gates)

    def read(self, *, ended: bool = False) -> str:
        """Ask once for the run and its steps' output, with `ended` only of those that are done; returns the run's state. Raises `EndpointError`."""
        self.run = self.api.run(self.run_id)
        for node, names in pods(self.run, ended=ended).items():
            log = self._logs.setdefault(node, PodLog(str(self.run.get("run_id") or self.run_id)))
            if not log.finished:
                self._read_log(log, names, ended or self.state in TERMINAL)
        for step, state in step_states(self.run).items():
            if state == "RUNNING" and not ended:
                self._tell_start(step)
        return self.state

    def _tell_start(self, step: str) -> None:
        """Say that a step has started, and, once, that it has been silent for too long."""
        now = time.monotonic()
        if step not in self._started:
            self._started[step] = now
            self._on_event({"kind": "progress", "step": step, "data": {"text": "started"}})
        elif now - self._started[step] > self.silence and not any(log.step == step for log in self._logs.values()):
            self._started[step] = float("inf")
            self._on_event(
                {
                    "kind": "note",
                    "text": f"{step} has said nothing for {self.silence:g} s: is its image there, and room for it? "
                    f"kubectl -n {self.space} get pods -l pipeline/runid={self.run_id}",
                }
            )

    def follow(self, *, seconds: float, every: float = 2.0) -> dict[str, Any]:
        """Read until the run has ended; returns its outcome, as ``sluice run --json`` prints it.

        Raises:
            DeadlineError: it has not ended after `seconds`. EndpointError: the endpoint was lost.
        """
        end, lost = time.monotonic() + seconds, None
        while True:
            try:
                if self.read() in TERMINAL:
                    break
                lost = None
            except (Unreachable, EndpointFault) as e:
                lost = lost or time.monotonic()
                if time.monotonic() - lost > self.patience:
                    raise
                self._on_event({"kind": "note", "text": f"the endpoint {e.message}; trying again"})
            if time.monotonic() > end:
                raise DeadlineError(
                    f"the run has not ended after {seconds:g} s; it goes on",
                    field=self.run_id,
                    value=self.state,
                    fix="sluice submit --timeout SECONDS; or terminate it in the dashboard",
                )
            time.sleep(every)
        self.settle()
        return self.outcome()

    def settle(self, tries: int = 6, every: float = 1.0) -> None:
        """Read again until no step is said to be running: right after the end some still are."""
        for _ in range(tries):
            if not any(s in _UNSETTLED for s in step_states(self.run).values()):
                return
            time.sleep(every)
            self.read()

    def so_far(self) -> dict[str, Any]:
        """What is known of a run that still goes on."""
        return {"outcome": "running", "exit_code": None, "reasons": []} | self._facts(step_states(self.run))

    def is_known(self) -> bool:
        """Whether it can be told what the run came to: its last step's decision was read, or a failure is to be seen."""
        return self._failure is not None or self._went_wrong() or self._decided(self.gates, step_states(self.run))

    def failed_quietly(self) -> bool:
        """Whether a step failed and no event of its own says why."""
        return self._failure is None and self._went_wrong()

    def unread(self) -> list[str]:
        """Steps that are done, but whose decision was not read: answered from the cache, or with their pods and logs out of reach."""
        told = {g.step for g in self.gates} | {(self._failure or {}).get("step")}
        return [s for s, state in step_states(self.run).items() if state == "SUCCEEDED" and s not in told]

    def cached(self) -> int:
        """How many tasks were answered from the cache: these ran no pod and said nothing."""
        return sum(t.get("display_name") == "executor" and t.get("state") == "SKIPPED" for t in _tasks(self.run))

    def _went_wrong(self) -> bool:
        """Whether the run failed, and not because a refusal is to fail it; to be told while it still reports on itself, too."""
        if failed_tasks(self.run) or any(_failed_drivers(self.run)):
            return True
        return self.state in ("FAILED", "CANCELED", "CANCELING") and not self._decided(self.gates, step_states(self.run))

    def outcome(self) -> dict[str, Any]:
        """What the run came to."""
        states = step_states(self.run)
        failure = self._failure
        if failure is None and self._went_wrong():
            failure = self._unexplained(states)
        gates = self.gates
        if failure is None and not self._decided(gates, states):
            failure = {
                "message": "the run succeeded, but what its last step decided can no longer be read: its pod and log are gone",
                "fix": "look at the run's page; keep pods or archive logs for longer",
                "exit_code": FAULT,
            }
        return conclude(gates, failure) | self._facts(states)

    def _facts(self, states: Mapping[str, str]) -> dict[str, Any]:
        steps = [{"step": g.step, "decision": g.decision, "seconds": g.seconds, "reasons": list(g.reasons)} for g in self.gates]
        return {
            "run": self.run_id,
            "name": self.run.get("display_name"),
            "state": self.state,
            "states": dict(states),
            "steps": steps,
            "seconds": round(seconds(self.run), 1),
            "url": self.api.run_url(self.run_id),
        }

    def tail(self) -> list[str]:
        """The last lines of what failed, besides events: of the step that said so, else of one that ended without a word."""
        wanted = (self._failure or {}).get("step")
        for log in reversed([log for log in self._logs.values() if log.step not in _BESIDE]):
            if log.tail and (log.step == wanted if wanted else not log.finished):
                return list(log.tail)
        return []

    @staticmethod
    def _decided(gates: list[Gate], states: Mapping[str, str]) -> bool:
        """Whether the gates tell why the run ended where it did."""
        if not gates:
            return False
        return gates[-1].step == "rollout" or (gates[-1].decision == "refuse" and "rollout" not in _run(states))

    def _unexplained(self, states: Mapping[str, str]) -> dict[str, Any]:
        """A failure no step announced: a pod that could not start, was killed, or a run that was ended."""
        step = next((s for s, state in states.items() if state in ("FAILED", "CANCELED")), None)
        if was_terminated(self.run):
            return self._terminated(step, states)
        step = step or next((step_of(t) or t.replace("-", "_") for t in failed_tasks(self.run)), None)
        why = last_exception("\n".join(self.tail()))
        ended = {"FAILED": "failed"}.get(self.state, f"ended as {self.state}")
        unplaced = next((d for d in _failed_drivers(self.run)), None)
        if not states and unplaced is None:
            return {
                "step": None,
                "message": f"the run {ended} before its first step could start",
                "exit_code": FAULT,
                "fix": f"is there the service account it runs as? kubectl -n {self.space} describe workflow -l pipeline/runid={self.run_id}",
            }
        if step is None and unplaced:
            return {
                "step": unplaced,
                "message": f"{unplaced} could not be started: its driver failed",
                "exit_code": FAULT,
                "fix": f"kubectl -n {self.space} logs -l pipeline/runid={self.run_id} --prefix --tail=20 names the reason",
            }
        message = f"{step} failed" if step else f"the run {ended}"
        return {
            "step": step,
            "message": message + (f": {why}" if why else ""),
            "exit_code": FAULT,
            "fix": f"kubectl -n {self.space} get pods -l pipeline/runid={self.run_id}; the log's end is shown with it",
        }

    def _terminated(self, step: str | None, states: Mapping[str, str]) -> dict[str, Any]:
        """Somebody ended it: no fault of a step's, and what its steps had decided by then stands."""
        during = f" during {step}" if step else "" if states else " before its first step could start"
        rolling = "; its ModelRollout goes on: sluice rollout abort NAME ends that" if "rollout" in states else ""
        fix = f"start it again where that was not meant{rolling}"
        return {"step": step, "message": f"the run was terminated{during}", "exit_code": FAULT, "fix": fix}

    def _read_log(self, log: PodLog, names: tuple[str, ...], whole: bool) -> None:
        for pod in (log.pod,) if log.pod else names:
            text = self.api.log(self.run_id, pod, self.last)
            if text is not None:
                log.pod = pod
                for event in log.take(text, whole=whole):
                    self._see(event)
                return

    def _see(self, event: dict[str, Any]) -> None:
        step = event.get("step")
        if event["kind"] == "gate":
            evidence = dict(event.get("evidence") or {})
            if step == "rollout":  # an image older than this may not have said more than its decision
                ended = "promoted" if event["decision"] == "pass" else "rolled_back"
                evidence = {"outcome": ended, "digest": "", "version": ""} | evidence
            self._gates[event["step"]] = Gate(event["step"], event["decision"], tuple(event["reasons"]), evidence, event["seconds"])
            if self._failure and self._failure.get("step") == step:  # of the attempt before
                self._failure = None
        elif event["kind"] == "error" and step not in self._gates:
            self._failure = event
        self._on_event(event)


def _run(states: Mapping[str, str]) -> Iterator[str]:
    return (s for s, state in states.items() if state != "SKIPPED")
