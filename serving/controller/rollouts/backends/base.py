"""What the back-ends share: InferenceServices built from a rollout, and pods read as evidence."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from serving.controller.rollouts import faults
from serving.controller.rollouts.evidence import Source
from serving.controller.rollouts.faults import CONTAINER, Fault
from serving.controller.rollouts.resource import ARM_VERSION, DIGEST, OWNER, Rollout, owner
from sluice.core.errors import SluiceError
from sluice.kube.client import KubeFault, Object
from sluice.kube.objects import Objects
from sluice.proof.trust import SIGNATURE_ENV
from sluice.rollouts.backend import View
from sluice.rollouts.state import MEND, Arm, Obstacle, Replica, Routed

URI = "sluice.dev/uri"
#: The pod label KServe gives every predictor's pods.
POD_OF = "serving.kserve.io/inferenceservice"
#: Seconds a candidate may show no reason before the cluster's events are asked for one.
_SILENT = 15.0
#: A predictor's Service answers its container's first port here, each other one under its own number.
PORT = 80


class ClusterBackend(ABC):
    """A `Backend` for one rollout, made anew each time from the resource as it was read.

    Args:
        kube: the API. rollout: what is asked for. source: where counters come from.
    """

    MODE: ClassVar[str]
    can: ClassVar[frozenset[str]]

    def __init__(self, kube: Objects, rollout: Rollout, source: Source):
        self.kube, self.rollout, self.source = kube, rollout, source
        #: By digest, the pods that `arm` saw.
        self.pods: dict[str, list[Object]] = {}

    @abstractmethod
    def observe(self, stable: str | None, candidate: str | None) -> View:
        """Both arms and what is really routed."""

    @abstractmethod
    def launch(self, digest: str) -> None:
        """Have an InferenceService serve it, without traffic."""

    @abstractmethod
    def route(self, weights: Mapping[str, int], mirror: str | None) -> None:
        """Ask for these weights. Raises `SluiceError` for copies where it `can` make none."""

    @abstractmethod
    def retire(self, digest: str) -> None:
        """Remove what serves it."""

    @abstractmethod
    def adopt(self) -> tuple[str, str] | None:
        """(digest, uri) of a model that already serves under this rollout's name, from before its status knew of it."""

    @abstractmethod
    def protocols(self) -> tuple[str, ...]:
        """By what users reach the models with the rollout's weights, as of the last `observe`: ``REST``, ``gRPC``; nothing where that does not show."""

    @abstractmethod
    def leave(self, stable: str | None) -> None:
        """The rollout is being deleted: leave the stable model serving, owned by nobody, and remove the rest."""

    # -- objects -----------------------------------------------------------------------------------

    def labels(self, digest: str | None = None) -> dict[str, str]:
        """Of everything that is made for a model."""
        return {OWNER: self.rollout.name} | ({ARM_VERSION: digest[:12]} if digest else {})

    def uri(self, digest: str) -> str:
        """Where a model's package is."""
        try:
            return self.rollout.models[digest]
        except KeyError as e:
            raise SluiceError("where this model is kept is not known", field="status.models", value=digest) from e

    def predictor(self, digest: str) -> Object:
        """The predictor for one model: ``spec.serving.predictor`` with $(URI), $(DIGEST) and $(NAME) filled in."""
        serving = self.rollout.spec.get("serving") or {}
        filled = _fill(
            copy.deepcopy(serving.get("predictor") or {}), {"$(URI)": self.uri(digest), "$(DIGEST)": digest, "$(NAME)": self.rollout.model}
        )
        if "containers" not in filled:
            model = {
                "modelFormat": {"name": "sluice"},
                "storageUri": self.uri(digest),
                "args": [f"--digest={digest}", f"--name={self.rollout.model}"],
            }
            # An empty value takes a default away: a runtime that fetches the model itself has no storageUri.
            filled["model"] = {k: v for k, v in {**model, **(filled.get("model") or {})}.items() if v not in ("", [])}
        if signature := self.rollout.signatures.get(digest):
            # What KServe brings to the server is the package alone; the server checks its signature again where it is told to.
            holder = filled["model"] if "containers" not in filled else filled["containers"][0]
            holder["env"] = [*(holder.get("env") or []), {"name": SIGNATURE_ENV, "value": signature}]
        filled["labels"] = {**(filled.get("labels") or {}), **self.labels(digest)}
        filled["annotations"] = {**(filled.get("annotations") or {}), DIGEST: digest}
        return filled

    def service(self, name: str, spec: Object, digest: str, *, owned: bool) -> Object:
        """An InferenceService; not `owned` it outlives the rollout."""
        meta: Object = {
            "name": name,
            "namespace": self.rollout.namespace,
            "labels": self.labels(),
            "annotations": {"serving.kserve.io/deploymentMode": self.MODE, DIGEST: digest, URI: self.uri(digest)},
        }
        if owned:
            meta["ownerReferences"] = [owner(self.rollout)]
        return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": meta, "spec": spec}

    # -- evidence ----------------------------------------------------------------------------------

    def arm(self, digest: str, selector: str, *, declared: Object | None) -> tuple[Arm, str | None]:
        """An arm from its pods: ready ones with their counters, restarts, and why none serves. Second: what could not be read.

        Args:
            declared: the InferenceService it is part of, None where there is none.
        """
        pods = [p for p in self.kube.list("Pod", self.rollout.namespace, selector) if not p["metadata"].get("deletionTimestamp")]
        self.pods[digest] = pods
        counts, problem = self.source.counts(pods, self.rollout, digest)
        replicas, restarts, ready = [], 0, 0
        for pod in pods:
            statuses = {c["name"]: c for c in (pod.get("status") or {}).get("containerStatuses") or []}
            main = statuses.get(CONTAINER, {})
            restarts += int(main.get("restartCount", 0))
            if is_ready(pod):
                ready += 1
                # A container started over is another process: its counters begin at zero.
                ident = f"{pod['metadata']['name']}/{main.get('restartCount', 0)}"
                replicas.append(Replica(ident, True, counts.get(pod["metadata"]["name"])))
        lacking = [r.id for r in replicas if r.counts is None]
        said = problem or (f"no counters from {', '.join(lacking)}" if lacking else None)
        fault = self.fault(pods, declared, digest) if digest == self.rollout.state.candidate else None
        seen = Arm(tuple(replicas), ready > 0, restarts, exists=declared is not None)
        if fault is None:
            return (replace(seen, said=faults.last_words(pods)) if restarts else seen), said
        if fault.package:
            return replace(seen, failure=f"; {MEND}".join(filter(None, (fault.why, fault.mend))), said=fault.said), said
        # An obstacle of one pod is none of the arm's while another serves.
        return (seen if ready else replace(seen, obstacle=Obstacle(fault.why, fault.mend, fault.patient), said=fault.said)), said

    def fault(self, pods: Sequence[Object], service: Object | None, digest: str) -> Fault | None:
        """Why the candidate does not serve, with the last lines of its container."""
        found = faults.of_pods(pods)
        if found is None and service is not None and not any(map(is_ready, pods)):
            found = faults.of_service(service) or (self.told(pods, digest) if time.time() - _begun(service) >= _SILENT else None)
        if found is not None and found.package and not found.said and found.container and self.rollout.state.phase != "RollingBack":
            pod, container = found.container
            return replace(found, said=faults.last_lines(self.kube.log(self.rollout.namespace, pod, container)))
        return found

    def told(self, pods: Sequence[Object], digest: str) -> Fault | None:
        """What the cluster's events say of pods that show no reason themselves, or are not even made."""
        names = [p["metadata"]["name"] for p in pods]
        fields = [f"involvedObject.name={n}" for n in names] or ["reason=FailedCreate"]
        try:
            events = [e for f in fields for e in self.kube.list("Event", self.rollout.namespace, fields=f"type=Warning,{f}")]
        except KubeFault:
            # A Role from before has no such right: the deadline says less, and in time.
            return None
        return faults.of_events(events if names else [e for e in events if self.made(e["involvedObject"].get("name", ""), digest)])

    def made(self, name: str, digest: str) -> bool:
        """Whether an object of this name is one of those made for a model's pods."""
        return name.startswith(f"{self.rollout.name}-{digest[:8]}-")

    def spoken(self) -> tuple[str, ...]:
        """What the first port of the pods' containers speaks: KServe leads all paths there that nothing else is said of."""
        ports = {grpc_port(p["spec"]["containers"]) for pods in self.pods.values() for p in pods}
        return () if not ports else ("gRPC",) if ports == {PORT} else ("REST",)

    def view(self, arms: Mapping[str, tuple[Arm, str | None]], routed: Routed | None, present: frozenset[str]) -> View:
        """What was seen, with what could not be in words."""
        said = [f"{arm}: {why}" for arm, (_, why) in arms.items() if why]
        return View({a: arm for a, (arm, _) in arms.items()}, routed, present, "; ".join(said) or None)


def _fill(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for k, v in words.items():
            value = value.replace(k, v)
        return value
    if isinstance(value, dict):
        return {k: _fill(v, words) for k, v in value.items()}
    return [_fill(v, words) for v in value] if isinstance(value, list) else value


def grpc_port(containers: Sequence[Object]) -> int | None:
    """The port of a predictor's Service that speaks gRPC (HTTP/2 without TLS), None where none does.

    KServe's rules (0.20, Standard mode): a port whose name holds ``grpc`` or ``h2c`` gets the appProtocol ``kubernetes.io/h2c``.
    """
    ports = next((c.get("ports") or [] for c in containers if c["name"] == CONTAINER), [])
    for place, port in enumerate(ports):
        if any(word in (port.get("name") or "") for word in ("grpc", "h2c")):
            return int(port["containerPort"]) if place else PORT
    return None


def is_ready(pod: Object) -> bool:
    """Whether a pod takes requests."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _begun(service: Object) -> float:
    """When the object was made, seconds since 1970; now where it does not say."""
    try:
        return datetime.fromisoformat(service["metadata"]["creationTimestamp"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return time.time()
