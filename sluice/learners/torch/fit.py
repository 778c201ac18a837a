"""Training as the rest of the project sees it: a dataset in, a directory with a model out. No torch here."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from sluice.core import errors, files
from sluice.core.errors import SluiceError
from sluice.core.processes import spawn
from sluice.core.warm import start as warm
from sluice.learners.base import HISTORY, Event, Job
from sluice.learners.errors import NonFiniteError, ProcessDied, TrainingError
from sluice.learners.state import State
from sluice.learners.torch import horovod
from sluice.learners.torch.encode import Encoded, encode_split
from sluice.learners.torch.job import ENCODED, TorchJob, causes, key_of, read_errors
from sluice.learners.torch.learner import MODEL, TorchTrained
from sluice.learners.torch.network import network_of
from sluice.learners.torch.plan import plan_of

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset
    from sluice.tasks.base import Task

#: Seconds a job that is told to stop has for its last checkpoint.
_STOP = 40.0
#: The program that sees a job's processes through.
_LAUNCH = "sluice.learners.torch.launch"
_TYPES: dict[str, type[SluiceError]] = {
    **{name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, SluiceError)},
    **{kind.__name__: kind for kind in (NonFiniteError, ProcessDied, TrainingError)},
}


def fit(task: Task, job: Job) -> TorchTrained:
    """Train on this machine, in ``train.processes`` processes.

    A process that is killed or stuck starts again from its last checkpoint, up to
    ``train.restarts`` times. Equal project, data and seed give the same weights bit for bit,
    interrupted or not.

    Args:
        task: what is learnt, with the project's settings.
        job: the data and where the model goes; a run of the same settings and data that was interrupted goes on from
            `job.checkpoints`, and deletes them when it is done.

    Raises:
        ProjectError, DataError: settings or rows that cannot be trained on.
        NonFiniteError: the loss became NaN or infinite.
        TrainingError: the task's code failed; the message ends with the process's traceback.
        ProcessDied: killed or stuck once more than ``train.restarts``.
    """
    project, dataset, tell, out = task.project, job.dataset, job.on_event, Path(job.out)
    if project.train.nodes > 1:
        tell(
            {
                "kind": "note",
                "text": f"train.nodes is {project.train.nodes}; this machine alone trains, with {project.train.processes} processes",
            }
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    work = out.with_name(f"{files.PARTIAL}{out.name}.train-{secrets.token_hex(4)}").absolute()
    work.mkdir()
    try:
        with _Launched(work, project.train.threads) as launched:
            made = prepare_job(task, dataset, work, checkpoints=job.checkpoints, world_size=project.train.processes)
            tell({"kind": "note", "text": made.plan.text(int(dataset.manifest["splits"]["train"]["rows"]))})
            status = launched.run(tell)
        if status:
            raise failure(made, status)
        finish_job(made, out)
        made.forget_checkpoints(lambda text: tell({"kind": "warning", "text": text}))
        return TorchTrained.open(network_of(task), out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def prepare_job(task: Task, dataset: Dataset, root: Path, *, world_size: int, checkpoints: Path | None = None) -> TorchJob:
    """Fit what the network needs and encode the rows: all that processes need, also those of other machines that see `root`.

    ``torchrun ... -m sluice.learners.torch.worker ROOT/job.json`` then trains, and `finish_job` collects.

    Raises:
        ProjectError, DataError: settings or rows that cannot be trained on.
    """
    project = task.project
    horovod.check(project.train)
    network = network_of(task)
    state = network.fit(dataset)
    validated = bool(dataset.manifest["splits"].get("validation", {}).get("rows"))
    for split in ("train", "validation") if validated else ("train",):
        encode_split(state, dataset, split, root / ENCODED / split)
    plan = plan_of(network, state, np.asarray(Encoded(root / ENCODED / "train", state.processor).labels), validated)
    job = TorchJob(
        root=root.absolute(),
        project=project,
        plan=plan,
        base_dir=task.base_dir.resolve(),
        data=dataset.digest,
        checkpoints=(checkpoints or root / "checkpoints").absolute(),
        key=key_of(project, plan, dataset, network, state),
        world_size=world_size,
    )
    for path in (job.state, job.errors):
        path.mkdir(parents=True)
    state.save(job.state)
    job.save()
    return job


def finish_job(job: TorchJob, out: Path) -> None:
    """Put a finished job's model together at `out`.

    Raises:
        TrainingError: the job has left no result.
    """
    if not (job.result / MODEL).exists():
        raise TrainingError("the job has left no model", field="train", value=str(job.root), fix="look at its log")
    state = State.load(job.state)
    with files.new_dir(out) as tmp:
        shutil.copyfile(job.result / MODEL, tmp / MODEL)
        shutil.copyfile(job.result / HISTORY, tmp / HISTORY)
        state.save(tmp)


def failure(job: TorchJob, status: int) -> SluiceError:
    """Why a job ended: the earliest failure of its processes, typed as it was raised there."""
    first = next(iter([*causes(job.errors), *read_errors(job.errors)]), None)
    if first is None:
        tail = job.log.read_text(errors="replace")[-3000:] if job.log.exists() else ""
        return TrainingError(f"the training processes ended with status {status}\n{tail}", field="train")
    if first["explained"]:
        kind = _TYPES.get(first["error"], TrainingError)
        value = {} if first["value"] is None else {"value": _Shown(first["value"])}
        return kind(first["message"], field=first["field"], fix=first["fix"], **value)
    return TrainingError(
        f"{first['error']}: {first['message']}\n{first['traceback']}".rstrip(),
        field=f"train (process {first['rank']})",
        fix="the traceback shows where; a task of your own is the first place to look",
    )


class _Shown:
    """A value another process has turned into text already."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


class _Launched:
    """The launcher process: started early, so that it imports torch while the rows are encoded; stopped whatever happens."""

    def __init__(self, work: Path, threads: int):
        events_read, events_write = os.pipe()
        go_read, self._go = os.pipe()
        self._events = os.fdopen(events_read, "rb")
        env = {
            **os.environ,
            "SLUICE_EVENTS_FD": str(events_write),
            "SLUICE_GO_FD": str(go_read),
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        }
        log, fds = work / "train.log", (events_write, go_read)
        try:
            self.process: subprocess.Popen[bytes] | warm.Process = warm.begin(
                "training", _LAUNCH, [str(work)], log=log, env=env, pass_fds=fds, orphan=signal.SIGTERM
            ) or spawn([sys.executable, "-m", _LAUNCH, str(work)], log=log, env=env, pass_fds=fds)
        finally:
            os.close(events_write)
            os.close(go_read)

    def __enter__(self) -> _Launched:
        return self

    def run(self, tell: Callable[[Event], None]) -> int:
        """Give the word, pass events on until the job ends; returns its exit status."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._go, b"go\n")
        with sigterm_raises():
            for line in self._events:
                tell(orjson.loads(line))
            return self.process.wait(_STOP)

    def __exit__(self, *_: object) -> None:
        os.close(self._go)
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self._events.close()


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """SIGTERM ends this process by an exception, so that the job writes its last checkpoint; a handler of the caller's is left alone."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def stop(*_: Any) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
