"""Training over several nodes: a Kubeflow Trainer job from the train step, with all its logs, until it ends or is told to.

The step prepares the job on a volume that the nodes see too, submits a typed ``TrainJob`` whose
processes are started by ``torchrun``, and collects the model from the volume.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sluice.errors import DeadlineError, SluiceError

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
#: Trainer names the container that trains so, and nothing else.
CONTAINER = "node"
JOBSET, RANK = "jobset.sigs.k8s.io/jobset-name", "batch.kubernetes.io/job-completion-index"
#: Where the nodes and the step share a volume: its claim, and the folder it is mounted at in both.
CLAIM_ENV, MOUNT_ENV, RUNTIME_ENV = "SLUICE_TRAIN_CLAIM", "SLUICE_TRAIN_MOUNT", "SLUICE_TRAIN_RUNTIME"
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class TrainJobError(SluiceError):
    """The job failed, was refused, or was cancelled; the message says which node and why."""


@dataclasses.dataclass(frozen=True)
class JobSpec:
    """What is asked of the Trainer.

    Attributes:
        name: DNS label, at most 50 characters: pods are named after it.
        nodes, processes: machines, and processes on each.
        command: started on every node; ``torchrun`` is part of it.
        runtime: a TrainingRuntime of the namespace.
        claim, mount: the shared volume and where it is mounted.
        image: in place of the runtime's.
        resources: requests of a node, for example ``{"cpu": "2", "nvidia.com/gpu": "1"}``.
        owner: an owner reference, so that the job goes when the step's pod does.
        deadline: seconds the job may run before the Trainer ends it.
    """

    name: str
    nodes: int
    processes: int
    command: tuple[str, ...]
    runtime: str = "sluice-torch"
    claim: str | None = None
    mount: str = "/store"
    image: str | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    resources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    owner: Mapping[str, Any] | None = None
    deadline: int | None = None

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 50:
            raise TrainJobError(
                "is empty or longer than 50 characters, and pods are named after it", field="name", value=self.name, fix="shorten it"
            )
        reserved = sorted(k for k in self.env if k.startswith("PET_"))
        if reserved:
            raise TrainJobError("is the Trainer's own", field="env", value=reserved, fix="set nodes and processes instead")

    def manifest(self) -> dict[str, Any]:
        """The ``TrainJob``."""
        trainer: dict[str, Any] = {"numNodes": self.nodes, "numProcPerNode": self.processes, "command": list(self.command)}
        if self.image:
            trainer["image"] = self.image
        if self.env:
            trainer["env"] = [{"name": k, "value": v} for k, v in sorted(self.env.items())]
        if self.resources:
            trainer["resourcesPerNode"] = {"requests": dict(self.resources)}
        spec: dict[str, Any] = {"runtimeRef": {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": self.runtime}, "trainer": trainer}
        if self.deadline:
            spec["activeDeadlineSeconds"] = self.deadline
        if self.claim:
            pod = {"volumes": [{"name": "job", "persistentVolumeClaim": {"claimName": self.claim}}],
                   "containers": [{"name": CONTAINER, "volumeMounts": [{"name": "job", "mountPath": self.mount}]}]}  # fmt: skip
            job = {"name": CONTAINER, "template": {"spec": {"template": {"spec": pod}}}}
            spec["runtimePatches"] = [
                {"manager": "sluice.dev/train", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}}}
            ]
        meta: dict[str, Any] = {
            "name": self.name,
            "labels": {"app.kubernetes.io/part-of": "sluice", "app.kubernetes.io/component": "training"},
        }
        if self.owner:
            meta["ownerReferences"] = [dict(self.owner)]
        return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainJob", "metadata": meta, "spec": spec}


def torchrun(spec_nodes: int, processes: int, job: Path) -> tuple[str, ...]:
    """The command of a node: the Trainer gives rendezvous and rank in ``PET_*``, which torchrun reads itself."""
    return ("torchrun", f"--nnodes={spec_nodes}", f"--nproc-per-node={processes}", "-m", "sluice.training.worker", str(job))


class TrainJobs:
    """Jobs of one namespace, over the official client.

    Args:
        namespace: default: the pod's own.
        custom, core: `CustomObjectsApi` and `CoreV1Api`; made from the pod's service account, else the kubeconfig.
    """

    def __init__(self, namespace: str | None = None, custom: Any = None, core: Any = None):
        if custom is None or core is None:
            from kubernetes import client, config

            try:
                config.load_incluster_config()
            except config.ConfigException:
                config.load_kube_config()
            custom, core = custom or client.CustomObjectsApi(), core or client.CoreV1Api()
        self.custom, self.core = custom, core
        self.namespace = namespace or own_namespace()

    def submit(self, spec: JobSpec) -> None:
        """Create the job. Raises `TrainJobError` when it is refused."""
        self._call("submit", self.custom.create_namespaced_custom_object, GROUP, VERSION, self.namespace, PLURAL, spec.manifest())

    def cancel(self, name: str) -> None:
        """Delete the job and its pods; nothing happens when it has gone."""
        from kubernetes.client import ApiException

        try:
            self.custom.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name, propagation_policy="Foreground")
        except ApiException as e:
            if e.status != 404:
                raise TrainJobError(f"cannot be deleted: {e.reason}", field=f"TrainJob {name}", fix="check the Role sluice-pipeline") from e

    def condition(self, name: str) -> tuple[str, str]:
        """(``Complete`` | ``Failed`` | ``Running``, message)."""
        job = self._call("read", self.custom.get_namespaced_custom_object, GROUP, VERSION, self.namespace, PLURAL, name)
        for c in (job.get("status") or {}).get("conditions") or []:
            if c["type"] in ("Complete", "Failed") and c["status"] == "True":
                return c["type"], c.get("message", "")
        return "Running", ""

    def pods(self, name: str) -> list[Any]:
        found = self._call("list pods", self.core.list_namespaced_pod, self.namespace, label_selector=f"{JOBSET}={name}").items
        return sorted(found, key=rank_of)

    def wait(
        self, spec: JobSpec, *, on_line: Callable[[int, str], None], seconds: float, poll: float = 2.0, stop: threading.Event | None = None
    ) -> None:
        """Until the job is complete; every line of every node goes to `on_line(node, line)` as it comes.

        Raises:
            TrainJobError: it failed (the message names the node and the cause), or `stop` was set: then it is deleted.
            DeadlineError: not done after `seconds`: it is deleted.
        """
        end = time.monotonic() + seconds
        readers: dict[str, threading.Thread] = {}
        stop = stop or threading.Event()
        endings: dict[int, str] = {}
        threading.Thread(target=self._watch_endings, args=(spec.name, endings, int(seconds)), daemon=True).start()
        last: dict[int, str] = {}

        def heard(node: int, line: str) -> None:
            last[node] = line
            on_line(node, line)

        while True:
            pods = self.pods(spec.name)
            for pod in pods:
                if pod.metadata.name not in readers and pod.status.phase in ("Running", "Succeeded", "Failed"):
                    reader = threading.Thread(target=self._read, args=(pod.metadata.name, rank_of(pod), heard), daemon=True)
                    reader.start()
                    readers[pod.metadata.name] = reader
            kind, message = self.condition(spec.name)
            if kind != "Running":
                for reader in readers.values():
                    reader.join(10)
                if kind == "Failed":
                    raise TrainJobError(cause(endings, last, message), field=f"TrainJob {spec.name}", fix="the nodes' logs are above")
                return
            if stop.wait(poll):
                self.cancel(spec.name)
                raise TrainJobError("was cancelled", field=f"TrainJob {spec.name}")
            if time.monotonic() > end:
                states = ", ".join(f"node {rank_of(p)} {p.status.phase}" for p in pods) or "no pod was made"
                self.cancel(spec.name)
                raise DeadlineError(
                    f"not done after {seconds:g} s: {states}", field=f"TrainJob {spec.name}", fix="is there room for its pods?"
                )

    def _read(self, pod: str, node: int, on_line: Callable[[int, str], None]) -> None:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            stream = self.core.read_namespaced_pod_log(pod, self.namespace, container=CONTAINER, follow=True, _preload_content=False)
            for line in lines(stream.stream()):
                on_line(node, line)
        except (ApiException, HTTPError) as e:
            on_line(node, f"(the log ends here: {e})")

    def _watch_endings(self, name: str, endings: dict[int, str], seconds: int) -> None:
        """How each node's process ended. A failed job's pods are deleted at once: only a watch is sure to see it."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = self.core.list_namespaced_pod(self.namespace, label_selector=f"{JOBSET}={name}", watch=True, timeout_seconds=seconds,
                                                   _preload_content=False)  # fmt: skip
            for line in lines(answer.stream()):
                pod = json.loads(line)["object"]
                for status in (pod.get("status") or {}).get("containerStatuses") or []:
                    ended = (status.get("state") or {}).get("terminated")
                    if ended and ended.get("exitCode"):
                        rank = int((pod["metadata"].get("labels") or {}).get(RANK, 0))
                        memory = ended.get("reason") == "OOMKilled"
                        endings.setdefault(rank, "was killed for memory" if memory else f"ended with status {ended['exitCode']}")
        except (ApiException, HTTPError, ValueError, KeyError) as e:
            endings.setdefault(-1, f"could not be watched: {e}")

    def _call(self, what: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        for pause in (1.0, 3.0, None):
            try:
                return method(*args, **kwargs, _request_timeout=30)
            except (ApiException, HTTPError) as e:
                status = getattr(e, "status", 0) or 0
                if pause is not None and (status == 0 or status == 429 or status >= 500):
                    time.sleep(pause)
                    continue
                raise TrainJobError(f"could not {what}: {status} {getattr(e, 'body', None) or e}"[:800], field="TrainJob",
                                    fix="is the Trainer installed, and does the Role sluice-pipeline allow it?") from e  # fmt: skip
        raise AssertionError("unreachable")


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


def rank_of(pod: Any) -> int:
    """A node's number within its job."""
    return int((pod.metadata.labels or {}).get(RANK, 0))


def own_namespace() -> str:
    """The pod's namespace. Raises `TrainJobError` outside a pod."""
    try:
        return _NAMESPACE_FILE.read_text().strip()
    except OSError as e:
        raise TrainJobError("is not known outside a pod", field="namespace", fix="name it") from e


def on_cluster(nodes: int) -> bool:
    """Whether the train step here hands its work to the Trainer: several nodes are asked for, and a shared volume is named."""
    return nodes > 1 and bool(os.environ.get(CLAIM_ENV))


def owner() -> dict[str, Any] | None:
    """This pod as an owner reference, from what KFP tells a step."""
    name, uid = os.environ.get("KFP_POD_NAME"), os.environ.get("KFP_POD_UID")
    return {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid} if name and uid else None


def fit(project: Any, dataset: Any, out: Path, *, base_dir: Path | None = None, jobs: TrainJobs | None = None,
        on_line: Callable[[int, str], None] | None = None, seconds: float = 24 * 3600.0, stop: threading.Event | None = None) -> Any:  # fmt: skip
    """As `sluice.training.fit.fit`, over ``train.nodes`` nodes of the cluster.

    Raises:
        TrainJobError, DeadlineError: the job failed, was refused, cancelled or late.
        ProjectError, DataError: settings or rows that cannot be trained on.
    """
    from sluice.training.fit import finish_job, prepare_job

    train = project.train
    mount, claim = Path(os.environ.get(MOUNT_ENV, "/store")), os.environ.get(CLAIM_ENV)
    name = f"{project.name[:40]}-{secrets.token_hex(3)}"
    root = mount / "jobs" / name
    root.mkdir(parents=True)
    job = prepare_job(project, dataset, root, base_dir=base_dir, world_size=train.nodes * train.processes)
    spec = JobSpec(name=name, nodes=train.nodes, processes=train.processes, command=torchrun(train.nodes, train.processes, root / "job.json"),
                   runtime=os.environ.get(RUNTIME_ENV, "sluice-torch"), claim=claim, mount=str(mount), owner=owner(), env={"OMP_NUM_THREADS": str(train.threads)})  # fmt: skip
    jobs = jobs or TrainJobs()
    jobs.submit(spec)
    jobs.wait(spec, on_line=on_line or (lambda node, line: print(f"[{node}] {line}", flush=True)), seconds=seconds, stop=stop)
    return finish_job(job, Path(out))
