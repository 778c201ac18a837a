"""Why a pod does not serve: what its status says, whose fault that is, and what mends it.

A fault of the package (it crashes, it takes more memory than it may) is held against the digest. One of what is around it (no node, no
image, no credentials, no storage) says nothing of the model, and goes when that is mended.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sluice.kube.client import Object

CONTAINER = "kserve-container"
#: Bytes and lines of a container's output that are kept; the kubelet keeps as many bytes of a termination message's end.
KEPT, LINES = 2048, 30

_IMAGE = (
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)
_SETUP = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError", "PostStartHookError")
#: How a container ends that never ran, by the runtime's word.
_NOT_STARTED = ("ContainerCannotRun", "StartError", "ContainerStatusUnknown")
#: How a pod ends by the node's word, not its own.
_NODE = (
    "Evicted",
    "NodeLost",
    "NodeShutdown",
    "Terminated",
    "Preempting",
    "Shutdown",
    "UnexpectedAdmissionError",
    "NodeAffinity",
    "OutOfcpu",
    "OutOfmemory",
    "OutOfpods",
    "PreemptionByScheduler",
    "TerminationByKubelet",
)
_MOUNT = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
_SANDBOX = ("FailedCreatePodSandBox", "NetworkNotReady")
#: KServe's word on a service it makes no pods for.
_SERVICE = ("NoSupportingRuntime", "RuntimeNotRecognized", "RuntimeDisabled", "InvalidPredictorSpec", "InvalidGPUAllocation")

#: What a storage initializer's last words mean, first match first.
_STORAGE: tuple[tuple[str, str, str], ...] = (
    (
        r"NoCredentials|Unable to locate credentials|InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|Access Denied|ExpiredToken|Forbidden|Unauthorized|\b40[13]\b|"
        r"DefaultCredentialsError|credentials",
        "the store lets it not in",
        "give the predictor's service account a Secret with the store's credentials (docs/kubernetes.md)",
    ),
    (
        r"NoSuchBucket|NoSuchKey|NotFound|Not Found|\b404\b|[Nn]o model found|does not exist|No such file|no objects|Failed to fetch model|[Cc]annot recognize storage",
        "there is no such package in the store",
        "see that spec.model.uri names where the package lies, ending in /sha256/<digest>",
    ),
    (
        r"EndpointConnectionError|ConnectTimeout|timed out|[Cc]onnection ?refused|Max retries|Name or service not known|Temporary failure in name resolution|"
        r"NameResolutionError|Network is unreachable|Could not connect|No route to host|SSLError|CERTIFICATE|ConnectionError",
        "the store does not answer",
        "see that its address is right and that a NetworkPolicy lets predictors reach it (docs/kubernetes.md)",
    ),
    (r"No space left|ENOSPC|Disk quota", "there is no room for the package", "raise the storage of the pod or node"),
)

#: What the model server's last words mean where it found no package to judge, of a claim that is mounted or a store it reads itself.
_SERVER: tuple[tuple[str, str, str], ...] = (
    (
        r"is no package and no ONNX model|is not in the store|there is no such bucket",
        "there is no such package in the store",
        "see that spec.model.uri names where the package lies, ending in /sha256/<digest>",
    ),
    (
        r"the store refused|the store cannot be reached|cannot be read: .*(?:[Cc]onnect|[Cc]redential|Denied|Forbidden|timed out)",
        "the store does not give it the package",
        "see that the store answers, that a NetworkPolicy lets predictors reach it, and that their service account has its credentials",
    ),
)


@dataclass(frozen=True)
class Fault:
    """What keeps a pod from serving.

    Attributes:
        why: in words; of a fault of the package to follow "the candidate". package: it is the package's own. mend: what a person does about it.
        said: the last lines of the container. patient: it may go away by itself within the time a start may take.
        container: pod and container whose log says more, None where there is nothing to read.
    """

    why: str
    package: bool = False
    mend: str = ""
    said: str = ""
    patient: bool = False
    container: tuple[str, str] | None = None


def of_pods(pods: Sequence[Object]) -> Fault | None:
    """The first fault of an arm's pods; one of the package outranks those of its surroundings."""
    # Pods that have ended are the Deployment's past, where it has made others since.
    alive = [p for p in pods if (p.get("status") or {}).get("phase") not in ("Failed", "Succeeded")] or pods
    found = [f for p in alive if (f := of_pod(p)) is not None]
    return next((f for f in found if f.package), found[0] if found else None)


def of_pod(pod: Object) -> Fault | None:
    """Why this pod does not serve, None where its status gives no reason."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if (
            condition.get("type") == "PodScheduled"
            and condition.get("status") == "False"
            and condition.get("reason") in ("Unschedulable", "SchedulerError")
        ):
            return Fault(
                f"it fits on no node: {_line(condition.get('message'))}",
                mend="add a node, free one, or ask for less in spec.serving.predictor.model.resources",
                patient=True,
            )
    if status.get("phase") == "Failed" and (status.get("reason") in _NODE or not status.get("containerStatuses")):
        return Fault(
            f"it was removed from its node: {status.get('reason') or 'Failed'}: {_line(status.get('message'))}",
            mend="another pod comes by itself; where it does not, `kubectl describe nodes`",
            patient=True,
        )
    for init, container in _containers(status):
        found = _of_container(pod["metadata"].get("name", ""), container, init=init)
        if found is not None:
            return found
    return None


def _containers(status: Object) -> Iterator[tuple[bool, Object]]:
    """(is it an init container, its status), in the order in which they start."""
    for container in status.get("initContainerStatuses") or []:
        yield True, container
    for container in status.get("containerStatuses") or []:
        yield False, container


def _of_container(pod: str, container: Object, *, init: bool) -> Fault | None:
    name = str(container.get("name"))
    now = container.get("state") or {}
    waiting, ended = now.get("waiting") or {}, now.get("terminated") or {}
    last = ended or (container.get("lastState") or {}).get("terminated") or {}
    reason = str(waiting.get("reason") or "")
    if reason in _IMAGE:
        return Fault(
            f"the image of {name} cannot be pulled ({reason}): {_line(waiting.get('message'))}",
            mend="see that the image's name is right, that its registry answers, and that the service account names a pull secret",
        )
    if reason in _SETUP:
        return Fault(f"{name} is in {reason}: {_line(waiting.get('message'))}", mend="make what it names, or change spec.serving.predictor")
    if last.get("reason") in _NOT_STARTED:
        return Fault(
            f"{name} could not be started ({last['reason']}): {_line(last.get('message'))}",
            mend="see that the image holds the command that spec.serving.predictor or the ServingRuntime names",
        )
    failed = bool(last) and (reason == "CrashLoopBackOff" or (bool(ended) and ended.get("exitCode") != 0))
    if not failed:
        return None
    said = last_lines(str(last.get("message") or ""))
    if init:
        return _of_init(name, last, said, looping=reason == "CrashLoopBackOff")
    if name != CONTAINER:
        return (
            Fault(
                f"{name}, beside the model's own container, fails: {said.rpartition(chr(10))[2][:300] or last.get('reason')}",
                mend=f"see its log: `kubectl logs POD -c {name}`",
                said=said,
            )
            if reason
            else None
        )
    how = f"last ended by {last.get('reason', 'Error')} with status {last.get('exitCode')}"
    if last.get("reason") == "OOMKilled":
        where = f"cannot run: {name} is in {reason}, {how}" if reason else f"was ended: OOMKilled with status {last.get('exitCode')}"
        return Fault(
            f"{where}: it takes more memory than resources.limits.memory allows",
            package=True,
            mend="raise spec.serving.predictor.model.resources.limits.memory, then `sluice rollout retry`",
            said=said,
            container=(pod, name),
        )
    for pattern, what, mend in _SERVER:
        if told := next((line for line in reversed(said.splitlines()) if re.search(pattern, line)), None):
            return Fault(f"{what}: {told[:300]}", mend=mend, said=said)
    # Ended once it is started again; in the loop it has been, and fails each time.
    return Fault(f"cannot run: {name} is in {reason}, {how}", package=True, said=said, container=(pod, name)) if reason else None


def _of_init(name: str, last: Mapping[str, object], said: str, *, looping: bool) -> Fault | None:
    if last.get("reason") == "OOMKilled":
        return Fault(
            f"{name} was ended by OOMKilled", mend="give the storage initializer more memory (KServe's inferenceservice-config)", said=said
        )
    told = _message(said.rstrip().rpartition("\n")[2]) or f"it ended with status {last.get('exitCode')}"
    for pattern, what, mend in _STORAGE:
        if re.search(pattern, said):
            return Fault(f"{name} cannot fetch the package, {what}: {told[:300]}", mend=mend, said=said)
    return Fault(f"{name} fails: {told[:300]}", mend=f"see its log: `kubectl logs POD -c {name}`", said=said, patient=not looping)


def last_words(pods: Sequence[Object]) -> str:
    """What the model's container wrote before it ended last, in whichever pod; empty where it never has."""
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or []:
            ended = [(container.get(state) or {}).get("terminated") or {} for state in ("state", "lastState")]
            if container.get("name") == CONTAINER and (
                said := next((last_lines(str(e["message"])) for e in ended if e.get("message")), "")
            ):
                return said
    return ""


def of_service(service: Object) -> Fault | None:
    """What KServe says of a service it makes no pods for."""
    found = ((service.get("status") or {}).get("modelStatus") or {}).get("lastFailureInfo") or {}
    if found.get("reason") not in _SERVICE:
        return None
    return Fault(
        f"KServe says {found['reason']}: {_line(found.get('message'))}",
        mend="see that the ServingRuntime `sluice` is in this namespace, and what spec.serving.predictor asks for",
    )


def of_events(events: Sequence[Object]) -> Fault | None:
    """What Warning events say of pods whose status shows no reason, or that are not even made; the newest first."""
    for event in sorted(events, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""), reverse=True):
        reason, message = event.get("reason"), _line(event.get("message"))
        if reason in _MOUNT:
            return Fault(
                f"a volume cannot be mounted ({reason}): {message}",
                mend="make the claim, ConfigMap or Secret it names, and see where the claim is bound",
            )
        if reason in _SANDBOX:
            return Fault(
                f"its pod cannot be set up ({reason}): {message}", mend="see to the node's network (its CNI plug-in)", patient=True
            )
        if reason == "FailedCreate":
            what = "the namespace's quota is used up" if "quota" in message else "its pod is not let in"
            mend = (
                "raise the ResourceQuota, or ask for less in spec.serving.predictor.model.resources"
                if "quota" in message
                else "change spec.serving.predictor so that the namespace's policies let it in"
            )
            return Fault(f"{what}: {message}", mend=mend)
    return None


def last_lines(text: str) -> str:
    """The end of what a container wrote: whole lines, without colours, in bounds."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]", "", text.replace("\r\n", "\n"))
    lines = [line.rstrip() for line in plain.split("\n") if line.strip()][-LINES:]
    while len(lines) > 1 and len("\n".join(lines).encode()) > KEPT:
        del lines[0]
    return "\n".join(lines).encode()[-KEPT:].decode("utf-8", "ignore")


def _message(line: str) -> str:
    """A line of a log without when, who and how grave."""
    return re.sub(r"^.*?\b(?:ERROR|CRITICAL)\b:?\s*(?:\[[^\]]*\])?:?\s*", "", line).strip() or line.strip()


def _line(text: object) -> str:
    """A message in one line, in bounds."""
    return re.sub(r"\s+", " ", str(text or "no reason given")).strip()[:400]
