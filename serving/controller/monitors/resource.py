"""The `ModelMonitor` resource: reading its spec, and what it is told by annotations."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from serving.controller.runs.resource import COMMAND, SpecError, source
from sluice.core import section
from sluice.core.cron import CronError
from sluice.core.errors import ProjectError, SluiceError
from sluice.kube.client import Object
from sluice.kube.objects import GROUP, VERSION
from sluice.monitor.config import MonitorConfig, Retrain
from sluice.monitor.retrain import Event, Run, State

FINALIZER = f"{GROUP}/monitor"
#: Of a PipelineRun: the monitor that made it, and why.
MADE_BY, REASON = f"{GROUP}/monitor", f"{GROUP}/reason"
#: Annotations that ask for a retraining, one a request: what a webhook brought, kept until it is decided on.
ASKED = f"asked.{GROUP}/"
#: How many of them may wait; any retraining answers them all.
MOST_ASKED = 16
#: The sections of `monitor:` that a spec has too.
WATCH = tuple(name for name in MonitorConfig.model_fields if name != "retrain")


@dataclasses.dataclass(frozen=True)
class Monitor:
    """A `ModelMonitor` as it was read.

    Attributes:
        model: its name in the log. rollout: whose stable model is watched, or "". package: (uri, digest) that is, or None.
        log: where the log is. every: seconds between looks. most: rows of one look.
        watch: the windows, and what counts as drift. floor: of quality; None: none is asked for. labels: the log that holds the labels, or "":
            the same; within: hours that a label may come late. policy: when to train again; None: never.
        alerts, events: what may ask for a retraining. run: the PipelineRun's spec.
    """

    raw: Object
    name: str
    namespace: str
    uid: str
    model: str
    rollout: str
    package: tuple[str, str] | None
    log: str
    suspended: bool
    every: float
    most: int
    watch: MonitorConfig
    labels: str
    within: float
    policy: Retrain | None
    alerts: tuple[str, ...]
    events: tuple[str, ...]
    run: Object

    @property
    def status(self) -> Object:
        """As it stands."""
        return self.raw.get("status") or {}

    @property
    def state(self) -> State:
        """What the next decision starts from."""
        kept = self.status.get("retraining")
        return State.from_dict(kept) if kept else State(self.name, self.uid)

    @property
    def floor(self) -> float | None:
        """Of quality: `spec.quality`'s, else what a retraining is asked for by."""
        again = self.policy.quality if self.policy is not None else None
        return self.watch.quality.floor if self.watch.quality.floor is not None else again.floor if again is not None else None

    @property
    def command(self) -> str:
        """The annotation that asks for a retraining by hand, unless it was acted on."""
        value = str((self.raw["metadata"].get("annotations") or {}).get(COMMAND) or "")
        return value if value.partition("#")[0] == "retrain" and value != self.status.get("handled") else ""

    def asked(self, now: float) -> dict[str, Event]:
        """The requests that wait, by annotation."""
        found = {}
        for key, value in (self.raw["metadata"].get("annotations") or {}).items():
            if key.startswith(ASKED):
                found[key] = _request(key, value, now)
        return found


def monitor(raw: Object) -> Monitor:
    """Raises `SluiceError` naming the field."""
    spec, meta = raw["spec"], raw["metadata"]
    package, again = spec.get("package"), spec.get("retrain")
    if bool(package) == bool(spec.get("rollout")):
        raise SluiceError(
            "has to be named, by one of them", field="spec.rollout or spec.package", fix="name the rollout whose model serves"
        )
    for field, where in (("spec.log", spec["log"]), ("spec.labels.log", (spec.get("labels") or {}).get("log") or "")):
        _readable(field, str(where))
    watch = _checked(MonitorConfig, {k: _snake(spec[k]) for k in WATCH if k in spec}, "spec")
    if watch.quality.detector != "page_hinkley":
        raise SluiceError(
            "is none that the controller has: its image carries no river",
            field="spec.quality.detector",
            value=watch.quality.detector,
            fix="page_hinkley, or ask sluice diagnose with monitor.quality.detector=adwin",
        )
    policy = None
    if again is not None:
        policy = _checked(Retrain, {k: v for k, v in _snake(again).items() if k not in ("alerts", "events", "run")}, "spec.retrain")
        try:
            source(again.get("run") or {})
        except SpecError as e:
            field = (e.field or "spec").replace("spec", "spec.retrain.run", 1)
            raise SluiceError(e.message, field=field, fix=e.fix) from e
    return Monitor(
        raw,
        meta["name"],
        meta["namespace"],
        meta["uid"],
        spec["model"],
        spec.get("rollout") or "",
        (package["uri"], package["digest"].removeprefix("sha256:")) if package else None,
        spec["log"].rstrip("/"),
        bool(spec.get("suspend")),
        float(spec.get("intervalSeconds", 30)),
        int(spec.get("rowsPerLook", 200_000)),
        watch,
        str((spec.get("labels") or {}).get("log") or "").rstrip("/"),
        float((spec.get("labels") or {}).get("withinHours", 168)),
        policy,
        tuple((again or {}).get("alerts") or ()),
        tuple((again or {}).get("events") or ()),
        dict((again or {}).get("run") or {}),
    )


def _readable(field: str, where: str) -> None:
    """A folder is one of the controller's own machine; a claim is mounted by none of its pods. Raises `SluiceError`."""
    if "://" in where and not where.startswith("s3://"):
        raise SluiceError(
            "is where the controller cannot read: it mounts no volume and reads logs from an object store alone",
            field=field,
            value=where,
            fix="have the servers log to s3://bucket/prefix, or watch it by the pipeline sluice-monitoring, whose steps mount the claim",
        )


def pipeline_run(item: Monitor, run: Run) -> Object:
    """The `PipelineRun` of a retraining."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "PipelineRun",
        "metadata": {
            "name": run.name,
            "namespace": item.namespace,
            "labels": {MADE_BY: item.name[:63].rstrip("-.")},
            "annotations": {MADE_BY: f"{item.name}/{item.uid}/{run.number}", REASON: f"{run.reason}: {run.why}"[:1000]},
        },
        "spec": item.run,
    }


def outcome(status: Mapping[str, Any]) -> tuple[str, str] | None:
    """What a PipelineRun came to, as the decision knows it, and why; None while it goes on."""
    phase, word = str(status.get("phase") or ""), str(status.get("outcome") or "")
    if phase not in ("Succeeded", "Failed", "Terminated"):
        return None
    why = str(status.get("message") or "")
    if word.startswith("StoppedByGate") or word == "Refused":
        return "refused", why or word
    if phase == "Succeeded" and word in ("", "Completed", "Promoted"):
        return (word or "Completed").lower(), why
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word or phase).lower(), why


def _request(key: str, value: str, now: float) -> Event:
    """A request out of an annotation; one that says nothing readable asks all the same, by hand of whoever wrote it."""
    try:
        told = json.loads(value)
        by, why, at = str(told["by"]), str(told.get("why") or "")[:500], float(told["at"])
    except (ValueError, KeyError, TypeError):
        by, why, at = "event", "", now
    return Event("asked", min(at, now), id=key.removeprefix(ASKED), by=by if by in ("alert", "event") else "event", why=why)


def _snake(value: Any) -> Any:
    """Keys as a project file spells them; what stands below `columns` is named by the user."""
    if isinstance(value, Mapping):
        return {
            re.sub(r"(?<=[a-z])([A-Z])", lambda m: "_" + m[1].lower(), k): {n: _snake(v) for n, v in inner.items()}
            if k == "columns" and isinstance(inner, Mapping)
            else _snake(inner)
            for k, inner in value.items()
        }
    return [_snake(v) for v in value] if isinstance(value, list) else value


def _checked(kind: type[Any], raw: Object, where: str) -> Any:
    """Strict as in a project file, but that a whole number may stand for a fraction, as JSON has it. Raises `SluiceError`."""
    try:
        return kind.model_validate(raw)
    except CronError as e:
        field = (e.field or "").replace("monitor.retrain", where).replace("time_zone", "timeZone")
        raise SluiceError(e.message, field=field, value=e.value, fix=e.fix) from e
    except ValidationError as e:
        told: ProjectError = section.explain(e, kind, tuple(where.split(".")), "ModelMonitor")
        raise told from e
