"""What the back-ends share: InferenceServices built from a rollout, and pods read as evidence."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from serving.rollout.evidence import Source
from serving.rollout.kube import Kube, Object
from serving.rollout.resource import ARM_VERSION, DIGEST, OWNER, Rollout, owner
from sluice.errors import SluiceError
from sluice.rollouts.backend import View
from sluice.rollouts.state import Arm, Replica, Routed

URI = "sluice.dev/uri"
#: The pod label KServe gives every predictor's pods.
POD_OF = "serving.kserve.io/inferenceservice"
CONTAINER = "kserve-container"
#: A container waiting for one of these will not come up by itself.
_HOPELESS = ("CrashLoopBackOff", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError",
             "CreateContainerError", "RunContainerError")  # fmt: skip


class ClusterBackend(ABC):
    """A `Backend` for one rollout, made anew at each look from the resource as it was read.

    Args:
        kube: the API. rollout: what is asked for. source: where counters come from.
    """

    MODE: ClassVar[str]

    def __init__(self, kube: Kube, rollout: Rollout, source: Source):
        self.kube, self.rollout, self.source = kube, rollout, source

    @abstractmethod
    def observe(self, stable: str | None, candidate: str | None) -> View: ...

    @abstractmethod
    def launch(self, digest: str) -> None: ...

    @abstractmethod
    def route(self, weights: Mapping[str, int], mirror: str | None) -> None: ...

    @abstractmethod
    def retire(self, digest: str) -> None: ...

    @abstractmethod
    def adopt(self) -> tuple[str, str] | None:
        """(digest, uri) of a model that already serves under this rollout's name, from before its status knew of it."""

    @abstractmethod
    def leave(self, stable: str | None) -> None:
        """The rollout is being deleted: leave the stable model serving, owned by nobody, and remove the rest."""

    # -- objects -----------------------------------------------------------------------------------

    def labels(self, digest: str | None = None) -> dict[str, str]:
        return {OWNER: self.rollout.name} | ({ARM_VERSION: digest[:12]} if digest else {})

    def uri(self, digest: str) -> str:
        try:
            return self.rollout.models[digest]
        except KeyError as e:
            raise SluiceError("where this model is kept is not known", field="status.models", value=digest) from e

    def predictor(self, digest: str) -> Object:
        """The predictor for one model: ``spec.serving.predictor`` with $(URI), $(DIGEST) and $(NAME) filled in."""
        serving = self.rollout.spec.get("serving") or {}
        filled = _fill(copy.deepcopy(serving.get("predictor") or {}),
                       {"$(URI)": self.uri(digest), "$(DIGEST)": digest, "$(NAME)": self.rollout.model})  # fmt: skip
        if "containers" not in filled:
            model = {"modelFormat": {"name": "sluice"}, "storageUri": self.uri(digest), "args": [f"--digest={digest}", f"--name={self.rollout.model}"]}
            # An empty value takes a default away: a runtime that fetches the model itself has no storageUri.
            filled["model"] = {k: v for k, v in {**model, **(filled.get("model") or {})}.items() if v not in ("", [])}
        filled["labels"] = {**(filled.get("labels") or {}), **self.labels(digest)}
        filled["annotations"] = {**(filled.get("annotations") or {}), DIGEST: digest}
        return filled

    def service(self, name: str, spec: Object, digest: str, *, owned: bool) -> Object:
        meta: Object = {"name": name, "namespace": self.rollout.namespace, "labels": self.labels(),
                        "annotations": {"serving.kserve.io/deploymentMode": self.MODE, DIGEST: digest, URI: self.uri(digest)}}  # fmt: skip
        if owned:
            meta["ownerReferences"] = [owner(self.rollout)]
        return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": meta, "spec": spec}

    # -- evidence ----------------------------------------------------------------------------------

    def arm(self, digest: str, selector: str, *, declared: bool) -> tuple[Arm, str | None]:
        """An arm from its pods: ready ones with their counters, restarts and hopeless states. Second: what could not be read."""
        pods = [p for p in self.kube.list("Pod", self.rollout.namespace, selector) if not p["metadata"].get("deletionTimestamp")]
        counts, problem = self.source.counts(pods, self.rollout, digest)
        replicas, restarts, failure, ready = [], 0, None, 0
        for pod in pods:
            statuses = {c["name"]: c for c in (pod.get("status") or {}).get("containerStatuses") or []}
            main = statuses.get(CONTAINER, {})
            restarts += int(main.get("restartCount", 0))
            failure = failure or hopeless(pod, main)
            if is_ready(pod):
                ready += 1
                # A container started over is another process: its counters begin at zero.
                ident = f"{pod['metadata']['name']}/{main.get('restartCount', 0)}"
                replicas.append(Replica(ident, True, counts.get(pod["metadata"]["name"])))
        lacking = [r.id for r in replicas if r.counts is None]
        said = problem or (f"no counters from {', '.join(lacking)}" if lacking else None)
        return Arm(tuple(replicas), ready > 0, restarts, failure, declared), said

    def view(self, arms: Mapping[str, tuple[Arm, str | None]], routed: Routed | None, present: frozenset[str]) -> View:
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


def is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def hopeless(pod: Object, container: Object) -> str | None:
    """Why this pod will not serve, in words, or None."""
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or []
    for status in [container, *statuses]:
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _HOPELESS:
            ended = (status.get("lastState") or {}).get("terminated") or {}
            last = f", last ended by {ended.get('reason', 'Error')} with status {ended.get('exitCode')}" if ended else ""
            return f"cannot run: {status.get('name')} is in {waiting['reason']}{last}"
    ended = (container.get("state") or {}).get("terminated") or {}
    return f"was ended: {ended.get('reason')} with status {ended.get('exitCode')}" if ended.get("reason") == "OOMKilled" else None
