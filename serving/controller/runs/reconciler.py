"""What the controllers of schedules and runs share: the installation of Kubeflow Pipelines, faults with backoff, and a status written only when it says something new."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from serving.controller.reconciler import SOON, Reconciler
from serving.controller.rollouts.resource import condition
from serving.controller.runs.resource import FINALIZER, Source, command
from sluice.core.errors import SluiceError
from sluice.kfp import site
from sluice.kfp.client import Api
from sluice.kfp.connection import Connection, read_token
from sluice.kfp.errors import EndpointError, NotFound, Rejected
from sluice.kfp.site import Site
from sluice.kube.client import KubeFault, Object
from sluice.kube.objects import GROUP, Objects

IDLE = 60.0
#: Seconds until a resource that cannot be used is read again: its ConfigMap or pipeline may be there then.
REFUSED = 60.0
_FIRST, _LONGEST = 5.0, 300.0


@dataclass(frozen=True)
class Installation:
    """A Kubeflow Pipelines and how it is used.

    Attributes:
        zone: the time zone its scheduler reads cron in (CRON_SCHEDULE_TIMEZONE). ui: where its dashboard is, empty if nowhere.
        multi_user: whether runs live in their resource's namespace; otherwise in Kubeflow Pipelines' own, `system`.
    """

    kfp: Api
    zone: ZoneInfo
    ui: str = ""
    multi_user: bool = False
    system: str = "kubeflow"

    def namespace(self, raw: Object) -> str:
        """Where the resource's runs live; empty where there is one user."""
        return str(raw["metadata"]["namespace"]) if self.multi_user else ""

    def logs(self, raw: Object, run: str) -> str:
        """A command that prints the logs of all of a run's steps, as it is pasted into any shell."""
        space = self.namespace(raw) or self.system
        return f"kubectl -n {space} logs -l pipeline/runid={run} --all-containers --prefix --tail=-1 --ignore-errors"

    def url(self, what: str, key: str) -> str:
        """A page of the dashboard; empty where none is known."""
        return f"{self.ui.rstrip('/')}/#/{what}/details/{key}" if self.ui and key else ""


def endpoint(url: str, token: Path | None, ca: Path | None, ui: str = "") -> Connection:
    """The way to an API server.

    Args:
        url: where it answers, ``http://ml-pipeline.kubeflow:8888``.
        token: a file with a bearer token, read anew for each call, since projected tokens rotate; it may come later.
        ca: a file with the certificate authority for https; the system's by default. ui: its dashboard.
    """
    bearer = (lambda: read_token(token, "--kfp-token")) if token else (lambda: None)
    return Connection(url.rstrip("/"), token=bearer, ca=str(ca) if ca else None, ui=ui or None, how="--kfp-endpoint")


def system_of(endpoint: str) -> str:
    """The namespace Kubeflow Pipelines is installed in, by its API server's address: ``ml-pipeline.kubeflow`` is a Service's name and namespace."""
    name, _, rest = (urlsplit(endpoint).hostname or "").partition(".")
    space, _, zone = rest.partition(".")
    inside = name and space and not space.isdigit() and (not zone or zone == "svc" or zone.startswith("svc."))
    return space if inside else "kubeflow"


class PipelineReconciler(Reconciler):
    """What the controllers of schedules and runs share; they hold nothing but how often in a row a resource failed.

    Args:
        kube: the API. pipelines: where runs run.
        may_act: asked before every write. clock: wall-clock seconds.
    """

    finalizer = FINALIZER
    component = "sluice-pipelines"

    def __init__(
        self, kube: Objects, pipelines: Installation, *, may_act: Callable[[], bool] = lambda: True, clock: Callable[[], float] = time.time
    ):
        super().__init__(kube, may_act=may_act, clock=clock)
        self.pipelines = pipelines
        self._failed: dict[tuple[str, str], int] = {}

    # -- what a kind does --------------------------------------------------------------------------

    @abstractmethod
    def step(self, raw: Object) -> tuple[Object, float | None]:
        """Act once. Returns the status's fields and the seconds until it is due again, None when all is done.

        Raises:
            EndpointError, SluiceError: told in the status.
        """

    @abstractmethod
    def undo(self, raw: Object) -> str | None:
        """Undo what stands in Kubeflow Pipelines. None when nothing is left, else what is waited for."""

    # -- what the environment says -----------------------------------------------------------------

    def settled(self, raw: Object, source: Source) -> Source:
        """What is to run, with the environment's defaults where the resource says nothing: account, and the pipeline for any project.

        Raises:
            EndpointError: Kubeflow Pipelines cannot be asked. ProjectError: the environment's ConfigMap is wrong.
        """
        namespace = raw["metadata"]["namespace"]
        found = self.kube.get("ConfigMap", namespace, site.NAME)
        if found is None:
            return source
        here = Site.parse(namespace, found.get("data") or {})
        return replace(
            source, service_account=source.service_account or str(here.cluster.get("service_account") or ""), fallback=here.pipeline
        )

    def pipeline(self, raw: Object, source: Source, name: str) -> str:
        """The id of the pipeline: the one that is named, or of the project's name, else the one for any project.

        Raises:
            NotFound: there is neither.
        """
        kfp, space = self.pipelines.kfp, self.pipelines.namespace(raw)
        try:
            return kfp.pipeline_id(name, space)
        except NotFound:
            if source.pipeline or not source.fallback:
                raise
            return kfp.pipeline_id(source.fallback, space)

    # -- reconciling -------------------------------------------------------------------------------

    def forget(self, namespace: str, name: str) -> None:
        """Its failures count no more."""
        self._failed.pop((namespace, name), None)

    def advance(self, raw: Object) -> float | None:
        """`step`, with what fails told in the status and tried again later and later."""
        key, old = (raw["metadata"]["namespace"], raw["metadata"]["name"]), raw.get("status") or {}
        try:
            fields, after = self.step(raw)
        except EndpointError as e:
            return self._write(
                raw,
                {**old, "phase": self.troubled(old, e), "message": str(e)},
                ("Synced", "False", e.reason, str(e)),
                self._backoff(key, e),
            )
        except KubeFault:
            raise
        except SluiceError as e:
            return self._write(
                raw, {**old, "phase": "Refused", "message": str(e)}, ("Accepted", "False", "SpecIsUnusable", str(e)), REFUSED
            )
        self._failed.pop(key, None)
        return self._write(raw, fields, ("Synced", "True", "InAgreement", ""), after)

    def troubled(self, old: Object, why: EndpointError) -> str:
        """The phase while Kubeflow Pipelines cannot be asked: what was, if anything was."""
        return str(old.get("phase") or "Pending")

    def _backoff(self, key: tuple[str, str], why: EndpointError) -> float:
        times = self._failed[key] = self._failed.get(key, 0) + 1
        # What was refused is refused again until something changes.
        return _LONGEST if isinstance(why, Rejected) else min(_LONGEST, _FIRST * 2.0 ** min(times - 1, 10))

    def _write(self, raw: Object, fields: Object, said: tuple[str, str, str, str], after: float | None) -> float | None:
        old, generation, now = raw.get("status") or {}, raw["metadata"].get("generation", 0), self.clock()
        known: list[Object] = list(old.get("conditions") or [])
        want = {c["type"]: (c["type"], c["status"], c["reason"], c.get("message", "")) for c in fields.pop("conditions", None) or []}
        want |= {c["type"]: (c["type"], c["status"], c["reason"], c.get("message", "")) for c in known if c["type"] not in want}
        if said[0] == "Synced":
            want["Accepted"] = ("Accepted", "True", "SpecIsUsable", "")
        want[said[0]] = said
        status = {
            **fields,
            "message": str(fields.get("message") or "")[:1000],
            "observedGeneration": generation,
            "conditions": [condition(known, *want[k], now=now, generation=generation) for k in sorted(want)],
        }
        if status == old:
            return after
        if not self.store(raw, status):
            # What was done is found the next time.
            return SOON
        before = next((c["status"] for c in known if c["type"] == said[0]), None)
        if said[1] == "False" and (before != "False" or old.get("message") != status["message"]):
            self.tell(raw, "Warning", said[2], status["message"])
        elif status.get("phase") != old.get("phase"):
            self.tell(
                raw,
                "Warning" if status.get("phase") == "Failed" else "Normal",
                str(status.get("phase")),
                status["message"] or f"is now {status.get('phase')}",
            )
        return after

    # -- leaving -----------------------------------------------------------------------------------

    def leave(self, raw: Object) -> float | None:
        """`undo`, unless the resource is to be abandoned."""
        asked, meta = command(raw), raw["metadata"]
        if asked and asked[1] == "abandon":
            return None
        try:
            return SOON if self.undo(raw) else None
        except EndpointError as e:
            waits = f"cannot be deleted yet: {e}\n  annotate {GROUP}/command=abandon to leave in Kubeflow Pipelines what is there"
            fields = {**(raw.get("status") or {}), "phase": "Terminating", "message": waits}
            return self._write(raw, fields, ("Synced", "False", e.reason, waits), self._backoff((meta["namespace"], meta["name"]), e))
