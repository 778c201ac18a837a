"""One InferenceService with KServe's own ``spec.canary[]`` (Standard mode, KServe 0.21 with Gateway API)."""

from __future__ import annotations

from collections.abc import Mapping

from serving.controller.rollouts.backends.base import POD_OF, ClusterBackend
from serving.controller.rollouts.backends.gateway import accepted, for_grpc
from serving.controller.rollouts.resource import DIGEST
from sluice.core.errors import SluiceError
from sluice.kube.client import Object
from sluice.rollouts.backend import SPLIT, View
from sluice.rollouts.state import Arm, Routed

#: KServe's webhook refuses these in a canary, whose replicas are fixed.
_SCALING = ("maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling")


class KServeCanary(ClusterBackend):
    """KServe makes a Deployment ``{service}-{predictor.name}-predictor`` for each canary and weighs its own HTTPRoute.

    KServe's own route carries gRPC too where the container has a port for it (0.20); that counts as reachable where its weights are REST's.

    Weights are read back from that HTTPRoute, not from the InferenceService's status, which shows
    what was asked for. Promotion names the main predictor after the canary and drops the entry, so
    that no pod restarts.
    """

    MODE = "Standard"
    can = frozenset({SPLIT})
    _both = False

    def part(self, digest: str) -> str:
        """A predictor's name."""
        return f"m-{digest[:8]}"

    def observe(self, stable: str | None, candidate: str | None) -> View:
        """Arms by predictor, weights by KServe's own route."""
        service = self._service()
        declared = {d for d in (_digest(p) for p in _predictors(service)) if d}
        arms: dict[str, tuple[Arm, str | None]] = {}
        for arm, digest in (("stable", stable), ("candidate", candidate)):
            if digest:
                selector = f"{POD_OF}={self.rollout.name},sluice.dev/version={digest[:12]}"
                arms[arm] = self.arm(digest, selector, declared=service if digest in declared else None)
        return self.view(arms, Routed({}) if service is None else self._routed(declared), frozenset(declared))

    def made(self, name: str, digest: str) -> bool:
        """Whether a pod's maker is this predictor's."""
        return name.startswith(f"{self.rollout.name}-{self.part(digest)}-")

    def _service(self) -> Object | None:
        service = self.kube.get("InferenceService", self.rollout.namespace, self.rollout.name)
        return None if service is None or service["metadata"].get("deletionTimestamp") else service

    def _routed(self, declared: set[str]) -> Routed | None:
        route = self.kube.get("HTTPRoute", self.rollout.namespace, self.rollout.name)
        if route is None or not accepted(route):
            return None
        by_name = {f"{self.rollout.name}-{self.part(d)}-predictor": d for d in declared}
        weights: dict[str, int] = {}
        of_rest, of_grpc = ([r.get("backendRefs") or [] for r in route["spec"]["rules"] if for_grpc(r) == of] for of in (False, True))
        for ref in of_rest[-1]:
            if ref.get("weight", 1) > 0:
                weights[by_name.get(ref["name"], ref["name"])] = ref.get("weight", 1)
        parts = [[(r["name"], r.get("weight", 1)) for r in refs] for refs in (of_rest[-1], *of_grpc)]
        self._both = len(parts) == 2 and parts[0] == parts[1]
        total = sum(weights.values()) or 1
        return Routed({d: round(100 * w / total) for d, w in weights.items()})

    def protocols(self) -> tuple[str, ...]:
        """What users may speak to the models."""
        return ("REST", "gRPC") if self._both else self.spoken()

    def launch(self, digest: str) -> None:
        """Make the service, or its canary at 0 per cent."""
        service = self._service()
        main = _digest(service["spec"]["predictor"]) if service else None
        if main is None:
            self._apply(digest, None, 0)
        elif digest != main:
            self._apply(main, digest, 0)

    def route(self, weights: Mapping[str, int], mirror: str | None) -> None:
        """Set the canary's per cent; all of them make it the main predictor."""
        if mirror:
            raise SluiceError("KServe's canary copies no requests", field="spec.strategy.shadow", fix="set shadow.requests to 0")
        service = self._service()
        if service is None:
            return
        if not weights:
            self.kube.delete("InferenceService", self.rollout.namespace, self.rollout.name)
            return
        main = _digest(service["spec"]["predictor"]) or ""
        others = [d for d in (_digest(c["predictor"]) for c in service["spec"].get("canary") or []) if d]
        if len(weights) == 1 and next(iter(weights)) in others:
            # Everything to the canary: it becomes the main predictor under its own name.
            self._apply(next(iter(weights)), main, 0)
        else:
            other = others[0] if others else None
            self._apply(main, other, weights.get(other, 0) if other else 0)

    def retire(self, digest: str) -> None:
        """Drop the canary."""
        service = self._service()
        main = _digest(service["spec"]["predictor"]) if service else None
        if main is not None and digest != main:
            self._apply(main, None, 0)

    def adopt(self) -> tuple[str, str] | None:
        """The model of the service that is there."""
        service = self._service()
        noted = (service or {"metadata": {}})["metadata"].get("annotations") or {}
        return (noted[DIGEST], noted.get("sluice.dev/uri", "")) if DIGEST in noted else None

    def leave(self, stable: str | None) -> None:
        """The stable model stays, without the rollout as owner."""
        service = self._service()
        main = _digest(service["spec"]["predictor"]) if service else None
        if main is not None:
            self._apply(stable or main, None, 0, owned=False)

    def _apply(self, main: str, other: str | None, percent: int, *, owned: bool = True) -> None:
        spec: Object = {"predictor": {"name": self.part(main), **self.predictor(main)}}
        if other is not None:
            fixed = {k: v for k, v in self.predictor(other).items() if k not in _SCALING}
            spec["canary"] = [{"predictor": {"name": self.part(other), **fixed}, "trafficPercent": percent}]
        self.kube.apply(self.service(self.rollout.name, spec, main, owned=owned))


def _digest(predictor: Object) -> str | None:
    return (predictor.get("annotations") or {}).get(DIGEST)


def _predictors(service: Object | None) -> list[Object]:
    if service is None:
        return []
    return [service["spec"]["predictor"], *(c["predictor"] for c in service["spec"].get("canary") or [])]
