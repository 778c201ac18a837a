"""Reconciling a `PipelineRun`: a run in Kubeflow Pipelines, followed to its end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from serving.controller.reconciler import SOON
from serving.controller.rollouts.resource import stamp
from serving.controller.runs import resource
from serving.controller.runs.reconciler import PipelineReconciler
from serving.controller.runs.recurring import ENDED
from serving.controller.runs.resource import PipelineRun
from sluice.core.errors import SluiceError
from sluice.core.gate import REFUSAL, REPORT
from sluice.kfp.answers import need
from sluice.kfp.answers import timestamp as seconds
from sluice.kfp.errors import Rejected
from sluice.kfp.runs import Watch, step_states, was_refused, was_terminated
from sluice.kube.client import Object

log = logging.getLogger("sluice.pipelines")

_EVERY = 10.0
_OVER = frozenset({"Succeeded", "Failed", "Terminated"})
#: How many steps and attempts a status names.
_SHOWN = 100
_GROUPS = ("condition-", "for-loop-", "iteration-")


@dataclass(frozen=True)
class Seen:
    """A run as Kubeflow Pipelines has it; `state` in the words of the API, `created` in seconds since the epoch.

    Attributes:
        refused: it is called failed because the project lets a refusal or a rollback fail it.
    """

    id: str
    state: str
    created: float = 0.0
    refused: bool = False


@dataclass(frozen=True)
class Plan:
    """What the decision needs of a resource.

    Attributes:
        attempt: the one that goes on, from 1. started: whether it was made once, as the status says.
        over: the phase, if it is a last one. since: when the resource was made; deadline: when it is given up.
        command: the one not acted on. ending: why the run is being ended, if it is.
    """

    attempt: int
    retries: int
    deadline: float
    started: bool = False
    over: str = ""
    command: Literal["retry", "terminate", ""] = ""
    ending: str = ""


@dataclass(frozen=True)
class Step:
    """What to do now: at most one call, and what the status will say.

    Attributes:
        call: ``create`` the attempt's run, ``terminate`` one, or nothing. id: whose.
    """

    phase: str
    attempt: int
    message: str = ""
    call: Literal["create", "terminate", ""] = ""
    id: str = ""
    ending: str = ""


def advance(plan: Plan, found: Sequence[Seen], now: float) -> Step:
    """The next step of a run. Pure: the same again until what it names is to be seen.

    Args:
        found: runs with the attempt's name, oldest first; more than one when a call was lost that had come through.
    """
    if plan.over:
        if plan.command == "retry":
            return Step("Pending", plan.attempt + 1, "tried again by command")
        return Step(plan.over, plan.attempt)
    doubles = [r for r in found[1:] if r.state not in ENDED and r.state != "CANCELING"]
    if doubles:
        return Step("Running", plan.attempt, "a second run of the same attempt is ended", "terminate", doubles[0].id)
    run = found[0] if found else None
    ending = plan.ending or ("Terminated" if plan.command == "terminate" else "DeadlineExceeded" if now > plan.deadline else "")
    if run is None:
        if ending:
            return Step("Terminated" if ending == "Terminated" else "Failed", plan.attempt, _ended(ending), ending=ending)
        if plan.started:
            return Step("Failed", plan.attempt, "the run is no longer in Kubeflow Pipelines: it was deleted there")
        return Step("Pending", plan.attempt, call="create")
    if run.state not in ENDED:
        if ending:
            return Step("Terminating", plan.attempt, _ended(ending), "" if run.state == "CANCELING" else "terminate", run.id, ending)
        return Step("Pending" if run.state == "PENDING" else "Running", plan.attempt)
    if run.state in ("SUCCEEDED", "SKIPPED"):
        return Step("Succeeded", plan.attempt)
    if ending:
        # A run that was ended is FAILED in Kubeflow Pipelines' words.
        return Step("Terminated" if ending == "Terminated" else "Failed", plan.attempt, _ended(ending), ending=ending)
    if run.state == "FAILED" and not run.refused and plan.attempt <= plan.retries:
        return Step("Pending", plan.attempt + 1, f"attempt {plan.attempt} failed; {plan.retries - plan.attempt + 1} left")
    return Step("Failed", plan.attempt, "canceled in Kubeflow Pipelines" if run.state == "CANCELED" else "")


def _ended(why: str) -> str:
    return "terminated by command" if why == "Terminated" else "given up: spec.timeoutSeconds are over"


class Runs(PipelineReconciler):
    """The controller of `PipelineRun`."""

    kind = "PipelineRun"

    def step(self, raw: Object) -> tuple[Object, float | None]:
        """Make, follow or end the attempt's run."""
        item, old, now = resource.run(raw), raw.get("status") or {}, self.clock()
        asked = item.command()
        plan = Plan(
            item.attempt,
            item.retries,
            seconds(raw["metadata"].get("creationTimestamp")) + item.timeout,
            started=bool(old.get("runId")),
            over=old["phase"] if old.get("phase") in _OVER else "",
            ending=old.get("ending", ""),
            command=asked[1] if asked and asked[1] != "abandon" else "",
        )
        if plan.over and not asked:
            return {**old, "conditions": None}, None
        if plan.over and plan.command != "retry":
            return {**old, "conditions": None, "handled": [*item.handled, asked[0]] if asked else list(item.handled)}, None
        if plan.over == "" and plan.command == "retry":
            # It has not failed yet: there is nothing to try again.
            plan = replace(plan, command="")
        experiment, found = self.find(item, create=False)
        if found and found[0].state == "FAILED":
            found[0] = replace(found[0], refused=was_refused(self.pipelines.kfp.run(found[0].id)))
        step = advance(plan, found, now)
        planned = int(old.get("planned") or 0)
        if step.call == "create":
            try:
                run, planned = self.create(item, experiment)
                found = [run]
            except Rejected as e:
                # Its parameters or its pipeline do not fit, and the spec cannot change.
                step = Step("Failed", step.attempt, f"Kubeflow Pipelines refused the run: {e.message}")
        elif step.call == "terminate":
            self.acting()
            self.pipelines.kfp.end_run(step.id, "terminate")
        handled = [*item.handled, asked[0]] if asked else list(item.handled)
        fields = self.status(item, step, found[0] if found else None, {**old, "planned": planned}, handled[-20:])
        if step.phase in _OVER:
            return fields, None
        return fields, SOON if step.call or step.attempt != plan.attempt else _EVERY

    def find(self, item: PipelineRun, *, create: bool) -> tuple[str | None, list[Seen]]:
        """The experiment's id and the runs with the attempt's name, oldest first."""
        kfp = self.pipelines.kfp
        experiment = kfp.experiment_id(item.experiment, self.pipelines.namespace(item.raw), create=create)
        if experiment is None:
            return None, []
        name = item.name(item.attempt)
        runs = [r for r in kfp.runs_of(experiment, archived=True, display_name=name) if r.get("display_name") == name]
        seen = [Seen(need(r, "run_id", "GET runs"), state_of(r), seconds(r.get("created_at"))) for r in runs]
        return experiment, sorted(seen, key=lambda r: (r.created, r.id))

    def create(self, item: PipelineRun, experiment: str | None) -> tuple[Seen, int]:
        """Makes the attempt's run. Returns it, and how many steps its pipeline declares."""
        kfp, space, raw = self.pipelines.kfp, self.pipelines.namespace(item.raw), item.raw
        source = self.settled(raw, item.source)
        name, text = source.resolve(self.kube, raw["metadata"]["namespace"])
        pipeline = self.pipeline(raw, source, name)
        version = kfp.version_to_run(pipeline, source.version)
        parameters = source.filled(version, text)
        self.acting()
        body: dict[str, Any] = {
            "display_name": item.name(item.attempt),
            "description": f"PipelineRun {resource.title(raw)}, attempt {item.attempt}",
            "experiment_id": experiment or kfp.experiment_id(item.experiment, space),
            "runtime_config": {"parameters": parameters},
            "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version["pipeline_version_id"]},
        }
        if source.root:
            body["runtime_config"]["pipeline_root"] = source.root
        if source.service_account:
            body["service_account"] = source.service_account
        made = kfp.create_run(body)
        return Seen(need(made, "run_id", "POST runs"), state_of(made), seconds(made.get("created_at"))), declared(version)

    def status(self, item: PipelineRun, step: Step, run: Seen | None, old: Object, handled: list[str]) -> Object:
        """The status's fields; a new attempt begins with none of the old one's."""
        fields: Object = {
            "phase": step.phase,
            "attempt": step.attempt,
            "handled": handled,
            "attempts": list(old.get("attempts") or []),
            **({"planned": old["planned"]} if old.get("planned") else {}),
            **({"ending": step.ending} if step.ending else {}),
        }
        message = step.message
        if run is not None:
            full = self.pipelines.kfp.run(run.id)
            shown = steps(full)
            begun, over = seconds(full.get("created_at")), seconds(full.get("finished_at"))
            fields |= {
                "runId": run.id,
                "url": self.pipelines.url("runs", run.id),
                "state": state_of(full),
                "startTime": stamp(begun),
                "logs": self.pipelines.logs(item.raw, run.id),
                "steps": shown,
                "running": ", ".join(s["name"] for s in shown if s["state"] == "RUNNING"),
                "progress": f"{sum(s['state'] in ENDED for s in shown)}/{max(len(shown), int(old.get('planned') or 0))}",
            }
            if over and step.phase in _OVER:
                fields |= {"endTime": stamp(over), "seconds": round(over - begun)}
            bad = [s["name"] for s in shown if s["state"] == "FAILED"]
            if step.phase == "Failed" and bad and not message:
                message = f"failed at {', '.join(bad)}; see the logs"
            fields["outcome"] = outcome(step.phase, full, shown)
            if step.phase in _OVER and not step.ending and step_states(full):
                word, why = self.told(run.id)
                refused = word in ("Refused", "RolledBack")  # of a run that fails for it, too
                if word and (refused or (word == "Failed") == (step.phase == "Failed")):
                    fields["outcome"], message = word, why or message
            attempt = {"attempt": item.attempt, "runId": run.id, "state": state_of(full), **({"failed": bad} if bad else {})}
            fields["attempts"] = [*(a for a in fields["attempts"] if a["attempt"] != item.attempt), attempt][-_SHOWN:]
            if step.attempt != item.attempt:
                for name in ("runId", "url", "state", "startTime", "logs", "steps", "running", "progress", "outcome"):
                    fields.pop(name)
        now = self.clock()
        succeeded = "True" if step.phase == "Succeeded" else "False" if step.phase in _OVER else "Unknown"
        return {
            **fields,
            "message": message,
            "conditions": [
                {
                    "type": "Succeeded",
                    "status": succeeded,
                    "reason": step.ending or step.phase,
                    "message": message,
                    "lastTransitionTime": stamp(now),
                }
            ],
        }

    def told(self, run: str) -> tuple[str, str]:
        """What a run of the training pipeline came to and why, from what its steps wrote; nothing where that cannot be read."""
        watch = Watch(self.pipelines.kfp, run)
        try:
            watch.read()
            watch.settle(tries=3)
            found = watch.outcome()
        except (SluiceError, OSError) as e:
            log.debug("what run %s came to cannot be read: %s", run, e)  # The states tell the rest.
            return "", ""
        word = "".join(w.capitalize() for w in str(found["outcome"]).split("_"))
        fix = (found.get("error") or {}).get("fix")
        return word, "; ".join(map(str, found["reasons"])) + (f"; fix: {fix}" if fix else "")

    def undo(self, raw: Object) -> str | None:
        """End the runs that go on."""
        try:
            item = resource.run(raw)
        except SluiceError:
            # Never usable, so never started.
            return None
        _, found = self.find(item, create=False)
        active = [r for r in found if r.state not in ENDED]
        for r in active:
            if r.state != "CANCELING":
                self.acting()
                self.pipelines.kfp.end_run(r.id, "terminate")
        return "the run to end" if active else None


def steps(run: Object) -> list[Object]:
    """A run's steps as people know them, in the order they began: drivers, attempts and groups left out.

    Args:
        run: from the API. Each step has a driver; so have the groups (conditions, loops), and the run's own task has none.
    """
    tasks = (run.get("run_details") or {}).get("task_details") or []
    driven = {
        str(t.get("display_name") or "").removesuffix("-driver") for t in tasks if str(t.get("display_name") or "").endswith("-driver")
    }
    found: dict[str, Object] = {}
    ended = state_of(run) in ENDED
    for task in tasks:
        name = str(task.get("display_name") or "")
        if name not in driven or name == "root" or name.startswith(_GROUPS):
            continue
        begun, over = seconds(task.get("start_time")), seconds(task.get("end_time"))
        state = str(task.get("state") or "PENDING")
        if ended and state in ("PENDING", "RUNNING"):
            # Right after the end some tasks still read as going on.
            state = "SKIPPED" if not begun else "SUCCEEDED" if state_of(run) == "SUCCEEDED" else "FAILED"
        step: Object = {"name": name, "state": state, **({"startTime": stamp(begun)} if begun else {})}
        if over > begun > 0:
            step["seconds"] = round(over - begun)
        found[name] = step
    return sorted(found.values(), key=lambda s: (s.get("startTime", "9"), s["name"]))[:_SHOWN]


def declared(version: Object) -> int:
    """How many steps a pipeline's version has: tasks that run a container, at any depth. Loops count once."""
    spec: Object = version.get("pipeline_spec") or {}
    spec = spec.get("pipeline_spec", spec)
    components = spec.get("components") or {}
    tasks = [t for part in (spec.get("root") or {}, *components.values()) for t in ((part.get("dag") or {}).get("tasks") or {}).values()]
    return sum("executorLabel" in (components.get((t.get("componentRef") or {}).get("name")) or {}) for t in tasks)


def outcome(phase: str, run: Object, shown: list[Object]) -> str:
    """In words what came of it: a gate's refusal is a success of the run, and what stands behind the gate was not run."""
    if phase != "Succeeded":
        return phase if phase in _OVER else ""
    tasks = (run.get("run_details") or {}).get("task_details") or []
    # Pipelines compiled before conditions were tasks' own have groups for them.
    shut = [t for t in tasks if str(t.get("display_name") or "").startswith("condition-") and t.get("state") == "SKIPPED"]
    own = [s for s in shown if s["name"] not in (REPORT, REFUSAL)]
    shut += [s for s in own if s["state"] == "SKIPPED"]
    done = [s["name"] for s in own if s["state"] == "SUCCEEDED"]
    if shut and done:
        return f"StoppedByGate after {done[-1]}"
    return "Completed"


def state_of(run: Object) -> str:
    """A run's state in the words of the API, one that somebody ended as CANCELED."""
    state = str(run.get("state") or "")
    if state == "FAILED" and was_terminated(run):  # a person's wish, which no retry undoes
        return "CANCELED"
    return "PENDING" if state in ("", "RUNTIME_STATE_UNSPECIFIED") else state
