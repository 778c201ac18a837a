"""A step that hands its work to a `RayJob` and takes the result from the volume that both see."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.rayjob import CLAIM_ENV, ERROR, JOB
from components.rayjob.jobs import RayJobs
from components.rayjob.spec import LONGEST, RayJobSpec
from components.train.trainjob import TrainJobError, owner
from sluice.core import errors, events, files
from sluice.core.errors import ProjectError, SluiceError
from sluice.learners.torch.fit import sigterm_raises

#: The folder at which the volume is mounted in both; the job's image, workers, and what each asks for.
MOUNT_ENV, IMAGE_ENV = "SLUICE_RAY_MOUNT", "SLUICE_RAY_IMAGE"
WORKERS_ENV, CPU_ENV, MEMORY_ENV, DEADLINE_ENV = "SLUICE_RAY_WORKERS", "SLUICE_RAY_CPU", "SLUICE_RAY_MEMORY", "SLUICE_RAY_DEADLINE"
#: How often a job whose cluster was lost is begun again; seconds it may take.
_RETRIES, _DEADLINE = 1, 24 * 3600


def job_name(project: str, work: str, told: str) -> str:
    """A DNS label: the same work of the same project gives the same name again."""
    end = f"-{work.replace('_', '-')[:12].rstrip('-')}-{hashlib.sha256(told.encode()).hexdigest()[:10]}"
    return project[: LONGEST - len(end)].rstrip("-") + end


@contextlib.contextmanager
def handed(
    work: str, project: str, told: dict[str, Any], *, jobs: RayJobs | None = None, poll: float = 2.0, stop: threading.Event | None = None
) -> Iterator[Path]:
    """The folder in which a job has left its result; it is gone when the block ends.

    Args:
        work: one of `entry.WORK`. project: its name. told: what that work takes, plain JSON.
        jobs: the cluster's API; default: that of the pod's own namespace. poll: seconds between two looks. stop: set by another thread to end it.

    Raises:
        TrainJobError, NodeLost, DeadlineError: it cannot start, failed, was cancelled, or is late.
        SluiceError: what the work itself says.
    """
    jobs = jobs or RayJobs()
    text = files.canonical_json({"work": work, **told}).decode()
    name = job_name(project, work, text)
    mount = Path(os.environ.get(MOUNT_ENV, "/store"))
    if not mount.is_dir():
        fix = f"mount the claim {os.environ.get(CLAIM_ENV)} there, in this step too"
        raise ProjectError("is no folder here: the volume that the job shares is not mounted", field=MOUNT_ENV, value=str(mount), fix=fix)
    folder, nonce = mount / "rayjobs" / name, secrets.token_hex(16)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files.write_bytes(folder / JOB, text.encode())
    spec = _spec(name, folder, str(mount), nonce)
    try:
        with sigterm_raises():
            jobs.replace(spec)
            events.emit("note", text=f"RayJob {name}: {spec.workers} workers")
            try:
                jobs.wait(
                    spec,
                    on_line=lambda pod, line: _heard(line, nonce),
                    on_state=_note,
                    seconds=spec.deadline or _DEADLINE,
                    poll=poll,
                    stop=stop,
                )
            except TrainJobError as e:
                raise (_explained(folder) or e) from e
        yield folder
    finally:
        with contextlib.suppress(TrainJobError):
            jobs.cancel(name)
        shutil.rmtree(folder, ignore_errors=True)


def _note(text: str) -> None:
    events.emit("note", text=text)


def _spec(name: str, folder: Path, mount: str, nonce: str) -> RayJobSpec:
    image = os.environ.get(IMAGE_ENV)
    if not image:
        raise ProjectError("is not set", field=IMAGE_ENV, fix="name the pipeline's image, by its digest")
    try:
        import ray

        version = str(ray.__version__)
    except ImportError:
        version = ""
    return RayJobSpec(
        name=name,
        command=("python", "-m", "components.rayjob.entry", str(folder)),
        image=image,
        workers=int(os.environ.get(WORKERS_ENV, "2")),
        resources={"cpu": os.environ.get(CPU_ENV, "1"), "memory": os.environ.get(MEMORY_ENV, "2Gi")},
        claim=os.environ.get(CLAIM_ENV),
        mount=mount,
        env={events.NONCE_ENV: nonce, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        owner=owner(),
        deadline=int(os.environ.get(DEADLINE_ENV, _DEADLINE)),
        retries=_RETRIES,
        version=version,
    )


def _heard(line: str, nonce: str) -> None:
    """A line of the job: its own events are passed on as what they are."""
    event = events.parse(line, nonce)
    if event is None:
        print(f"[ray] {line}", flush=True)
    elif event["kind"] in ("note", "progress"):
        events.emit(event.pop("kind"), **event)


def _explained(folder: Path) -> SluiceError | None:
    """What the work says was wrong."""
    if not (folder / ERROR).exists():
        return None
    told = files.read_json(folder / ERROR)
    kind = getattr(errors, told["kind"], SluiceError)
    value = {} if told["value"] is None else {"value": told["value"]}
    found = kind(told["message"], field=told["field"], fix=told["fix"], **value)
    return found if isinstance(found, SluiceError) else None
