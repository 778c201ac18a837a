"""The controller as a process: kopf watches, a schedule decides what is reconciled when."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kopf

from serving.controller.reconciler import SOON
from serving.controller.rollouts.resource import COMMAND, OWNER
from sluice.kube.client import KubeFault
from sluice.kube.objects import GROUP, KINDS, VERSION

log = logging.getLogger("sluice.rollout")
Key = tuple[str, str]

_THREADS = 4
#: Seconds until the next time at most while it fails.
_PATIENCE = 10.0


class Schedule:
    """When each resource of a kind is reconciled next; never twice at once.

    Args:
        reconcile: once, blocking; returns the seconds until it is due again, or None.
        leading: whether this replica acts at all.
    """

    def __init__(self, reconcile: Callable[[str, str], float | None], leading: Callable[[], bool] = lambda: True):
        self.reconcile, self.leading = reconcile, leading
        self.due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._missed: dict[Key, int] = {}
        self._wake = asyncio.Event()
        self._known: dict[Key, Any] = {}
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="reconcile")

    def at(self, key: Key, when: float) -> None:
        """Have it reconciled at a moment of the monotonic clock, in place of when it was due."""
        self.due[key] = when
        heapq.heappush(self._heap, (when, key))
        self._wake.set()

    def seen(self, kind: str | None, body: Any) -> None:
        """A watch event of a resource. What we write ourselves (status) wakes nobody."""
        meta = body["metadata"]
        key = (meta["namespace"], meta["name"])
        if kind == "DELETED":
            self.due.pop(key, None)
            self._known.pop(key, None)
            self._missed.pop(key, None)
            return
        mark = (meta.get("uid"), meta.get("generation"), meta.get("deletionTimestamp"), (meta.get("annotations") or {}).get(COMMAND))
        if self._known.get(key) != mark:
            self._known[key] = mark
            self.wake(key)

    def wake(self, key: Key) -> None:
        """Reconcile it now, or once more if it is being reconciled."""
        if key in self._busy:
            self._again.add(key)
        else:
            self.at(key, time.monotonic())

    def known(self, key: Key) -> None:
        """Reconcile it now if it is known: something beside the API server has changed."""
        if key in self._known:
            self.wake(key)

    async def run(self) -> None:
        """Reconcile what is due, at most four tasks a thread at a time and each key once; it returns only by being cancelled."""
        tasks: set[asyncio.Task[None]] = set()
        while True:
            now = time.monotonic()
            while self._heap and self._heap[0][0] <= now and len(tasks) < 4 * _THREADS:
                when, key = heapq.heappop(self._heap)
                if self.due.get(key) != when or key in self._busy:
                    continue
                if not self.leading():
                    self.at(key, now + SOON)
                    break
                self._busy.add(key)
                task = asyncio.create_task(self._one(key))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            pause = max(0.02, min(1.0, self._heap[0][0] - now)) if self._heap else 1.0
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)

    async def _one(self, key: Key) -> None:
        # A server that refuses once will answer in a moment; one that keeps refusing is asked less and less.
        after: float | None = min(_PATIENCE, 2.0 ** min(self._missed.get(key, 0), 10))
        self._missed[key] = self._missed.get(key, 0) + 1
        try:
            after = await asyncio.get_running_loop().run_in_executor(self._pool, self.reconcile, *key)
            self._missed.pop(key, None)
        except KubeFault as e:
            log.warning("%s/%s: %s", *key, e)
        except Exception:
            # A fault in our own code must not stop the other resources.
            log.exception("%s/%s: it failed", *key)
        finally:
            self._busy.discard(key)
            if key in self._again:
                self._again.discard(key)
                after = 0.0
            if after is not None and key in self._known:
                self.at(key, time.monotonic() + after)
            elif key not in self._known or after is None:
                self.due.pop(key, None)
            self._wake.set()


def handlers(schedule: Schedule, others: Mapping[str, Schedule] | None = None) -> kopf.OperatorRegistry:
    """Watch only: kopf writes nothing to any object. `others`: more of our kinds, by plural."""
    registry = kopf.OperatorRegistry()

    kopf.on.login(registry=registry)(kopf.login_via_client)

    @kopf.on.startup(registry=registry)
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.peering.standalone = True
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 330
        settings.networking.error_backoffs = [1, 2, 5, 10]

    @kopf.on.event(GROUP, VERSION, KINDS["ModelRollout"][1], registry=registry)
    def rollout_seen(type: str | None, body: Any, **_: Any) -> None:
        schedule.seen(type, body)

    for plural, queue in (others or {}).items():

        @kopf.on.event(GROUP, VERSION, plural, id=plural, registry=registry)
        def resource_seen(type: str | None, body: Any, queue: Schedule = queue, **_: Any) -> None:
            queue.seen(type, body)

    @kopf.on.event("gateway.networking.k8s.io", "v1", "httproutes", labels={OWNER: kopf.PRESENT}, registry=registry)
    def route_seen(body: Any, **_: Any) -> None:
        # Someone edited our route by hand, or the gateway has taken it: either is worth reconciling for.
        key = (body["metadata"]["namespace"], body["metadata"]["labels"][OWNER])
        if key in schedule.due:
            schedule.wake(key)

    return registry


async def operate(schedule: Schedule, others: Mapping[str, Schedule] | None = None, *, namespaces: list[str], clusterwide: bool) -> None:
    """Run until stopped.

    Raises:
        Exception: what kopf ended by: a watch that the API server refused, or answered with errors for half a minute.
    """
    running = [asyncio.create_task(s.run()) for s in (schedule, *(others or {}).values())]
    try:
        await kopf.operator(registry=handlers(schedule, others), standalone=True, namespaces=namespaces, clusterwide=clusterwide)
    finally:
        for task in running:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
