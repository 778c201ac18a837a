"""What the controllers of all our kinds share: reading, the finalizer, who may write, a status as of what was read, and events."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from serving.controller.rollouts.resource import stamp
from sluice.core.errors import SluiceError
from sluice.kube.client import KubeFault, Object
from sluice.kube.objects import GROUP, VERSION, Objects

log = logging.getLogger("sluice.controller")

#: Seconds until a resource that was not finished with is reconciled again.
SOON = 2.0


class NotLeading(Exception):
    """The lease was lost: nothing more is written."""


class Reconciler(ABC):
    """Brings the world into agreement with resources of one kind, one at a time.

    Args:
        kube: the API. may_act: asked before every write. clock: wall-clock seconds.
    """

    kind: ClassVar[str]
    finalizer: ClassVar[str]
    #: Who tells events.
    component: ClassVar[str]

    def __init__(self, kube: Objects, *, may_act: Callable[[], bool] = lambda: True, clock: Callable[[], float] = time.time):
        self.kube, self.may_act, self.clock = kube, may_act, clock

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Reconcile one resource once.

        Returns:
            The seconds until it is due again, None when there is nothing to come back for.

        Raises:
            KubeFault: the API server does not answer or refuses; to be tried again later.
        """
        raw = self.kube.get(self.kind, namespace, name)
        if raw is None:
            self.forget(namespace, name)
            return None
        raw = {"apiVersion": f"{GROUP}/{VERSION}", "kind": self.kind, **raw}
        try:
            if raw["metadata"].get("deletionTimestamp"):
                return self._delete(raw)
            try:
                self.accept(raw)
            except SluiceError as why:
                return self.refuse(raw, why)
            return self.advance(self._claimed(raw))
        except NotLeading:
            return SOON

    # -- what a kind does

    @abstractmethod
    def advance(self, raw: Object) -> float | None:
        """Act once on a resource that carries our finalizer. Returns and raises as `reconcile`; may raise `NotLeading`."""

    @abstractmethod
    def leave(self, raw: Object) -> float | None:
        """Undo what stands outside of the resource, which is being deleted. None when nothing is left, else seconds until it is asked again."""

    def accept(self, raw: Object) -> None:
        """Raises `SluiceError` for a resource that nothing is to be begun for."""
        return

    def refuse(self, raw: Object, why: SluiceError) -> float | None:
        """Say in the status why a resource is not accepted. Returns as `reconcile` does."""
        raise why

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is remembered of a resource that is gone."""
        return

    # -- what they share

    def acting(self) -> None:
        """Raises `NotLeading` unless this replica may write."""
        if not self.may_act():
            raise NotLeading

    def store(self, raw: Object, status: Object) -> bool:
        """Write the status as of what was read; False where someone was faster, or it is gone: then this time never happened."""
        self.acting()
        try:
            self.kube.replace_status({**raw, "status": status})
        except KubeFault as e:
            if e.status in (404, 409):
                return False
            raise
        return True

    def tell(self, raw: Object, kind: str, reason: str, message: str) -> None:
        """An Event of the resource; `kind` is ``Normal`` or ``Warning``."""
        log.info("%s %s/%s: %s: %s", self.kind, raw["metadata"]["namespace"], raw["metadata"]["name"], reason, message)
        self.kube.tell(raw, self.component, kind, reason, message, stamp(self.clock()))

    def _claimed(self, raw: Object) -> Object:
        """The resource with our finalizer."""
        known = raw["metadata"].get("finalizers") or []
        if self.finalizer in known:
            return raw
        return {**self._finalizers(raw, [*known, self.finalizer]), "apiVersion": raw["apiVersion"], "kind": self.kind}

    def _delete(self, raw: Object) -> float | None:
        meta = raw["metadata"]
        known = meta.get("finalizers") or []
        if self.finalizer not in known:
            return None
        self.acting()
        after = self.leave(raw)
        if after is not None:
            return after
        try:
            self._finalizers(raw, [f for f in known if f != self.finalizer])
        except KubeFault as e:
            if e.status != 404:
                raise
        self.forget(meta["namespace"], meta["name"])
        return None

    def _finalizers(self, raw: Object, value: list[str]) -> Object:
        self.acting()
        meta = raw["metadata"]
        patch = {"metadata": {"finalizers": value, "resourceVersion": meta["resourceVersion"]}}
        return self.kube.merge(self.kind, meta["namespace"], meta["name"], patch)
