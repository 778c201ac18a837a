"""One InferenceService on Knative; its ``canaryTrafficPercent`` splits between its last two revisions."""

from __future__ import annotations

from collections.abc import Mapping

from serving.controller.rollouts.backends.base import POD_OF, ClusterBackend, grpc_port
from serving.controller.rollouts.resource import ARM_VERSION, DIGEST, OWNER
from sluice.core.errors import SluiceError
from sluice.kube.client import Object
from sluice.rollouts.backend import SPLIT, View
from sluice.rollouts.state import Arm, Routed

_REVISION = "serving.knative.dev/revision"


class Serverless(ClusterBackend):
    """Knative mode, by KServe's rules.

    A changed predictor with ``canaryTrafficPercent: 0`` makes the candidate's revision; the field
    moves weights; leaving it out promotes; 0 sends all back to the revision rolled out before. What
    Knative lets a container have one port, so users reach the models by one protocol: gRPC where that port is named ``h2c``, else REST. What
    Knative really routes is read from ``status.components.predictor.traffic``.
    """

    MODE = "Knative"
    can = frozenset({SPLIT})
    _grpc = False

    def observe(self, stable: str | None, candidate: str | None) -> View:
        """Arms by revision, weights by what Knative routes."""
        service = self.kube.get("InferenceService", self.rollout.namespace, self.rollout.name)
        revisions = {} if service is None else self._revisions()
        declared = _asked(service)
        present = frozenset(d for d in revisions.values() if d in (stable, candidate)) | ({declared} if declared else set())
        arms: dict[str, tuple[Arm, str | None]] = {}
        for arm, digest in (("stable", stable), ("candidate", candidate)):
            if digest:
                selector = f"{POD_OF}={self.rollout.name},{ARM_VERSION}={digest[:12]}"
                arms[arm] = self.arm(digest, selector, declared=service if digest == declared or digest in revisions.values() else None)
        routed = self._routed(service, revisions)
        # A retired arm leaves a revision that costs nothing at scale zero; Knative's own collector takes it.
        return self.view(arms, routed, frozenset(d for d in present if d is not None and d in (stable, candidate)))

    def made(self, name: str, digest: str) -> bool:
        """Whether a pod's maker is one of the service's revisions."""
        return name.startswith(f"{self.rollout.name}-predictor-")

    def _revisions(self) -> dict[str, str]:
        """Digest by revision name."""
        found = self.kube.list("Revision", self.rollout.namespace, f"{OWNER}={self.rollout.name}")
        self._grpc = bool(found) and all(grpc_port((r.get("spec") or {}).get("containers") or []) for r in found)
        return {r["metadata"]["name"]: (r["metadata"].get("annotations") or {}).get(DIGEST, "") for r in found}

    def _routed(self, service: Object | None, revisions: Mapping[str, str]) -> Routed | None:
        if service is None:
            return Routed({})
        predictor = ((service.get("status") or {}).get("components") or {}).get("predictor") or {}
        weights: dict[str, int] = {}
        for target in predictor.get("traffic") or []:
            name = target.get("revisionName") or predictor.get("latestCreatedRevision", "")
            digest = revisions.get(name, name)
            if target.get("percent"):
                weights[digest] = weights.get(digest, 0) + int(target["percent"])
        return Routed(weights) if weights else None

    def protocols(self) -> tuple[str, ...]:
        """What users may speak to the models."""
        return ("gRPC",) if self._grpc else ("REST",)

    def launch(self, digest: str) -> None:
        """Make the revision, at 0 per cent unless it is the first."""
        service = self.kube.get("InferenceService", self.rollout.namespace, self.rollout.name)
        if _asked(service) != digest:
            # The very first revision has nothing to be compared with.
            self._apply(digest, 0 if service is not None else None)

    def route(self, weights: Mapping[str, int], mirror: str | None) -> None:
        """Set the newest revision's per cent."""
        if mirror:
            raise SluiceError("Knative copies no requests", field="spec.strategy.shadow", fix="set shadow.requests to 0")
        service = self.kube.get("InferenceService", self.rollout.namespace, self.rollout.name)
        newest = _asked(service)
        if newest is None:
            return
        if not weights:
            self.kube.delete("InferenceService", self.rollout.namespace, self.rollout.name)
            return
        share = weights.get(newest, 0)
        self._apply(newest, None if share == 100 else share)

    def retire(self, digest: str) -> None:
        """Revisions without traffic scale to zero and are collected by Knative."""

    def adopt(self) -> tuple[str, str] | None:
        """The model of the service that is there."""
        service = self.kube.get("InferenceService", self.rollout.namespace, self.rollout.name)
        noted = (service or {"metadata": {}})["metadata"].get("annotations") or {}
        return (noted[DIGEST], noted.get("sluice.dev/uri", "")) if DIGEST in noted else None

    def leave(self, stable: str | None) -> None:
        """The stable model stays, without the rollout as owner."""
        service = self.kube.get("InferenceService", self.rollout.namespace, self.rollout.name)
        newest = _asked(service)
        if newest is not None:
            self._apply(newest, None if newest == stable or stable is None else 0, owned=False)

    def _apply(self, digest: str, percent: int | None, *, owned: bool = True) -> None:
        predictor = self.predictor(digest)
        if percent is not None:
            predictor["canaryTrafficPercent"] = percent
        self.kube.apply(self.service(self.rollout.name, {"predictor": predictor}, digest, owned=owned))


def _asked(service: Object | None) -> str | None:
    """The digest the InferenceService's predictor names."""
    if service is None or service["metadata"].get("deletionTimestamp"):
        return None
    return (service["spec"]["predictor"].get("annotations") or {}).get(DIGEST)
