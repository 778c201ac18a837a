"""Training over several nodes: `sluice.learners.torch.fit.fit`, with a Kubeflow Trainer job in the place of processes.

The step prepares the job on a volume that the nodes see too, submits a ``TrainJob`` whose
processes are started by ``torchrun``, passes their events on, starts it again from its last
checkpoint when a node is lost, and collects the model from the volume.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.train.trainjob import JobSpec, NodeLost, TrainJobError, TrainJobs, owner, torchrun
from sluice.core import events
from sluice.core.errors import ProjectError
from sluice.data.dataset import Dataset
from sluice.learners.base import Event, Job
from sluice.learners.errors import ProcessDied
from sluice.learners.torch.fit import failure, finish_job, prepare_job, sigterm_raises
from sluice.learners.torch.job import TorchJob, causes, forget_errors
from sluice.learners.torch.learner import TorchTrained
from sluice.learners.torch.network import network_of
from sluice.learners.torch.telemetry import PORT, PORT_ENV
from sluice.project import Project
from sluice.tasks import Task

#: Where the nodes and the step share a volume: its claim, the folder it is mounted at in both; and the TrainingRuntime.
CLAIM_ENV, MOUNT_ENV, RUNTIME_ENV = "SLUICE_TRAIN_CLAIM", "SLUICE_TRAIN_MOUNT", "SLUICE_TRAIN_RUNTIME"
#: Longest an attempt may take, by default: a week.
_SECONDS = 7 * 24 * 3600.0
#: What torchrun puts before each line of a process.
_PREFIX = re.compile(r"\[rank \d+\] ")


def on_cluster(nodes: int) -> bool:
    """Whether the train step here hands its work to the Trainer: several nodes are asked for, and a shared volume is named."""
    return nodes > 1 and bool(os.environ.get(CLAIM_ENV))


def job_name(project: Project, dataset: Dataset, out: Path) -> str:
    """A DNS label of at most 50 characters: the same settings, data and place of the result give the same name again."""
    told = hashlib.sha256("\n".join((project.digest, dataset.digest, str(out))).encode()).hexdigest()[:10]
    return f"{project.name[:36].rstrip('-')}-{told}"


def fit(
    task: Task,
    job: Job,
    *,
    jobs: TrainJobs | None = None,
    on_line: Callable[[int, str], None] | None = None,
    seconds: float = _SECONDS,
    poll: float = 2.0,
    stop: threading.Event | None = None,
) -> TorchTrained:
    """As `sluice.learners.torch.fit.fit`, over ``train.nodes`` nodes of the cluster.

    Checkpoints lie on the shared volume under the job's key: a lost node, or a lost step, goes on from there.

    Args:
        task, job: as for the fit on one machine.
        jobs: the cluster's API; default: that of the pod's own namespace.
        on_line: told of every line of every node that is no event; default: stdout, with the node's number.
        seconds: how long an attempt may take.
        poll: seconds between two looks at the job.
        stop: set by another thread to end the job.

    Raises:
        TrainJobError, DeadlineError: the job cannot start, was cancelled, or is late.
        ProcessDied: a node was lost once more than ``train.restarts``; the message says how.
        ProjectError, DataError, NonFiniteError, TrainingError: as from a fit on one machine, the earliest of all processes.
    """
    project, dataset, out, tell = task.project, job.dataset, Path(job.out), job.on_event
    mount, claim = _mounted()
    jobs = jobs or TrainJobs()
    train, name = project.train, job_name(project, dataset, out.absolute())
    jobs.cancel(name)
    root = _empty(mount / "jobs" / name)
    name_of, nonce = [name], secrets.token_hex(16)
    hear = functools.partial(_heard, nonce=nonce, tell=tell, show=on_line or _show)
    try:
        made = prepare_job(task, dataset, root, world_size=train.nodes * train.processes, checkpoints=mount / "checkpoints")
        for attempt in range(train.restarts + 1):
            name_of[0] = name if not attempt else f"{name}-r{attempt}"
            spec = _spec(project, name_of[0], root, claim, str(mount), seconds, nonce)
            try:
                _run(jobs, spec, tell, on_line=hear, seconds=seconds, poll=poll, stop=stop)
                break
            except NodeLost as e:
                text = _again(e, made, attempt, train.restarts)
                jobs.cancel(spec.name)
                tell({"kind": "warning", "text": text})
        finish_job(made, out)
        made.forget_checkpoints(lambda text: tell({"kind": "warning", "text": text}))
        return TorchTrained.open(network_of(task), out)
    except BaseException:
        with contextlib.suppress(TrainJobError):
            jobs.cancel(name_of[0])
        raise
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _run(jobs: TrainJobs, spec: JobSpec, tell: Callable[[Event], None], **waiting: Any) -> None:
    """Submit a job and wait for it; what keeps its nodes from starting is told. Raises as `TrainJobs.wait`."""
    with sigterm_raises():
        jobs.replace(spec)
        tell({"kind": "note", "text": f"TrainJob {spec.name}: {spec.nodes} nodes of {spec.processes} processes"})
        jobs.wait(spec, on_state=lambda text: tell({"kind": "note", "text": text}), **waiting)


def _empty(root: Path) -> Path:
    """A fresh folder in the place of what a killed step left there."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    return root


def _show(node: int, line: str) -> None:
    print(f"[node {node}] {line}", flush=True)


def _mounted() -> tuple[Path, str | None]:
    """Where the volume that the nodes share is here, and its claim. Raises `ProjectError`: it is not mounted."""
    mount, claim = Path(os.environ.get(MOUNT_ENV, "/store")), os.environ.get(CLAIM_ENV)
    if not mount.is_dir():
        raise ProjectError(
            "is no folder here: the volume the nodes share is not mounted",
            field=MOUNT_ENV,
            value=str(mount),
            fix=f"mount the claim {claim} there, in this step too",
        )
    return mount, claim


def _again(lost: NodeLost, made: TorchJob, attempt: int, restarts: int) -> str:
    """Make ready for another attempt; returns what to say of it.

    Raises:
        SluiceError: a process explained why it failed: it would again.
        ProcessDied: that was the last attempt.
    """
    if causes(made.errors):
        raise failure(made, 1) from lost
    if attempt == restarts:
        raise ProcessDied(
            f"{lost.message}, {attempt + 1} times",
            field=lost.field,
            fix="more memory a node (or a smaller batch_size), or raise train.restarts",
        ) from lost
    forget_errors(made.errors)
    good = max((p.name for p in (made.checkpoints / made.key[:16]).glob("step-*")), default=None)
    return f"{lost.message}; starting again from {good or 'the beginning'} (restart {attempt + 1} of {restarts})"


def _spec(project: Project, name: str, root: Path, claim: str | None, mount: str, seconds: float, nonce: str) -> JobSpec:
    train = project.train
    env = {
        "OMP_NUM_THREADS": str(train.threads),
        "PYTHONUNBUFFERED": "1",
        "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "[rank ${rank}] ",
        PORT_ENV: str(PORT),
        events.NONCE_ENV: nonce,
    }
    resources = {"nvidia.com/gpu": str(train.processes)} if train.device == "cuda" else {}
    return JobSpec(
        name=name,
        nodes=train.nodes,
        processes=train.processes,
        command=torchrun(train.nodes, train.processes, root / "job.json"),
        runtime=os.environ.get(RUNTIME_ENV, "sluice-torch"),
        claim=claim,
        mount=mount,
        owner=owner(),
        env=env,
        resources=resources,
        deadline=int(seconds),
    )


def _heard(node: int, line: str, nonce: str, tell: Callable[[Event], None], show: Callable[[int, str], None]) -> None:
    """A line of a node: the training's own events are passed on as what they are."""
    event = events.parse(_PREFIX.sub("", line, count=1), nonce)
    if event is not None and event["kind"] == "progress" and isinstance(event.get("data"), dict):
        tell(event["data"])
    else:
        show(node, line)
