"""Training as the rest of the project sees it: a dataset in, a directory with a model out. No torch here."""

from __future__ import annotations

import contextlib
import dataclasses
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
from sluice.core.errors import DataError, SluiceError
from sluice.core.processes import spawn
from sluice.learners.base import HISTORY, Event
from sluice.learners.torch import horovod
from sluice.learners.torch.encode import Encoded, encode_split
from sluice.learners.torch.errors import NonFiniteError, ProcessDied, TrainingError
from sluice.learners.torch.job import ENCODED, Job, causes, key_of, read_errors
from sluice.learners.torch.learner import MODEL, TorchTrained
from sluice.learners.torch.plan import plan_of
from sluice.tasks import State, Task, load_task

if TYPE_CHECKING:
    import torch

    from sluice.data.dataset import Dataset
    from sluice.project import Project

#: Seconds a job that is told to stop has for its last checkpoint.
_STOP = 40.0
_TYPES: dict[str, type[SluiceError]] = {
    **{name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, SluiceError)},
    **{kind.__name__: kind for kind in (NonFiniteError, ProcessDied, TrainingError)},
}


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What `fit` made.

    Attributes:
        out: the directory: ``model.safetensors``, ``state.json`` with the processor's files, ``training.json``.
        history: one entry an epoch (epoch 0 is a model that was fitted before the first step): epoch, step, train_loss, validation_loss, validation_metrics,
            samples_per_second, learning_rate.
        best_epoch: the epoch whose weights are the model, from 1.
        stopped_early: whether early stopping ended the run.
        seconds: time in the loop, over all attempts.
        world_size: processes.
    """

    out: Path
    history: list[dict[str, Any]]
    best_epoch: int
    stopped_early: bool
    seconds: float
    world_size: int

    @property
    def metrics(self) -> dict[str, float]:
        """The validation metrics of the model's own epoch, with ``loss``."""
        entry = next((h for h in self.history if h["epoch"] == self.best_epoch), self.history[-1])
        loss = {} if entry["validation_loss"] is None else {"loss": entry["validation_loss"]}
        return {**loss, **entry["validation_metrics"]}


def fit(
    project: Project,
    dataset: Dataset,
    out: Path,
    *,
    base_dir: Path | None = None,
    on_event: Callable[[Event], None] | None = None,
    checkpoints: Path | None = None,
) -> TrainResult:
    """Train on this machine, in ``train.processes`` processes.

    A process that is killed or stuck starts again from its last checkpoint, up to
    ``train.restarts`` times. Equal project, data and seed give the same weights bit for bit,
    interrupted or not.

    Args:
        project: the project.
        dataset: its data.
        out: directory to make, whole or not at all.
        base_dir: where relative paths in the project start; null: the working directory.
        on_event: told of progress: ``{"kind": "step" | "epoch" | "note" | "warning" | "stack", ...}``.
        checkpoints: directory for checkpoints that outlive this call; a run of the same settings and
            data that was interrupted goes on from there, and deletes them when it is done.

    Raises:
        ProjectError, DataError: settings or rows that cannot be trained on.
        NonFiniteError: the loss became NaN or infinite.
        TrainingError: the task's code failed; the message ends with the process's traceback.
        ProcessDied: killed or stuck once more than ``train.restarts``.
    """
    tell = on_event or (lambda event: None)
    out = Path(out)
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
            job = prepare_job(project, dataset, work, base_dir=base_dir, checkpoints=checkpoints, world_size=project.train.processes)
            tell({"kind": "note", "text": job.plan.text(int(dataset.manifest["splits"]["train"]["rows"]))})
            status = launched.run(tell)
        if status:
            raise failure(job, status)
        result = finish_job(job, out)
        job.forget_checkpoints(lambda text: tell({"kind": "warning", "text": text}))
        return result
    finally:
        shutil.rmtree(work, ignore_errors=True)


def prepare_job(
    project: Project, dataset: Dataset, root: Path, *, world_size: int, base_dir: Path | None = None, checkpoints: Path | None = None
) -> Job:
    """Fit the task's state and encode the rows: all that processes need, also those of other machines that see `root`.

    ``torchrun ... -m sluice.learners.torch.worker ROOT/job.json`` then trains, and `finish_job` collects.

    Raises:
        ProjectError, DataError: settings or rows that cannot be trained on.
    """
    horovod.check(project.train)
    task = load_task(project, base_dir)
    state = task.fit(dataset)
    validated = bool(dataset.manifest["splits"].get("validation", {}).get("rows"))
    for split in ("train", "validation") if validated else ("train",):
        encode_split(task, state, dataset, split, root / ENCODED / split)
    plan = plan_of(task, state, np.asarray(Encoded(root / ENCODED / "train", task.processor(state)).labels), validated)
    job = Job(
        root=root.absolute(),
        project=project,
        plan=plan,
        base_dir=(base_dir or Path()).resolve(),
        data=dataset.digest,
        checkpoints=(checkpoints or root / "checkpoints").absolute(),
        key=key_of(project, plan, dataset, task, state),
        world_size=world_size,
    )
    for path in (job.state, job.errors):
        path.mkdir(parents=True)
    state.save(job.state)
    job.save()
    return job


def finish_job(job: Job, out: Path) -> TrainResult:
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
    raw = files.read_json(out / HISTORY)
    return TrainResult(
        out=out,
        history=raw["history"],
        best_epoch=raw["best_epoch"],
        stopped_early=raw["stopped_early"],
        seconds=raw["seconds"],
        world_size=raw["world_size"],
    )


def failure(job: Job, status: int) -> SluiceError:
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
        try:
            self.process: subprocess.Popen[bytes] = spawn(
                [sys.executable, "-m", "sluice.learners.torch.launch", str(work)],
                log=work / "train.log",
                env=env,
                pass_fds=(events_write, go_read),
            )
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


def load_trained(project: Project, model_dir: Path, base_dir: Path | None = None) -> tuple[Task, State, torch.nn.Module]:
    """The task, its state and the trained model, in evaluation mode on the CPU.

    Raises:
        ProjectError: the project's task or model settings do not build this model.
        DataError: not a directory that `fit` made.
    """
    task = load_task(project, base_dir)
    trained = TorchTrained.open(task, Path(model_dir))
    return task, trained.state, trained.module


def predict(task: Task, state: State, module: torch.nn.Module, dataset: Dataset, split: str, batch_size: int = 64) -> np.ndarray:
    """The trained model's answers on a split, in FP32.

    Args:
        task, state, module: as `load_trained` gives them.
        dataset, split: whose rows.
        batch_size: rows a forward pass; rows of like length go together.

    Returns:
        Probabilities [rows, labels] or values [rows], float64, in the order of ``dataset.read(split)``.

    Raises:
        DataError: a row cannot be pre-processed.
    """
    import tempfile

    import torch

    from sluice.learners.torch.distributed import World
    from sluice.learners.torch.encode import Encoded
    from sluice.learners.torch.validate import run_split

    with tempfile.TemporaryDirectory(prefix="sluice-") as tmp:
        encode_split(task, state, dataset, split, Path(tmp) / split)
        data = Encoded(Path(tmp) / split, task.processor(state))
        if not data.rows:
            raise DataError("has no rows", field=f"dataset {split}", fix="check data.split")
        outputs, _ = run_split(task, state, module, data, World(0, 1, 0, torch.device("cpu")), batch_size=batch_size)
    assert outputs is not None  # one process is the first
    return outputs
