"""A fork of the warm process becomes what was asked for: as a fresh interpreter would be, but for what is imported."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import importlib.util
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from sluice.core.processes import die_with_parent

_PR_SET_NAME = 15
#: Descriptors are first moved out of the way of those they are to become.
_AWAY = 512


@dataclasses.dataclass(frozen=True)
class Job:
    """What a fork is to do.

    Attributes:
        module, argv: as of ``python -m MODULE ARGV...``. env: its whole environment. cwd, umask: of whoever asked.
        fds: its file descriptor -> the one it has in this process. orphan: the signal it gets when nobody waits any more.
    """

    module: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    umask: int
    fds: dict[int, int]
    orphan: int

    def run(self) -> None:
        """Run the module as ``__main__``; ends as it ends."""
        sys.excepthook = _without_our_frames
        sys.argv[1:] = self.argv
        runpy.run_module(self.module, run_name="__main__", alter_sys=True)


def become(job: Job, server: int, sigint: Any) -> None:
    """Make this fork what a fresh process would be.

    Args:
        job: what was asked for. server: the process it is a fork of, with which it ends.
        sigint: what SIGINT did before the server left it to its forks.
    """
    die_with_parent()
    if os.getppid() != server:
        os._exit(1)
    signal.signal(signal.SIGINT, sigint if sigint is not None else signal.SIG_DFL)
    _descriptors(job.fds)
    os.chdir(job.cwd)
    os.umask(job.umask)
    inherited = os.environ.get("PYTHONPATH", "")
    os.environ.clear()
    os.environ.update(job.env)
    _path(inherited)
    _streams()
    _threads()
    _chance()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, job.module.rpartition(".")[2][:15].encode(), 0, 0, 0)


def _descriptors(fds: dict[int, int]) -> None:
    away = {}
    for wanted, fd in fds.items():
        away[wanted] = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _AWAY)
        os.close(fd)
    for wanted, fd in away.items():
        os.dup2(fd, wanted)
        os.close(fd)


def _path(inherited: str) -> None:
    """The module search path of a fresh process: the working directory, its own PYTHONPATH, the interpreter's."""
    here = str(Path.cwd())
    ours = {here, *filter(None, inherited.split(os.pathsep))}
    rest = [p for p in sys.path[1:] if p not in ours]
    named = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    sys.path[:] = list(dict.fromkeys([here, *named, *rest]))


def _streams() -> None:
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=stream is sys.stderr or os.isatty(1), write_through=at_once)  # type: ignore[union-attr]


def _threads() -> None:
    """Threads to compute with were counted as one when the libraries were loaded: count again, where more were asked for."""
    wanted = _wanted(os.environ)
    if set(wanted.values()) == {1}:
        return
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController()
    for api, number in wanted.items():
        found.select(user_api=api).limit(limits=number)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(wanted["openmp"])


def _wanted(env: Mapping[str, str]) -> dict[str, int]:
    """Threads by kind of library, as each would read them from the environment itself."""
    omp = env.get("OMP_NUM_THREADS", "")
    texts = {"openmp": omp, "blas": env.get("OPENBLAS_NUM_THREADS") or omp}
    return {api: int(t) if t.isdigit() and int(t) else len(os.sched_getaffinity(0)) for api, t in texts.items()}


def obstacle(env: Mapping[str, str]) -> str | None:
    """Why a fork could not be as a fresh process in this environment; None where it can."""
    if set(_wanted(env).values()) != {1} and importlib.util.find_spec("threadpoolctl") is None:
        return "it computes in one thread, more were asked for, and threadpoolctl is not installed"
    return None


def _chance() -> None:
    """Each fork draws its own: `random` sees to itself, NumPy's global state would be the same in all."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _without_our_frames(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback begins at the module that was run, as it does in a process of its own."""
    own = {__file__, str(Path(__file__).with_name("server.py")), "<frozen runpy>"}
    at = trace
    while at is not None and at.tb_frame.f_code.co_filename in own:
        at = at.tb_next
    sys.__excepthook__(kind, error.with_traceback(at or trace), at or trace)
