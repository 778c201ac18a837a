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
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sluice.core.errors import DeadlineError, MissingExtra, SluiceError, first_line
from sluice.core.processes import cpu_quota

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
    import ray

    address, joined = os.environ.get(ADDRESS_ENV), ray.is_initialized()
    if not joined:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_raylet_start_wait_time_s", f"{_START:g}")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        told: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
        if not address:
            told |= {"num_cpus": cores or cpu_quota(), "include_dashboard": False, "object_store_memory": max(memory, 80 << 20)}
        try:
            ray.init(address=address or "local", **told)
        except Exception as e:  # Ray raises those of any kind
            raise DeadlineError(
                f"does not answer: {first_line(e)}", field=ADDRESS_ENV, value=address or "local", fix="is the Ray cluster up? `ray status`"
            ) from e
    try:
        yield RayWorkers(ray)
    finally:
        if not joined:
            ray.shutdown()


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
