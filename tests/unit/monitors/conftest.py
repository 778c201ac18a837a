"""A monitor on a Kubernetes API in memory, with a log whose windows a test writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving.controller.monitors.gauges import Gauges
from serving.controller.monitors.memory import LogUnreadable
from serving.controller.monitors.reconcile import Monitors
from serving.controller.monitors.resource import Monitor
from serving.controller.monitors.seen import Seen, Watched
from sluice.kube.client import Kube
from sluice.kube.objects import Objects
from sluice.monitor.retrain import Event
from tests.unit.rollouts.memory_api import MemoryApi

Object = dict[str, Any]
DIGEST = "ab" * 32
RUN = {"pipeline": {"name": "digits"}, "parameters": {"train_epochs": 2}}
BASE = "/apis/sluice.dev/v1alpha1/namespaces/ns"


class Died(BaseException):
    """The controller was killed."""


class Log:
    """Stands where the reader does: window n has the score `scores[n]`, two of them a look. What it has read is in its memory alone."""

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.labelled = 0
        self.away = False
        self.judged: list[int] = []

    def __call__(self, item: Monitor, model: Watched, memory: bytes | None) -> Seen:
        if self.away:
            raise LogUnreadable("S3 cannot be reached", field="spec.log", value=item.log)
        done = json.loads(memory)["done"] if memory else 0
        new = self.scores[done : done + 2]
        self.judged += range(done, done + len(new))
        events = [Event("drift", 1000.0 + done + n, window=done + n, value=v, rows=500) for n, v in enumerate(new)]
        done += len(new)
        last = self.scores[done - 1] if done else None
        drifted = f"pixel is {last:g} away" if last is not None and last > 0.25 else ""
        return Seen(
            json.dumps({"done": done, "version": model.version}).encode(),
            2000.0,
            (*events, Event("rows", 0, value=self.labelled)),
            anew=memory is None,
            rows=500 * done,
            windows=done,
            labelled=self.labelled,
            newest=1000.0 + done,
            more=done < len(self.scores),
            drift=last,
            feature="pixel",
            scores={} if last is None else {"pixel": ("psi", last)},
            alarms=tuple((e.at, f"window {e.window} moved") for e in events if e.value > 0.25),
            drifted=drifted,
        )


class World:
    """Everything at one time."""

    def __init__(self, folder: Path) -> None:
        self.api, self.log, self.now, self.leading = MemoryApi(), Log(), 10_000.0, True
        self.folder = folder
        self.start()

    def start(self) -> None:
        """A controller that remembers nothing."""
        self.gauges = Gauges()
        more: Any = {"may_act": lambda: self.leading, "clock": lambda: self.now}
        self.controller = Monitors(Objects(Kube(client=self.api, pauses=())), self.log, self.gauges, **more)

    def put(self, name: str = "digits", **spec: Any) -> None:
        """Make the monitor."""
        whole = {"model": "digits", "log": str(self.folder), "package": {"uri": "s3://m/digits", "digest": DIGEST}, **spec}
        meta = {"name": name, "namespace": "ns", "uid": "uid-1"}
        whole = {k: v for k, v in whole.items() if v is not None}
        self.api.put(
            f"{BASE}/modelmonitors/{name}", {"kind": "ModelMonitor", "apiVersion": "sluice.dev/v1alpha1", "metadata": meta, "spec": whole}
        )

    def get(self, name: str = "digits") -> Object:
        return self.api.objects[f"{BASE}/modelmonitors/{name}"]

    @property
    def status(self) -> Object:
        return self.get().get("status") or {}

    def condition(self, kind: str) -> Object:
        return next(c for c in self.status["conditions"] if c["type"] == kind)

    def annotate(self, key: str, value: str) -> None:
        self.get()["metadata"].setdefault("annotations", {})[key] = value

    def runs(self) -> dict[str, Object]:
        return {p.rsplit("/", 1)[1]: o for p, o in self.api.objects.items() if "/pipelineruns/" in p}

    def end(self, name: str, phase: str, outcome: str, message: str = "") -> None:
        self.runs()[name]["status"] = {"phase": phase, "outcome": outcome, "message": message}

    def look(self, times: int = 1, name: str = "digits") -> float | None:
        after: float | None = None
        for _ in range(times):
            after = self.controller.reconcile("ns", name)
            self.now += after or 0.0
        return after


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
