"""Leader election by a Lease: of several replicas one acts, and stops before another may start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from sluice.kube.client import KubeFault, Object
from sluice.kube.objects import Objects


class Leadership:
    """Takes and renews a ``coordination.k8s.io`` Lease in a thread of its own.

    A holder counts itself leader only until `seconds` after the last renewal *it began*, less a
    margin; others take the Lease only after its renew time has not changed for `seconds` on their
    own clock. So clocks need not agree, and two replicas never act at once.

    Args:
        kube: the API. namespace, name: of the Lease. identity: of this replica.
        seconds: how long a renewal lasts.
    """

    def __init__(
        self, kube: Objects, namespace: str, name: str, identity: str, *, seconds: float = 15.0, clock: Callable[[], float] = time.monotonic
    ):
        self.kube, self.namespace, self.name, self.identity, self.seconds, self.clock = kube, namespace, name, identity, seconds, clock
        self._until = float("-inf")
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0
        self._halt = threading.Event()
        self._thread: threading.Thread | None = None

    def leading(self) -> bool:
        """Whether this replica may act now."""
        return self.clock() < self._until

    def start(self) -> None:
        """Take and renew in a thread."""
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give the Lease up, so that another replica need not wait."""
        self._halt.set()
        if self._thread is not None:
            self._thread.join(10)
        if self.leading():
            self._until = float("-inf")
            try:
                lease = self.kube.get("Lease", self.namespace, self.name)
                if lease and lease["spec"].get("holderIdentity") == self.identity:
                    lease["spec"]["holderIdentity"] = ""
                    self.kube.replace(lease)
            except KubeFault:
                # It runs out by itself.
                return

    def _run(self) -> None:
        while not self._halt.wait(self.seconds / 4):
            self.attempt()

    def attempt(self) -> bool:
        """One try to take or renew. Returns whether this replica leads."""
        begun = self.clock()
        try:
            lease = self.kube.get("Lease", self.namespace, self.name)
            if lease is None:
                self.kube.create("Lease", self.namespace, self._lease())
            else:
                spec = lease.get("spec") or {}
                holder = spec.get("holderIdentity") or ""
                if holder not in ("", self.identity) and not self._expired(holder, spec.get("renewTime") or ""):
                    return False
                lease["spec"] = {**spec, **self._lease()["spec"]}
                # With the version that was read: of two replicas that try at once, one gets a conflict.
                self.kube.replace(lease)
        except KubeFault:
            return self.leading()
        self._until = begun + self.seconds * 0.8
        return True

    def _expired(self, holder: str, renewed: str) -> bool:
        if self._seen != (holder, renewed):
            self._seen, self._seen_at = (holder, renewed), self.clock()
        return self.clock() - self._seen_at > self.seconds

    def _lease(self) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {"holderIdentity": self.identity, "leaseDurationSeconds": int(self.seconds), "renewTime": now},
        }
