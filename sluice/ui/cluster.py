"""A namespace of a cluster, as the pages show it: its own resources, MLflow and Kubeflow Pipelines, each asked with the rights of whoever runs the page."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sluice.audit.log import open_log
from sluice.core.errors import SluiceError
from sluice.core.home import Home
from sluice.kfp import runs as reading
from sluice.kfp.answers import timestamp
from sluice.kfp.client import Api
from sluice.kfp.connection import connect
from sluice.kfp.runs import Watch
from sluice.kfp.submit import user_namespace
from sluice.kube.client import Kube, KubeFault
from sluice.kube.objects import Objects
from sluice.promotion import cluster as asking
from sluice.promotion import config
from sluice.promotion.rollback import Asked, Back, roll_back
from sluice.registry.rest import Rest
from sluice.registry.versions import Registry
from sluice.report import page as reports
from sluice.rollouts import cluster as rollouts
from sluice.steps import step as steps
from sluice.ui import monitors
from sluice.ui.home import HomePlace, fault, texts
from sluice.ui.index import figures, named, project_of
from sluice.ui.shape import PAGE, Forbidden, Missing, Page, RunLine, RunView, StepLine, rollout_of

#: Seconds for which what Kubeflow Pipelines said is good enough, and to wait for an answer; runs that are looked through.
_FRESH, _READ, _MOST = 5.0, 10.0, 1000
#: States of a run in Kubeflow Pipelines, in the words of ours.
_STATES = {"SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELED": "failed", "CANCELING": "running", "SKIPPED": "failed"}
_COMMAND = "sluice.dev/command"


class ClusterPlace(HomePlace):
    """A namespace.

    Args:
        namespace: whose. home: for the audit log's address and ``environments.yaml``. endpoint, context: of Kubeflow Pipelines, and the kubeconfig's.
    """

    cluster = True
    outcomes = ("succeeded", "failed", "running")

    def __init__(self, namespace: str, home: Home, *, endpoint: str | None = None, context: str | None = None):
        super().__init__(home)
        self.namespace, self.endpoint, self.context = namespace, endpoint, context
        self.where = namespace
        self._objects: Objects | None = None
        self._api: Api | None = None
        self._runs: tuple[float, list[dict[str, Any]]] = (float("-inf"), [])
        self._known: dict[str, RunLine] = {}
        self._learning: threading.Thread | None = None
        self._lock = threading.Lock()

    # -- Kubernetes

    def objects(self) -> Objects:
        """The API server. Raises `KubeFault`, `MissingExtra`."""
        if self._objects is None:
            self._objects = Objects(Kube(self.context, read=_READ))
        return self._objects

    def _list(self, kind: str) -> list[dict[str, Any]]:
        try:
            return [dict(rollouts.plain(item)) for item in self.objects().list(kind, self.namespace)]
        except KubeFault as e:
            raise _told(e, f"{kind}s of {self.namespace}") from e

    def rollouts(self) -> Sequence[Mapping[str, Any]]:
        """As `Place` says."""
        found = []
        for item in self._list("ModelRollout")[:500]:
            with contextlib.suppress(Missing, KeyError, TypeError, ValueError, AttributeError):
                found.append(rollout_of(rollouts.told(item)))
        return sorted(found, key=lambda r: (not r["running"], -float(r["updated"] or 0)))

    def rollout(self, name: str) -> Mapping[str, Any]:
        """As `Place` says."""
        try:
            raw = self.objects().get("ModelRollout", self.namespace, named(name))
        except KubeFault as e:
            raise _told(e, f"ModelRollout {self.namespace}/{name}") from e
        if raw is None:
            raise Missing(
                "there is no such ModelRollout",
                field=f"ModelRollout {self.namespace}",
                value=name,
                fix="the list of rollouts has those there are",
            )
        return rollout_of(rollouts.told(dict(rollouts.plain(raw))))

    def monitors(self) -> Sequence[monitors.Monitor]:
        """As `Place` says."""
        return [monitors.of_resource(raw) for raw in self._list("ModelMonitor")[: monitors.MOST]]

    def command(self, name: str, command: str, reason: str) -> None:
        """As `Place` says: by the annotation the controller watches."""
        notes = {_COMMAND: f"{command}#{time.time_ns()}", **asking.said(reason)}
        asking.patch(self.objects(), self.namespace, named(name), {"metadata": {"annotations": notes}})

    def rollback(self, model: str, environment: str, reason: str, dry_run: bool) -> Back:
        """As `Place` says; of an environment without a namespace of its own, the one that is looked at."""
        rules = config.read(self.home).get(environment, "environment")
        rules = rules if rules.namespace else rules.model_copy(update={"namespace": self.namespace, "context": self.context})
        return roll_back(Asked(model, environment, rules, reason, dry_run=dry_run), self.home, None, open_log(self.home))

    # -- MLflow

    def registry(self) -> Registry:
        """The one the environment names. Raises `SluiceError`."""
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not uri.startswith(("http://", "https://")):
            raise SluiceError(
                "names no MLflow",
                field="MLFLOW_TRACKING_URI",
                value=uri,
                fix="http://..., as `kubectl port-forward` of its service gives it",
            )
        if self._registry is None or self._registry[0] != uri:
            self._registry = (uri, Registry(uri, Rest(uri)))
        return self._registry[1]

    # -- Kubeflow Pipelines

    def api(self) -> Api:
        """The endpoint. Raises `SluiceError`."""
        if self._api is None:
            self._api = Api(connect(self.endpoint, namespace=self.namespace, context=self.context), timeout=_READ, tries=2)
        return self._api

    def _every(self) -> list[dict[str, Any]]:
        with self._lock:
            until, found = self._runs
            if time.monotonic() > until:
                api = self.api()
                found = api.runs(namespace=user_namespace(api), limit=_MOST)
                self._runs = (time.monotonic() + _FRESH, found)
            return found

    def projects(self) -> Sequence[str]:
        """As `Place` says."""
        return sorted({project_of(str(r.get("display_name") or "")) for r in self._every()})

    def runs(self, number: int, project: str, outcome: str) -> Page:
        """As `Place` says: runs by their state; what each came to stands there once its steps' logs have been read, which is done behind the page."""
        lines = [_line(r) for r in self._every()]
        lines = [r for r in lines if project in ("", r.project) and outcome in ("", r.outcome)]
        shown = lines[(number - 1) * PAGE : number * PAGE]
        self._learn([r.id for r in shown if r.outcome != "running" and r.id not in self._known])
        shown = [self._known.get(r.id, r) for r in shown]
        return Page(shown, number, len(lines) > number * PAGE, len(lines) if len(lines) < _MOST else None)

    def _learn(self, runs: Sequence[str]) -> None:
        """Read what these came to, one after another in the background, once a run: that has ended, so it stays."""
        with self._lock:
            if not runs or (self._learning is not None and self._learning.is_alive()):
                return
            self._learning = threading.Thread(target=self._read_all, args=(list(runs),), daemon=True)
            self._learning.start()

    def _read_all(self, runs: Sequence[str]) -> None:
        for name in runs:
            with contextlib.suppress(SluiceError):  # its own page tells why; the next look tries again
                self.run(name)

    def _watched(self, name: str) -> tuple[Watch, dict[str, Any]]:
        watch = Watch(self.api(), named(name))
        watch.read()
        return watch, watch.outcome() if watch.state in reading.TERMINAL else watch.so_far()

    def run(self, name: str) -> RunView:
        """As `Place` says, from what the steps' logs tell."""
        watch, outcome = self._watched(name)
        gates, states = {g.step: g for g in watch.gates}, outcome.get("states") or {}
        lines = [
            StepLine(n, n.replace("_", " "), gates[n].decision, gates[n].seconds, texts(list(gates[n].reasons)))
            if n in gates
            else StepLine(n, n.replace("_", " "), str(states.get(n, "not reached")).lower())
            for n in dict.fromkeys((*steps.NAMES, *gates))
        ]
        line = _line(watch.run)
        done = RunLine(
            **{
                **vars(line),
                "outcome": str(outcome["outcome"]),
                "digest": str(outcome.get("digest") or ""),
                "version": str(outcome.get("version") or ""),
                **((figures(gates["evaluate"].evidence) if "evaluate" in gates else None) or {}),
            }
        )
        if watch.state in reading.TERMINAL and len(self._known) < _MOST:
            self._known[line.id] = done
        url = str(outcome.get("url") or "")
        elsewhere = url if url.startswith(("http://", "https://")) else ""
        return RunView(
            done,
            lines,
            texts(outcome.get("reasons")),
            texts(outcome.get("cautions")),
            fault(outcome.get("error")),
            True,
            "",
            elsewhere,
            texts(outcome.get("next")),
        )

    def report(self, name: str) -> bytes:
        """As `Place` says: drawn from what the logs tell."""
        watch, outcome = self._watched(name)
        return reports.cluster_page(outcome | {"project": _line(watch.run).project}, list(watch.gates)).encode()


def _line(run: Mapping[str, Any]) -> RunLine:
    name = str(run.get("display_name") or run.get("run_id") or "")
    state = str(run.get("state") or "PENDING")
    began, ended = (_moment(run.get(k)) for k in ("created_at", "finished_at"))
    error = run.get("error") if isinstance(run.get("error"), Mapping) else {}
    why = str((error or {}).get("message") or "")[:300]
    took = ended - began if ended > began > 0 else None
    return RunLine(str(run.get("run_id") or ""), project_of(name), _STATES.get(state, "running"), ended or began, took, why=why, name=name)


def _moment(text: Any) -> float:
    with contextlib.suppress(SluiceError, ValueError, TypeError):
        return timestamp(str(text) if text else None)
    return 0.0


def _told(e: KubeFault, what: str) -> SluiceError:
    if e.status == 403:
        return Forbidden(
            f"the cluster does not let you read them: {e.message}", field=what, fix="ask for the role sluice-viewer, or another namespace"
        )
    if e.status == 404:
        return SluiceError("this cluster does not know them", field=what, fix="kubectl apply -k manifests/crds")
    return SluiceError(f"the cluster did not answer: {e.message}" if e.status == 0 else f"{e.status} {e.message}", field=what, fix=e.fix)
