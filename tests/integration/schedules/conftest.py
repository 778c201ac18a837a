"""Both controllers on a Kubernetes API in memory and a Kubeflow Pipelines that answers over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from serving.controller.kube import connect
from serving.controller.runs.reconciler import Installation, endpoint
from serving.controller.runs.runs import Runs
from serving.controller.runs.schedules import Schedules
from sluice.kfp.client import Api
from sluice.kube.client import KubeFault
from tests.integration.schedules.pipelines_server import Pipelines, serving
from tests.unit.rollouts.memory_api import MemoryApi

Object = dict[str, Any]
#: Midnight.
NOW = 1_799_971_200.0


class World:
    """Everything at one time; `look` is a look of whichever controller a resource is for."""

    plurals = {"PipelineSchedule": "pipelineschedules", "PipelineRun": "pipelineruns"}

    def __init__(self, url: str, state: Pipelines) -> None:
        self.state, self.api = state, MemoryApi()
        self.leading = True
        there = Installation(Api(endpoint(url, None, None, "http://ui.example.com"), tries=1), ZoneInfo("UTC"), "http://ui.example.com")
        kube = connect(self.api)
        more: Any = {"may_act": lambda: self.leading, "clock": lambda: self.state.now}
        self.controllers = {"PipelineSchedule": Schedules(kube, there, **more), "PipelineRun": Runs(kube, there, **more)}

    def path(self, kind: str, name: str) -> str:
        return f"/apis/sluice.dev/v1alpha1/namespaces/ns/{self.plurals[kind]}/{name}"

    def put(self, kind: str, spec: Object, name: str = "nightly") -> None:
        """Make it, or change its spec."""
        old = self.api.objects.get(self.path(kind, name))
        if old:
            self.api.put(self.path(kind, name), {**old, "spec": spec, "metadata": dict(old["metadata"])})
            return
        from tests.integration.schedules.pipelines_server import stamp

        meta = {"name": name, "namespace": "ns", "uid": f"{len(self.api.objects):08d}-aaaa", "creationTimestamp": stamp(self.state.now)}
        self.api.put(self.path(kind, name), {"kind": kind, "apiVersion": "sluice.dev/v1alpha1", "metadata": meta, "spec": spec})

    def get(self, kind: str, name: str = "nightly") -> Object | None:
        return self.api.objects.get(self.path(kind, name))

    def status(self, kind: str, name: str = "nightly") -> Object:
        found = self.get(kind, name)
        assert found
        return found.get("status") or {}

    def condition(self, kind: str, what: str, name: str = "nightly") -> Object:
        return next(c for c in self.status(kind, name)["conditions"] if c["type"] == what)

    def annotate(self, kind: str, value: str, name: str = "nightly") -> None:
        obj = self.api.objects[self.path(kind, name)]
        obj["metadata"].setdefault("annotations", {})["sluice.dev/command"] = value

    def delete(self, kind: str, name: str = "nightly") -> None:
        self.api.remove(self.path(kind, name))

    def look(self, kind: str, name: str = "nightly") -> float | None:
        return self.controllers[kind].reconcile("ns", name)

    def settle(self, kind: str, name: str = "nightly", times: int = 60, until: Callable[[], bool] | None = None) -> None:
        """Looks as the process would, waits and faults included, until nothing changes for two looks."""
        calm = 0
        for _ in range(times):
            before = (self.api.version, len([c for c in self.state.calls if c[0] != "GET"]))
            try:
                after = self.look(kind, name)
            except KubeFault:
                after = 10.0
            calm = calm + 1 if before == (self.api.version, len([c for c in self.state.calls if c[0] != "GET"])) else 0
            if until is not None and until():
                return
            if calm >= 2 and until is None:
                return
            self.state.pass_to(self.state.now + min(after or 1.0, 10.0))
        raise AssertionError(f"does not settle: {self.get(kind, name)}")


@pytest.fixture
def world() -> Iterator[World]:
    state = Pipelines(NOW)
    with serving(state) as url:
        yield World(url, state)
