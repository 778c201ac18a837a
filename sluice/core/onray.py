"""The workers of a Ray cluster: plain tasks, each tried again where its worker or machine is lost, and a few at a time.

A task's result is sealed in Ray's object store or is not there at all, so nothing half-written is read; what a lost machine held is made again
by the task that made it (Moritz et al., Ray: A Distributed Framework for Emerging AI Applications, OSDI 2018).
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import pickle
import secrets
import shutil
import socket
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sluice.core.errors import DeadlineError, MissingExtra, SluiceError, first_line
from sluice.core.processes import cpu_quota, free_port, spawn, stop, wait_until

#: A cluster that is there already; else one of this machine's cores is started, and is gone with the block.
ADDRESS_ENV = "RAY_ADDRESS"
#: How often a piece is tried again after its worker was lost; seconds in which some piece has to be done.
RETRIES_ENV, RETRIES, PATIENCE_ENV, PATIENCE = "SLUICE_RAY_RETRIES", 3, "SLUICE_RAY_PATIENCE", 1800.0
#: Pieces in work, a core; Ray's own store on this machine, where it is started here.
_AHEAD, _STORE = 2, 256 << 20
#: Seconds for Ray's own processes to start on this machine.
_START = 180.0


class WorkersLost(SluiceError):
    """Workers of the Ray cluster ended while they worked on a piece, each time it was tried."""


@contextlib.contextmanager
def on_ray(memory: int = _STORE, cores: int | None = None) -> Iterator[RayWorkers]:
    """The workers of the cluster that ``RAY_ADDRESS`` names, or of this machine.

    Args:
        memory: bytes that results may take on this machine before they are written to its disk.
        cores: of this machine; default: those this process may use.

    Raises:
        MissingExtra: Ray is not installed. DeadlineError: the cluster cannot be reached.
    """
    installed()
    if not os.environ.get(ADDRESS_ENV):
        _token()
    import ray

    if ray.is_initialized():
        yield RayWorkers(ray)
        return
    with contextlib.ExitStack() as stack:
        address = os.environ.get(ADDRESS_ENV)
        started = None if address else stack.enter_context(_of_this_machine(memory, cores or cpu_quota()))
        stack.callback(ray.shutdown)
        _join(ray, address or str(started))
        yield RayWorkers(ray)


def _join(ray: Any, address: str) -> None:
    """Connect, as soon as the cluster is up. Raises `DeadlineError`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    end = time.monotonic() + _START
    while True:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
            return
        except Exception as e:  # Ray raises those of any kind
            if time.monotonic() > end:
                fix = "is the Ray cluster up? `ray status`"
                raise DeadlineError(f"does not answer: {first_line(e)}", field=ADDRESS_ENV, value=address, fix=fix) from e
        time.sleep(1.0)


@contextlib.contextmanager
def _of_this_machine(memory: int, cores: int) -> Iterator[str]:
    """A Ray for this process alone, which dies with it: its ports are chosen here, so that nothing of it waits for another to tell its own."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-ray-", dir="/tmp"))  # sockets below it have a short name at most
    port, *others = (free_port() for _ in range(5))
    names = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "runtime-env-agent-port", "metrics-export-port")
    options = {
        "port": port,
        **dict(zip(names, others, strict=True)),
        "num-cpus": cores,
        "object-store-memory": max(memory, 80 << 20),
        "include-dashboard": "false",
        "temp-dir": folder,
    }
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        log = folder / "start.log"
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        process = spawn([*command, *(f"--{name}={value}" for name, value in options.items())], log=log, env=env)
        stack.callback(stop, process)
        told = folder / "ray_current_cluster"
        wait_until(
            lambda: told.exists() and _listens(told.read_text()), what="Ray on this machine", seconds=_START, process=process, log=log
        )
        yield told.read_text().strip()


def _token() -> None:
    """Without the secret in a person's home nobody else on this machine uses what is started here; Ray reads it when it is imported."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # said to both: what Ray starts asks for one by itself, who joins it sends none
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if os.environ.get("RAY_AUTH_TOKEN") or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError), open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:  # noqa: PTH123 (never wider)
        f.write(secrets.token_hex(32))


def _listens(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    with socket.socket() as s:
        s.settimeout(1.0)
        return bool(host) and s.connect_ex((host.strip("[]"), int(port))) == 0


def installed() -> None:
    """Raise `MissingExtra` where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise MissingExtra("the engine ray needs Ray", field="data.engine", value="ray", fix="pip install 'sluice-ml[ray]'")


class Told:
    """What a task raised, brought back as a value: Ray's own errors then mean lost workers alone."""

    def __init__(self, error: BaseException):
        try:
            self.error = pickle.loads(pickle.dumps(error))
        except Exception:
            self.error = SluiceError(first_line(error), field=type(error).__name__)
        self.trace = traceback.format_exc()


def _one(returns: int, function: Callable[..., Any], *args: Any) -> Any:
    """On a worker: a result, or what was raised in its place."""
    try:
        found = function(*args)
    except Exception as e:
        found = Told(e)
        return found if returns == 1 else tuple([None] * (returns - 1) + [found])
    if returns == 1:
        return found
    return (*found[: returns - 1], found[returns - 1 :])


class RayWorkers:
    """See `sluice.core.spread.Workers`.

    Args:
        ray: the module, connected.
    """

    def __init__(self, ray: Any):
        self._ray = ray
        self.cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._retries = int(os.environ.get(RETRIES_ENV, RETRIES))
        self._patience = float(os.environ.get(PATIENCE_ENV, PATIENCE))

    def mapped(self, function: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """In order; a few pieces are in work at a time."""
        for refs in self._sent(function, items, 1):
            yield self.brought(refs[-1])

    def made(self, function: Callable[..., tuple[Any, ...]], items: Iterable[tuple[Any, ...]], kept: int) -> Iterator[tuple[Any, ...]]:
        """The first `kept` values of each result as handles, then the others."""
        for refs in self._sent(function, items, kept + 1):
            yield (*refs[:kept], *self.brought(refs[kept]))

    def _sent(self, function: Callable[..., Any], items: Iterable[tuple[Any, ...]], returns: int) -> Iterator[list[Any]]:
        task = self._ray.remote(num_cpus=1, max_retries=self._retries, num_returns=returns)(_one)
        known, rest, waiting = self._ray.put(function), iter(items), deque[list[Any]]()
        try:
            while True:
                for args in itertools.islice(rest, max(0, _AHEAD * self.cores - len(waiting))):
                    refs = task.remote(returns, known, *args)
                    waiting.append(refs if returns > 1 else [refs])
                if not waiting:
                    return
                yield waiting.popleft()
        finally:
            for refs in waiting:
                with contextlib.suppress(Exception):
                    self._ray.cancel(refs[-1], force=True)

    def brought(self, handle: Any) -> Any:
        """What a handle stands for, or what was raised in its place."""
        errors = self._ray.exceptions
        try:
            found = self._ray.get(handle, timeout=self._patience)
        except errors.GetTimeoutError as e:
            raise DeadlineError(
                f"no piece was done for {self._patience:g} s; the cluster has {self._resources()}",
                field="Ray",
                fix=f"are its workers up (`ray status`)? {PATIENCE_ENV} is how long is waited",
            ) from e
        except errors.RayError as e:
            raise WorkersLost(
                f"a piece was lost with its worker {self._retries + 1} times: {type(e).__name__}: {first_line(e)}",
                field="Ray",
                fix="more memory a worker, or smaller row groups in the source",
            ) from e
        if isinstance(found, Told):
            raise found.error from SluiceError(found.trace)
        return found

    def _resources(self) -> str:
        with contextlib.suppress(Exception):
            return ", ".join(f"{k} {v:g}" for k, v in sorted(self._ray.available_resources().items()) if k in ("CPU", "memory")) + " free"
        return "nothing to tell"
