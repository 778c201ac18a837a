"""Reconciling a `PipelineSchedule`: its recurring run in Kubeflow Pipelines, and what that leaves to us."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from serving.controller.rollouts.resource import stamp
from serving.controller.runs import recurring, resource
from serving.controller.runs.reconciler import IDLE, PipelineReconciler
from serving.controller.runs.recurring import Action, Recurring, Run, Wanted
from serving.controller.runs.resource import Schedule
from sluice.core.cron import translated
from sluice.kfp.answers import need
from sluice.kfp.answers import timestamp as seconds
from sluice.kube.client import Object

#: A handful of rounds leads from anything to agreement.
_ROUNDS = 8
_WATCHING = 15.0


class Schedules(PipelineReconciler):
    """The controller of `PipelineSchedule`."""

    kind = "PipelineSchedule"

    def step(self, raw: Object) -> tuple[Object, float | None]:
        """Bring its recurring run into agreement, and tidy up behind it."""
        plan, now = resource.schedule(raw), self.clock()
        plan = replace(plan, source=self.settled(raw, plan.source))
        six, tick = translated(plan.cron, plan.zone, self.pipelines.zone, now)
        name, text = plan.source.resolve(self.kube, raw["metadata"]["namespace"])
        kfp, space = self.pipelines.kfp, self.pipelines.namespace(raw)
        pipeline = self.pipeline(raw, plan.source, name)
        newest = kfp.version_to_run(pipeline, plan.source.version)
        parameters = plan.source.filled(newest, text)
        # What a form is filled in with belongs to the version that asked for it.
        version = str(newest["pipeline_version_id"]) if plan.source.version or resource.has_form(newest) else ""
        wanted = Wanted(plan.digest(pipeline, version, parameters, six), six, tick, plan.suspended, plan.catch_up)
        experiment = kfp.experiment_id(plan.title, space, create=False)
        if experiment is None:
            self.acting()
            experiment = kfp.experiment_id(plan.title, space)
        assert experiment is not None
        waiting = False
        found, runs = self.observe(raw, experiment)
        for _ in range(_ROUNDS):
            actions = recurring.reconcile(wanted, found, self.clock())
            waiting = any(a.kind == "wait" for a in actions)
            if waiting or not actions:
                break
            for action in actions:
                self.acting()
                if action.kind == "create":
                    kfp.create_recurring(self.body(plan, wanted, action, experiment, pipeline, version, parameters))
                else:
                    self.apply(action)
            found, runs = self.observe(raw, experiment)
        extra = recurring.tidy(runs, replace=plan.replace, succeeded=plan.succeeded, failed=plan.failed, remove=plan.remove)
        for action in extra:
            self.acting()
            self.apply(action)
        fields = self.status(plan, wanted, found, runs, waiting)
        going = any(r.active for r in runs)
        return fields, min(IDLE, recurring.LEAD if waiting else _WATCHING if going else IDLE, max(2.0, tick - now + _WATCHING))

    def observe(self, raw: Object, experiment: str) -> tuple[tuple[Recurring, ...], tuple[Run, ...]]:
        """The recurring runs this schedule made, and all runs they started; others in the experiment are none of ours."""
        prefix = resource.title(raw) + " "
        mine = [r for r in self.pipelines.kfp.recurring(experiment) if str(r.get("display_name", "")).startswith(prefix)]
        runs = tuple(_run(r) for r in self.pipelines.kfp.runs_of(experiment) if r.get("recurring_run_id"))
        return tuple(_recurring(r, prefix, runs) for r in mine), runs

    def apply(self, action: Action) -> None:
        """Do one action in Kubeflow Pipelines."""
        kfp = self.pipelines.kfp
        if action.kind in ("enable", "disable"):
            kfp.switch_recurring(action.id, action.kind == "enable")
        elif action.kind == "delete":
            kfp.delete_recurring(action.id)
        elif action.kind == "terminate" or action.kind == "archive" or action.kind == "remove":
            kfp.end_run(action.id, action.kind)

    def body(
        self, plan: Schedule, wanted: Wanted, action: Action, experiment: str, pipeline: str, version: str, parameters: dict[str, Any]
    ) -> Object:
        """The recurring run to make, disabled."""
        spec, space = plan.raw["spec"], self.pipelines.namespace(plan.raw)
        made: Object = {
            "display_name": f"{plan.title} {wanted.hash}",
            "experiment_id": experiment,
            "mode": "DISABLE",
            "no_catchup": not plan.catch_up,
            "description": f"PipelineSchedule {plan.title}: {spec['schedule']} {plan.zone.key}. Change it there; a change here is undone.",
            "max_concurrency": str(plan.together),
            "runtime_config": {"parameters": parameters},
            "pipeline_version_reference": {"pipeline_id": pipeline, **({"pipeline_version_id": version} if version else {})},
            "trigger": {"cron_schedule": {"cron": wanted.cron, "start_time": datetime.fromtimestamp(action.start, UTC).isoformat()}},
        }
        if plan.source.root:
            made["runtime_config"]["pipeline_root"] = plan.source.root
        if plan.source.service_account:
            made["service_account"] = plan.source.service_account
        return {**made, "namespace": space} if space else made

    def status(self, plan: Schedule, wanted: Wanted, found: tuple[Recurring, ...], runs: tuple[Run, ...], waiting: bool) -> Object:
        """The status's fields."""
        keeper = next((r for r in found if r.hash == wanted.hash and r.enabled), None)
        newest = sorted(runs, key=lambda r: (r.created, r.id), reverse=True)
        last = newest[0] if newest else None
        message = f"waiting until no tick is near before {wanted.hash} takes over" if waiting else ""
        left = [r for r in found if keeper and r.id != keeper.id]
        if left:
            message = f"{len(left)} earlier recurring run(s) will be deleted when their runs have ended"
        url = self.pipelines.url
        return {
            "phase": "Suspended" if plan.suspended else "Active" if keeper else "Pending",
            "message": message,
            "hash": wanted.hash,
            "cron": wanted.cron,
            "recurringRun": keeper.id if keeper else "",
            "url": url("recurringrun", keeper.id if keeper else ""),
            "active": sum(r.active for r in runs),
            **({} if plan.suspended else {"nextTime": stamp(wanted.tick)}),
            **({"lastTime": stamp(last.created), "lastState": last.state.capitalize(), "lastRun": last.id} if last else {}),
            "runs": [
                {"id": r.id, "name": r.name, "state": r.state, "time": stamp(r.created), "url": url("runs", r.id)} for r in newest[:5]
            ],
        }

    def undo(self, raw: Object) -> str | None:
        """Leave nothing that fires or runs."""
        kfp = self.pipelines.kfp
        experiment = kfp.experiment_id(resource.title(raw), self.pipelines.namespace(raw), create=False)
        if experiment is None:
            return None
        for _ in range(_ROUNDS):
            found, runs = self.observe(raw, experiment)
            actions = recurring.leave(found, runs)
            if not actions:
                return None
            for action in actions:
                if action.kind == "wait":
                    return "the schedule's runs to end"
                self.acting()
                self.apply(action)
        return "Kubeflow Pipelines to agree"


def _recurring(r: Object, prefix: str, runs: tuple[Run, ...]) -> Recurring:
    schedule = (r.get("trigger") or {}).get("cron_schedule") or {}
    key = need(r, "recurring_run_id", "GET recurringruns")
    mine = [run for run in runs if run.recurring == key]
    created = seconds(r.get("created_at"))
    return Recurring(
        key,
        str(r["display_name"]).removeprefix(prefix),
        r.get("status") == "ENABLED",
        str(schedule.get("cron", "")),
        created,
        seconds(schedule.get("start_time")) or created,
        sum(run.active for run in mine),
        max((run.created for run in mine), default=0.0),
    )


def _run(r: Object) -> Run:
    state = r.get("state") or ""
    return Run(
        need(r, "run_id", "GET runs"),
        "PENDING" if state in ("", "RUNTIME_STATE_UNSPECIFIED") else str(state),
        seconds(r.get("created_at")),
        str(r.get("display_name", "")),
        str(r.get("recurring_run_id") or ""),
    )
