"""What the nodes of a training job say, and how each of them ended."""

from __future__ import annotations

import datetime
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sluice.kube.client import KubeFault, Object
from sluice.kube.objects import Objects, path

#: Trainer names the container that trains so, and nothing else.
CONTAINER = "node"
JOBSET, RANK = "jobset.sigs.k8s.io/jobset-name", "batch.kubernetes.io/job-completion-index"
#: Reasons a container waits for that no patience mends.
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError")
#: Reasons that may pass: a registry that is slow, a tag that is being pushed.
IMAGE = ("ErrImagePull", "ImagePullBackOff", "CreateContainerError")
_PAUSE = 2.0


class Follower:
    """Reads every node's log, and watches the pods end, until told that the job is over.

    A connection that breaks (API servers end them after some time) is made again where it was.

    Args:
        objects: the cluster.
        namespace, name: of the job.
        on_line: told of every line, with its node.
    """

    container, label = CONTAINER, JOBSET

    def __init__(self, objects: Objects, namespace: str, name: str, on_line: Callable[[int, str], None]):
        self.objects, self.namespace, self.name, self.on_line = objects, namespace, name, on_line
        self.endings: dict[int, str] = {}
        self.last: dict[int, str] = {}
        self._over = threading.Event()
        self._readers: dict[str, threading.Thread] = {}
        threading.Thread(target=self._watch, name="endings", daemon=True).start()

    def see(self, pods: list[Object]) -> None:
        """Start reading the logs of pods that have started."""
        for pod in pods:
            name = pod["metadata"]["name"]
            if name not in self._readers and (pod.get("status") or {}).get("phase") in ("Running", "Succeeded", "Failed"):
                self._readers[name] = threading.Thread(target=self._read, args=(name, self.rank(pod)), name=f"log-{name}", daemon=True)
                self._readers[name].start()

    def rank(self, pod: Object) -> int:
        """A pod's number within its job."""
        return rank_of(pod)

    def close(self, seconds: float = 10.0) -> None:
        """The job is over: read what is left, for at most `seconds`."""
        self._over.set()
        end = time.monotonic() + seconds
        for reader in self._readers.values():
            reader.join(max(0.0, end - time.monotonic()))

    def cause(self, message: str) -> str:
        """Why the job failed: the node that ended first, its last line, and the job's own words."""
        return cause(self.endings, self.last, message)

    def _read(self, pod: str, node: int) -> None:
        """One pod's log to its end. Lines carry their time, so that none is told twice after a broken connection."""
        seen = ""
        while True:
            query = {"container": self.container, "follow": "true", "timestamps": "true"}
            query |= {"sinceSeconds": str(_seconds_since(seen))} if seen else {}
            try:
                for line in lines(self.objects.kube.stream(path("Pod", self.namespace, pod, "log"), query=query)):
                    when, _, text = line.partition(" ")
                    if when <= seen:
                        continue
                    seen = when
                    self.last[node] = text or self.last.get(node, "")
                    self.on_line(node, text)
                if self._ended(pod):
                    return
            except KubeFault as e:
                if e.status in (400, 404):  # the pod is gone, or never came to have a log
                    return
                self._lost(node, e.message)
            if self._over.wait(_PAUSE):
                return

    def _lost(self, node: int, why: str) -> None:
        if not self._over.is_set():
            self.on_line(node, f"(the log was lost: {why}; it is read on)")

    def _ended(self, pod: str) -> bool:
        """Whether a pod runs no more. Raises `KubeFault`."""
        found = self.objects.get("Pod", self.namespace, pod)
        if found is None:
            raise KubeFault("the pod is gone", 404, field=pod)
        return (found.get("status") or {}).get("phase") in ("Succeeded", "Failed")

    def _watch(self) -> None:
        """How each node ended. A failed job's pods are deleted at once: only a watch is sure to see it."""
        query = {"labelSelector": f"{self.label}={self.name}", "watch": "true", "timeoutSeconds": "600"}
        while not self._over.is_set():
            try:
                for line in lines(self.objects.kube.stream(path("Pod", self.namespace), query=query, read=660.0)):
                    self._note(json.loads(line)["object"])
                    if self._over.is_set():
                        return
            except (KubeFault, ValueError, KeyError) as e:
                self.endings.setdefault(-1, f"could not be watched: {e}")
            self._over.wait(_PAUSE)

    def _note(self, pod: Object) -> None:
        """Take down how a pod ended, the first time it says so; `pod` as JSON."""
        status = pod.get("status") or {}
        how = ending(status)
        if how:
            self.endings.setdefault(self.rank(pod), how)


def ending(status: Mapping[str, Any]) -> str:
    """Why a pod that has ended badly did, from its status; empty for one that runs or ended well."""
    disrupted = next((c for c in status.get("conditions") or () if c.get("type") == "DisruptionTarget" and c.get("status") == "True"), None)
    code, killed = None, False
    for container in status.get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            code, killed = ended["exitCode"], ended.get("reason") == "OOMKilled"
    if killed:
        return "was killed for memory"
    if status.get("reason") == "Evicted" or disrupted:
        why = status.get("message") or (disrupted or {}).get("message") or (disrupted or {}).get("reason") or "no reason was given"
        return f"was evicted ({why})"
    if code in (137, 143):
        return f"was told to end or killed (status {code})"
    return f"ended with status {code}" if code else ""


def held_up(pod: Object) -> tuple[str, bool]:
    """Why a pod has not started, and whether waiting cannot help; empty for one that has."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in (*_HOPELESS, *IMAGE):
            return f"{waiting['reason']}: {waiting.get('message') or container.get('image', '')}", waiting["reason"] in _HOPELESS
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason')}: {condition.get('message')}", False
    return "", False


def cause(endings: Mapping[int, str], last: Mapping[int, str], message: str) -> str:
    """Why a job failed: the node that ended first, its last line, and the job's own words."""
    found = next(((node, how) for node, how in endings.items() if node >= 0), None)
    if found is None:
        return message or "failed"
    node, how = found
    return f"node {node} {how}" + (f", its last line: {last[node][-500:]}" if last.get(node) else "") + f" ({message})"


def lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Whole lines out of pieces of a stream."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def rank_of(pod: Mapping[str, Any]) -> int:
    """A node's number within its job."""
    return int((pod["metadata"].get("labels") or {}).get(RANK, 0))


def _seconds_since(stamp: str) -> int:
    """Whole seconds since an RFC 3339 time with nanoseconds, rounded up."""
    then = datetime.datetime.fromisoformat(stamp[:19] + "+00:00")
    return max(1, int((datetime.datetime.now(datetime.UTC) - then).total_seconds()) + 2)
