"""Starting the warm process, and starting work in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from sluice.core.errors import SluiceError
from sluice.core.processes import spawn, stop
from sluice.core.warm import client
from sluice.core.warm.client import PLACE, NotWarm

#: Its libraries count one thread when they are loaded, and start none; a fork counts again (`child`). Arrow's allocator would start one to tidy up.
_ONE = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_PREFIX, _INTERPRETER = "sluice-warm-", "interpreter"
#: Seconds in which one that begins may not listen yet.
_YOUNG = 60.0
#: Set to 0, every step is a process that imports for itself.
SWITCH = "SLUICE_WARM_STEPS"


@dataclass(frozen=True)
class Set:
    """Modules (or ``module:function``, called) imported in a process of its own, beside the other sets.

    Attributes:
        modules: what. on: the set that is imported before them; null: what all share.
    """

    modules: tuple[str, ...]
    on: str | None = None


@dataclass(frozen=True)
class Plan:
    """What is imported ahead.

    Attributes:
        program: the module whose processes are forks: of an interpreter started for anything else, nothing changes.
        shared: modules that all sets are imported on.
        sets: by name.
        steps: name of a step -> its set; others take what is shared alone.
        env: variables it is to be imported with.
    """

    program: str
    shared: tuple[str, ...]
    sets: Mapping[str, Set] = field(default_factory=dict)
    steps: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


class Warm:
    """The warm process of one command; that of whoever started the command, where there is one already.

    Attributes:
        interpreter: a program that takes ``-m MODULE ARGUMENTS...`` as Python does, and has a fork do it.
        why: why there is none; then nothing is changed by any of this.
    """

    def __init__(self, plan: Plan):
        self.interpreter, self.why = "", _obstacle()
        _forget_old()
        self._place: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        theirs = Path(os.environ.get(PLACE) or os.devnull)
        if self.why is None and (theirs / _INTERPRETER).is_file():
            self._place, self.interpreter = theirs, str(theirs / _INTERPRETER)
        elif self.why is None:
            try:
                self._start(plan)
            except (OSError, SluiceError) as e:
                self.why = str(e)
                self.stop()

    def _start(self, plan: Plan) -> None:
        place = self._place = Path(tempfile.mkdtemp(prefix=_PREFIX))
        if any(c.isspace() for c in str(place)):
            raise OSError(f"kfp starts no program whose path has a space in it ({place})")
        script = place / _INTERPRETER
        script.write_text(f'#!/bin/sh\nexec {_quoted(sys.executable)} -I -S {_quoted(client.__file__)} {plan.program} "$@"\n')
        script.chmod(0o700)
        sockets = {name: _listen(place / f"{name}.sock") for name in ("default", *plan.sets)}
        for step, name in plan.steps.items():
            (place / f"{step}.sock").symlink_to(f"{name}.sock")
        everything = {"default": Set(plan.shared)} | {n: Set(s.modules, s.on or "default") for n, s in plan.sets.items()}
        wanted = {name: {**asdict(s), "socket": sockets[name].fileno()} for name, s in everything.items()}
        try:
            self._process = spawn(
                [sys.executable, "-m", "sluice.core.warm.server", orjson.dumps(wanted).decode()],
                log=place / "log.txt",
                env={**os.environ, **plan.env, **_ONE},
                pass_fds=[s.fileno() for s in sockets.values()],
            )
        finally:  # the server alone holds them: when it is gone, a request is refused
            for s in sockets.values():
                s.close()
        self.interpreter = str(script)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While it lasts, processes that this one starts find the warm process, and a step's interpreter is its client."""
        if self.why is not None or self._place is None:
            yield
            return
        before = sys.executable, os.environ.get(PLACE)
        sys.executable, os.environ[PLACE] = self.interpreter, str(self._place)
        try:
            yield
        finally:
            sys.executable = before[0]
            if before[1] is None:
                del os.environ[PLACE]
            else:
                os.environ[PLACE] = before[1]

    def stop(self) -> None:
        """End it, and with it whatever of its forks is still at work."""
        if self._process is not None:
            stop(self._process, grace=5)
        if self._place is not None and str(self._place) != os.environ.get(PLACE):
            shutil.rmtree(self._place, ignore_errors=True)


def _forget_old() -> None:
    """Remove folders of warm processes that were killed with their command: nobody listens there."""
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            if time.time() - place.stat().st_mtime < _YOUNG or place.stat().st_uid != os.getuid():
                continue
            try:
                asking.connect(str(place / "default.sock"))
            except ConnectionRefusedError:
                shutil.rmtree(place, ignore_errors=True)


def _obstacle() -> str | None:
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH} is 0"
    if not sys.platform.startswith("linux"):
        return f"a fork of what libraries have been imported into is not safe on {sys.platform}"
    if not hasattr(os, "pidfd_open"):
        return "this system has no pidfd_open"
    return None


def _listen(path: Path) -> socket.socket:
    """A socket that takes connections from now on: who comes before everything is imported waits."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    made.listen(64)
    return made


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "'\\''") + "'"


class Process:
    """Work in the warm process, as `subprocess.Popen` shows a child."""

    def __init__(self, connection: socket.socket, pid: int):
        self.pid = pid
        self.returncode: int | None = None
        self._connection, self._rest = connection, b""

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it works."""
        return self._wait(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises `subprocess.TimeoutExpired` where that does not come in time."""
        if self._wait(timeout) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """As `subprocess.Popen.send_signal`, by way of the warm process."""
        if self.poll() is None:
            with contextlib.suppress(OSError):
                self._connection.sendall(b"signal %d\n" % number)

    def terminate(self) -> None:
        """Ask it to end: SIGTERM."""
        self.send_signal(15)

    def kill(self) -> None:
        """End it: SIGKILL."""
        self.send_signal(9)

    def _wait(self, seconds: float | None) -> int | None:
        end = None if seconds is None else time.monotonic() + seconds
        while self.returncode is None:
            left = None if end is None else max(end - time.monotonic(), 0.0)
            self._connection.settimeout(left)
            try:
                got = self._connection.recv(4096)
            except (TimeoutError, BlockingIOError):
                return None
            except OSError:
                got = b""
            finally:
                self._connection.settimeout(None)
            self._rest += got
            if not got:  # the warm process was killed, and its forks with it
                self.returncode = -9
            elif b"\n" in self._rest:
                self.returncode = os.waitstatus_to_exitcode(int(self._rest.split()[1]))
        self._connection.close()
        return self.returncode


def begin(
    name: str,
    module: str,
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
    orphan: int = 9,
) -> Process | None:
    """Have ``python -m MODULE ARGV...`` done by a fork of this process's warm one; None where there is none, and why not is in `log`.

    Args:
        name: of what it needs imported. module, argv: what to run. log: where its output goes. env: its whole environment.
        pass_fds: descriptors it has under the same numbers. orphan: the signal it gets when this process ends.
    """
    with log.open("ab") as out, Path(os.devnull).open("rb") as nothing:
        fds = {0: nothing.fileno(), 1: out.fileno(), 2: out.fileno(), **{fd: fd for fd in pass_fds}}
        try:
            return _asked(name, module, argv, env, fds, orphan)
        except NotWarm as e:
            out.write(f"a plain process, the warm one was not to be had: {e}\n".encode())
            return None


def run(
    name: str, module: str, argv: Sequence[str], *, said: bytes, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """``python -W ignore -m MODULE ARGV...``, to its end: by a fork of this process's warm one, or by a process that imports for itself.

    Args:
        name: of what it needs imported. module, argv: what to run. said: what it reads. env: its whole environment. timeout: in seconds.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was ended. OSError: it cannot be started.
    """
    command = [sys.executable, "-W", "ignore", "-m", module, *argv]
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        told.write(said)
        told.seek(0)
        try:
            process = _asked(name, module, argv, env, {0: told.fileno(), 1: out.fileno(), 2: err.fileno()}, 9)
        except NotWarm:
            process = None
        if process is None:
            return subprocess.run(command, input=said, capture_output=True, timeout=timeout, env=dict(env), check=False)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, status, out.read(), err.read())


def _asked(name: str, module: str, argv: Sequence[str], env: Mapping[str, str], fds: Mapping[int, int], orphan: int) -> Process | None:
    place = os.environ.get(PLACE)
    return Process(*client.ask(place, name, module, argv, env=env, fds=fds, orphan=orphan)) if place else None
