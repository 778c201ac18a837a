"""Starts the training processes of one machine and sees them through: ``python -m sluice.learners.torch.launch ROOT``.

On CPUs the processes are forked from this one after torch is imported, so its two seconds are
paid once, and a restart costs none. A killed process, or one that has not finished a step for
``train.hang_seconds``, ends them all; they start again from the last checkpoint. GPUs cannot be
used after a fork, so there each process is a program of its own.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sluice.core.processes import die_with_parent, spawn
from sluice.learners.torch.job import TorchJob, causes, forget_errors

#: File descriptor a line comes from when the job is ready to start.
GO_FD = "SLUICE_GO_FD"

#: Seconds a process has to come to its first step, where `hang_seconds` is less.
_START = 180.0
#: Seconds for the others to fail, and for the first process to save what is done, after one died.
_GRACE = 20.0
_POLL = 0.02
#: One that hangs stops the others in the same step: whose last beat is by so much younger is stuck as well.
_TOGETHER = 0.5


@dataclasses.dataclass
class Child:
    """A process: `status` as waitpid gives it, None while it runs."""

    rank: int
    pid: int
    status: int | None = None
    process: subprocess.Popen[bytes] | None = None

    def describe(self) -> str:
        """How it ended, as a clause."""
        if self.status is None:
            return "is running"
        if os.WIFSIGNALED(self.status):
            return f"was killed by {signal.Signals(os.WTERMSIG(self.status)).name}"
        from sluice.learners.torch.worker import LOADER_DIED

        if os.WEXITSTATUS(self.status) == LOADER_DIED:
            return "lost a process that puts its batches together, killed by another hand (out of memory, if nobody else killed it)"
        return f"ended with status {os.WEXITSTATUS(self.status)}"

    @property
    def killed(self) -> bool:
        """Whether a signal ended it."""
        return self.status is not None and os.WIFSIGNALED(self.status)


class Launcher:
    """The processes of one machine.

    Args:
        job: the job.
        fork: fork them rather than start programs.
    """

    def __init__(self, job: TorchJob, fork: bool):
        from sluice.learners.torch.worker import emit

        self.job, self.fork, self.emit = job, fork, emit
        self.terminate = False
        self.children: list[Child] = []
        self._attempt = 0
        self._shared: int | None = None

    def run(self) -> int:
        """Until the job is done, failed for good, or told to stop; returns the exit status."""
        from sluice.learners.torch.worker import FAILED, TERMINATED

        train = self.job.project.train
        signal.signal(signal.SIGTERM, self._on_sigterm)
        while True:
            self._start()
            why = self._watch()
            if why is None:
                return 0
            if self.terminate:
                return TERMINATED
            if causes(self.job.errors):
                return FAILED
            forget_errors(self.job.errors)
            self._attempt += 1
            if self._attempt > train.restarts:
                self._fail(why)
                return FAILED
            good = max((p.name for p in (self.job.checkpoints / self.job.key[:16]).glob("step-*")), default=None)
            self.emit(
                {
                    "kind": "warning",
                    "text": f"{why}; starting again from {good or 'the beginning'} (restart {self._attempt} of {train.restarts})",
                }
            )

    def _on_sigterm(self, *_: Any) -> None:
        self.terminate = True

    def _start(self) -> None:
        from sluice.learners.torch.distributed import Heartbeat

        size = self.job.world_size
        meeting, self._beats_at = self.job.root / f"rendezvous-{self._attempt}", self.job.root / f"heartbeat-{self._attempt}"
        self.beats = Heartbeat(self._beats_at, size, create=True)
        if self.job.project.train.launcher == "horovod":
            self.children = [self._horovod(size, meeting)]
            return
        self.children = []
        shared = self._shared_memory() if self.fork and size > 1 else {}
        for rank in range(size):
            env = {
                **shared,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "LOCAL_WORLD_SIZE": str(size),
                "SLUICE_RENDEZVOUS": str(meeting),
            }
            self.children.append(self._fork(rank, env) if self.fork else self._program(rank, env))

    def _shared_memory(self) -> dict[str, str]:
        """Anonymous memory for the gradients, where the system has it; a killed attempt's is not used again."""
        if not hasattr(os, "memfd_create"):
            return {}
        from sluice.learners.torch.reduce import SHARED_FD

        if self._shared is not None:
            os.close(self._shared)
        self._shared = os.memfd_create("sluice-gradients")
        return {SHARED_FD: str(self._shared)}

    def _fork(self, rank: int, env: dict[str, str]) -> Child:
        pid = os.fork()
        if pid:
            return Child(rank, pid)
        status = 1
        try:
            die_with_parent()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.environ.update(env)
            from sluice.learners.torch.worker import run

            status = run(self.job, self._beats_at)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _program(self, rank: int, env: dict[str, str]) -> Child:
        from sluice.learners.torch.worker import EVENTS_FD

        fds = [int(os.environ[EVENTS_FD])] if EVENTS_FD in os.environ else []
        process = spawn(
            [sys.executable, "-m", "sluice.learners.torch.worker", str(self.job.root / "job.json"), "--heartbeat", str(self._beats_at)],
            log=self.job.log,
            env={**os.environ, **env},
            pass_fds=fds,
        )
        return Child(rank, process.pid, process=process)

    def _horovod(self, size: int, meeting: Path) -> Child:
        """One child, which has started the processes itself; their stacks and deaths are its own to tell."""
        from sluice.learners.torch import horovod
        from sluice.learners.torch.worker import EVENTS_FD

        pipe = self.job.root / f"events-{self._attempt}"
        env = {k: v for k, v in os.environ.items() if k != EVENTS_FD} | {"SLUICE_RENDEZVOUS": str(meeting)}
        if EVENTS_FD in os.environ:
            horovod.relay(pipe, int(os.environ[EVENTS_FD]))
            env[horovod.EVENTS_PIPE] = str(pipe)
        process = spawn(horovod.command(self.job.root / "job.json", self._beats_at, size), log=self.job.log, env=env)
        return Child(0, process.pid, process=process)

    def _watch(self) -> str | None:
        """Until all have ended; why they did, or None when all ended well."""
        started = looked = time.monotonic()
        told = False
        doomed: float | None = None
        why = None
        while any(c.status is None for c in self.children):
            time.sleep(_POLL)
            now = time.monotonic()
            if now - looked > 5:  # this process itself was stopped, or the machine slept: that is no fault of the others
                started += now - looked
            idle = now - looked > 5
            looked = now
            self._reap()
            if self.terminate and not told:
                told = True
                doomed = now + _GRACE
                if (
                    self.job.checkpoints.is_relative_to(self.job.root) and not self.job.project.train.checkpoint.store
                ):  # nobody could resume from there
                    doomed = now
                self._signal(signal.SIGTERM)
            bad = culprit(self.children)
            if bad and doomed is None:
                why = f"training process {bad.rank} {bad.describe()}"
                if bad.killed and os.WTERMSIG(bad.status or 0) == signal.SIGKILL:
                    why += " (out of memory, if nobody else killed it)"
                doomed = now + (_GRACE if self.beats.read(0)[0] else 1.0)  # before the first step there is nothing to save
            if doomed is not None and self.children[0].status is not None:
                doomed = min(doomed, now + 1.0)
            if doomed is not None and now >= doomed:
                self._signal(signal.SIGKILL)
            if doomed is None and not idle and self._stuck(now, started):
                why = self._explain_stuck(self._stuck(now + _TOGETHER, started))
                doomed = time.monotonic()
        return why or next((f"training process {c.rank} {c.describe()}" for c in self.children if c.status), None)

    def _reap(self) -> None:
        for c in self.children:
            if c.status is None:
                pid, status = os.waitpid(c.pid, os.WNOHANG)
                if pid:
                    c.status = status

    def _signal(self, sig: signal.Signals) -> None:
        for c in self.children:
            if c.status is None:
                os.kill(c.pid, sig)

    def _stuck(self, now: float, started: float) -> list[Child]:
        limit = self.job.project.train.hang_seconds
        out = []
        for c in self.children:
            beat = self.beats.read(c.rank)[0]
            since, allowed = (beat, limit) if beat else (started, max(limit, _START))
            if c.status is None and now - max(since, started) > allowed:
                out.append(c)
        return out

    def _explain_stuck(self, stuck: list[Child]) -> str:
        """Have every process write its stack, into the log; say who stands still."""
        stopped = [c for c in self.children if process_state(c.pid) == "T"]
        for sig in (signal.SIGUSR1, signal.SIGCONT):  # a stopped process writes its stack as it is woken
            self._signal(sig)
        time.sleep(0.5)
        culprits = stopped or stuck
        for c in self.children:
            stack = self.job.root / f"stack-{c.rank}.txt"
            text = stack.read_text(errors="replace") if stack.exists() else ""
            print(f"--- stack of training process {c.rank}, step {self.beats.read(c.rank)[1]}\n{text}", file=sys.stderr, flush=True)
            if c in culprits:
                self.emit({"kind": "stack", "rank": c.rank, "step": self.beats.read(c.rank)[1], "text": text[-4000:]})
        names = ", ".join(str(c.rank) for c in culprits)
        how = "is stopped (SIGSTOP)" if stopped else "is stuck"
        return f"training process {names} {how}: no step was finished for {self.job.project.train.hang_seconds:g} s"

    def _fail(self, why: str) -> None:
        from sluice.learners.errors import ProcessDied
        from sluice.learners.torch.worker import write_error

        write_error(
            self.job,
            0,
            ProcessDied(
                f"{why}, {self._attempt} times",
                field="train",
                fix="more memory a process (or a smaller batch_size), or raise train.restarts or train.hang_seconds",
            ),
        )


def culprit(children: list[Child]) -> Child | None:
    """Of those that ended badly, one that was killed before one that only missed it; None: all are well."""
    return min((c for c in children if c.status), key=lambda c: not c.killed, default=None)


def process_state(pid: int) -> str:
    """The kernel's letter for a process's state (``T``: stopped); empty where there is no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def wait_for_go() -> bool:
    """Block until the starter says the job is prepared; false when it has gone."""
    fd = os.environ.pop(GO_FD, None)
    if fd is None:
        return True
    with os.fdopen(int(fd), "rb") as f:
        return f.readline() == b"go\n"


def main(argv: list[str] | None = None) -> int:
    """Import torch, wait for the word, run."""
    root = Path((argv or sys.argv[1:])[0])
    # The starter's end is a reason to stop in good order; whoever is still there 30 s later is killed.
    die_with_parent(signal.SIGTERM)
    import sluice.learners.torch.worker  # noqa: F401 - two seconds of imports while the starter encodes the rows

    if not wait_for_go():
        return 1
    job = TorchJob.load(root / "job.json")
    train = job.project.train
    from sluice.learners.torch.distributed import has_gpus

    fork = train.device == "cpu" or not has_gpus(1)
    if fork:
        _preload(job)
    return Launcher(job, fork).run()


def _preload(job: TorchJob) -> None:
    from sluice.learners.state import State
    from sluice.learners.torch.network import network_of
    from sluice.tasks import load_task

    network_of(load_task(job.project, job.base_dir)).preload(State.load(job.state))
    if job.project.train.parallel == "fsdp" and job.world_size > 1:
        import torch.distributed.fsdp  # noqa: F401 - seconds, once instead of in every process


if __name__ == "__main__":
    ended = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended)  # taking torch down in good order costs a third of a second and changes nothing
