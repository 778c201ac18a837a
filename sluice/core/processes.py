"""Child processes that never outlive the command that started them."""

from __future__ import annotations

import ctypes
import os
import platform
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sluice.core.errors import DeadlineError, SluiceError

_PR_SET_PDEATHSIG = 1

#: What a child does before it becomes its program. Code of ours between fork and exec (`preexec_fn`) may stop for ever, or abort, where
#: another thread holds a lock at the moment of the fork (CPython's own documentation; gRPC's fork handlers did): so the child is a fresh interpreter.
#: If the parent has ended before it could ask, the program is not started.
_GUARD = (
    f"import ctypes,os,sys;ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG},{int(signal.SIGKILL)},0,0,0);"
    "os.getppid()==int(sys.argv[1]) or os._exit(1);os.execv(sys.argv[2],sys.argv[3:])"
)


def die_with_parent(sig: int = signal.SIGKILL) -> None:
    """Ask the kernel to end this process when its parent ends (Linux; elsewhere nothing happens)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, sig, 0, 0, 0)


def die_with(pid: int) -> None:
    """End this process (SIGKILL) when process `pid` ends: for a grandchild behind a shell (Linux)."""
    if not hasattr(os, "pidfd_open"):
        return
    try:
        fd = os.pidfd_open(pid)
    except OSError:  # already gone
        os.kill(os.getpid(), signal.SIGKILL)
        return

    def watch() -> None:
        select.select([fd], [], [])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="die-with", daemon=True).start()


def spawn(command: Sequence[str], *, log: Path | None = None, **kwargs: Any) -> subprocess.Popen[bytes]:
    """Start a process that dies with this one; its output goes to `log` (or to nowhere).

    Raises:
        SluiceError: the program cannot be started.
    """
    program = shutil.which(command[0], path=(kwargs.get("env") or os.environ).get("PATH"))
    if program is None:
        raise SluiceError(
            f"cannot start {command[0]}: no such program", field="process", value=list(command), fix="install it, or put it on PATH"
        )
    guarded = (
        [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), program, *command] if sys.platform.startswith("linux") else command
    )
    out = log.open("ab") if log else subprocess.DEVNULL
    try:
        return subprocess.Popen(guarded, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **kwargs)
    except OSError as e:
        raise SluiceError(f"cannot start {command[0]}: {e.strerror or e}", field="process", value=list(command)) from e
    finally:
        if log:
            out.close()  # type: ignore[union-attr]


def stop(process: subprocess.Popen[bytes], grace: float = 10.0) -> int:
    """SIGTERM, wait up to `grace` seconds, SIGKILL. Returns the exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
    return process.returncode


def wait_until(
    ready: Callable[[], bool],
    *,
    what: str,
    seconds: float,
    every: float = 0.05,
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
) -> None:
    """Poll `ready` until it is true.

    Raises:
        DeadlineError: not ready in time, or `process` ended first; the tail of `log` is in the message.
    """
    end = time.monotonic() + seconds
    while not ready():
        dead = process is not None and process.poll() is not None
        if dead or time.monotonic() > end:
            why = f"ended with status {process.returncode}" if dead and process else f"not ready after {seconds:g} s"
            tail = log.read_text(errors="replace")[-1500:] if log and log.exists() else ""
            raise DeadlineError(f"{what}: {why}" + (f"\n{tail}" if tail else ""), field=what)
        time.sleep(every)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port free at this moment on `host`."""
    with socket.socket() as s:
        s.bind((host, 0))
        return int(s.getsockname()[1])


def cpu_quota() -> int:
    """Whole CPUs this process may use: the cgroup's quota or affinity, whichever is less; at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cpus = min(cpus, max(1, int(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return max(1, cpus)


def cpu_name() -> str:
    """The processor's name, where the system tells it."""
    try:
        with Path("/proc/cpuinfo").open() as f:
            return next((line.partition(":")[2].strip() for line in f if line.startswith("model name")), platform.processor())
    except OSError:
        return platform.processor()
