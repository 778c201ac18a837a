"""One training process: ``torchrun ... -m sluice.learners.torch.worker JOB.json``, or forked by `sluice.learners.torch.launch`."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
import torch.distributed as dist

from sluice.core import events, files
from sluice.core.errors import SluiceError
from sluice.learners.state import State
from sluice.learners.torch import horovod
from sluice.learners.torch.checkpoint import Checkpoints
from sluice.learners.torch.distributed import RENDEZVOUS, Heartbeat, World, join
from sluice.learners.torch.encode import Encoded
from sluice.learners.torch.environment import environment
from sluice.learners.torch.job import TorchJob
from sluice.learners.torch.loader import died
from sluice.learners.torch.loop import Stopped, Trainer
from sluice.learners.torch.mirror import mirror
from sluice.learners.torch.network import Network, network_of
from sluice.learners.torch.shards import Shards
from sluice.learners.torch.telemetry import Telemetry, port_of
from sluice.learners.torch.tensorfile import write_tensors
from sluice.learners.torch.watchdog import Guard
from sluice.problems.answers import positive_index
from sluice.tasks import load_task

#: File descriptor progress is written to, one JSON object a line; without it progress goes to stdout as marked lines.
EVENTS_FD = "SLUICE_EVENTS_FD"
#: Exit status after a checkpoint on SIGTERM, as a shell counts it.
TERMINATED = 128 + signal.SIGTERM
#: Exit status of a failure that is explained in ``errors/``.
FAILED = 3
#: Exit status where a process that puts batches together was killed: as if this one had been.
LOADER_DIED = 6


def emit(event: dict[str, Any]) -> None:
    """Send one event to whoever started the job."""
    fd, pipe = os.environ.get(EVENTS_FD), os.environ.get(horovod.EVENTS_PIPE)
    if fd is None and pipe is None:
        events.emit("progress", step="train", data=event)
        return
    line = orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY, default=str) + b"\n"
    with contextlib.suppress(BrokenPipeError):
        if pipe is None:
            os.write(int(fd or 0), line)
            return
        with Path(pipe).open("ab", buffering=0) as f:
            f.write(line)


def run(job: TorchJob, heartbeat: Path | None = None) -> int:
    """Train as the process the environment says this is; returns the exit status.

    Args:
        job: the job.
        heartbeat: file to beat in after every step.
    """
    train = job.project.train
    torch.set_num_threads(train.threads)
    keep_memory()
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    stack = (job.root / f"stack-{rank}.txt").open("w")
    faulthandler.register(signal.SIGUSR1, file=stack, all_threads=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if rank else signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher decides
    beats = Heartbeat(heartbeat, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))) if heartbeat else None
    guard = None if beats or RENDEZVOUS in os.environ else Guard(job, rank)

    def beat(step: int) -> None:
        if beats:
            beats.beat(local, step)
        if guard:
            guard.beat()

    try:
        _train(job, join(train.device, timeout=max(600.0, 3 * train.hang_seconds)), beat)
    except Stopped:
        emit({"kind": "warning", "text": "told to stop (SIGTERM): a checkpoint was written"})
        return TERMINATED
    except Exception as e:
        if died(e):
            traceback.print_exc()
            return LOADER_DIED
        write_error(job, rank, e)
        return FAILED
    return 0


def keep_memory() -> None:
    """Have the C library keep freed memory: a large gradient is then not mapped, cleared and paged in anew in every step (glibc)."""
    m_trim_threshold, m_mmap_max = -1, -4
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def _train(job: TorchJob, world: World, beat: Callable[[int], None]) -> None:
    network = network_of(load_task(job.project, job.base_dir))
    state = State.load(job.state)
    processor = state.processor
    train = Encoded(job.encoded("train"), processor)
    validation = Encoded(job.encoded("validation"), processor) if job.encoded("validation").exists() else None

    def warn(text: str) -> None:
        emit({"kind": "warning", "text": text})

    kept = job.project.train.checkpoint
    copies = mirror(kept.store, job.key[:16], warn) if world.first else None
    # A writer that stands still costs a checkpoint, not the job.
    shards = Shards.of(world, job.project.train.hang_seconds / 2) if job.project.train.parallel == "fsdp" and world.size > 1 else None
    checkpoints = Checkpoints(job.checkpoints / job.key[:16], kept.keep, warn, copies, shards)
    resumed = checkpoints.latest() if world.first else None
    path = world.broadcast(resumed.path.name if resumed else None)
    if path and not world.first:
        resumed = checkpoints.read(checkpoints.root / path)
    tell = Telemetry(emit, job.project.name, port_of(job.project.train.metrics_port)).emit if world.first else emit
    trainer = Trainer(
        network,
        state,
        job.plan,
        train,
        validation,
        world,
        checkpoints,
        resumed,
        tell,
        beat,
        positive=positive_index(
            job.project.evaluate.positive or state.problem.positive(np.asarray(train.labels), state.labels), state.labels
        ),
    )
    del resumed
    weights = trainer.run()
    if world.first:
        _write_result(job, trainer, _settled(network, state, train, validation, weights))
    world.barrier()
    if world.size > 1:
        dist.destroy_process_group()


def _settled(
    network: Network, state: State, rows: Encoded, held: Encoded | None, weights: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The weights with what is fitted last (`Network.settle`, `Network.calibrate`)."""
    calibrates = held is not None and type(network).calibrate is not Network.calibrate
    if type(network).settle is Network.settle and not calibrates:
        return weights
    model = network.build(state)
    model.load_state_dict(weights)
    network.settle(model.eval(), state, rows)
    if held is not None:
        network.calibrate(model.eval(), state, rows, held)
    return {name: value.detach().contiguous() for name, value in model.state_dict().items()}


def _write_result(job: TorchJob, trainer: Trainer, weights: dict[str, torch.Tensor]) -> None:
    p, world = trainer.progress, trainer.world
    chosen = p.stopping.best_epoch if p.stopping.best is not None else p.epoch
    with files.new_dir(job.result) as tmp:
        write_tensors(tmp / "model.safetensors", weights)
        files.write_json(
            tmp / "training.json",
            {
                "history": p.history,
                "best_epoch": chosen,
                "stopped_early": p.ended == "patience",
                "ended": p.ended or "epochs",
                "plan": job.plan.shown(),
                "seconds": p.seconds,
                "world_size": world.size,
                "rows": {"train": trainer.data.rows, "validation": trainer.validation.rows if trainer.validation else 0},
                "checkpoint_copy_seconds": trainer.checkpoints.seconds_copying,
                "parameters": {
                    "all": sum(t.numel() for t in trainer.model.parameters()),
                    "trained": sum(t.numel() for t in trainer.parameters),
                },
                "gradients": trainer.reducer.name,
                "environment": environment(world),
            },
        )


def write_error(job: TorchJob, rank: int, error: Exception) -> None:
    """Leave a failure where the launcher finds it: the type, the message and the traceback."""
    text = "".join(traceback.format_exception(error))
    print(text, file=sys.stderr, flush=True)
    fields = error.to_dict() if isinstance(error, SluiceError) else {"error": type(error).__name__, "message": str(error) or repr(error)}
    files.write_json(
        job.errors / f"rank-{rank}.json",
        {
            **fields,
            "explained": isinstance(error, SluiceError),
            "lost_peer": lost_peer(error),
            "rank": rank,
            "time": time.time(),
            "traceback": text,
        },
    )


def lost_peer(error: Exception) -> bool:
    """Whether a failure is only that another process could not be reached any more: that one's end is the cause."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(n in str(error) for n in ("gloo/", "[gloo", "NCCL"))
    )


def main(argv: list[str] | None = None) -> int:
    """The entry for torchrun and the cluster."""
    parser = argparse.ArgumentParser(prog="python -m sluice.learners.torch.worker", description="One training process of a prepared job.")
    parser.add_argument("job", type=Path, help="job.json, as sluice.learners.torch.job writes it")
    parser.add_argument("--heartbeat", type=Path, help="file to note every finished step in")
    args = parser.parse_args(argv)
    horovod.adopt(os.environ)
    return run(TorchJob.load(args.job), args.heartbeat)


if __name__ == "__main__":
    sys.exit(main())
