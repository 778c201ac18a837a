"""A barrier among the processes of one machine, for those that meet several times a step."""

from __future__ import annotations

import contextlib
import secrets
import select
import socket
from collections.abc import Callable

import torch.distributed as dist

from sluice.learners.torch.distributed import World


class Barrier:
    """Processes that wait for each other over Unix sockets: a byte to the first, a byte back.

    gloo's own barrier takes 1.2 ms between two busy processes, since a thread of its own has to be
    woken on each side; this takes 0.1 ms. What a process wrote into shared memory before it came,
    all see after it: the kernel's locks are in between.

    Args:
        world: the processes, all of one machine and joined.

    Raises:
        torch.distributed.DistNetworkError: a process is gone, or did not come within the world's timeout; here or in `wait`.
    """

    def __init__(self, world: World):
        self._first, self._timeout = world.first, world.timeout
        name = f"\0sluice-{secrets.token_hex(16)}"  # Linux' abstract names: no file is left behind
        door = None
        if self._first:
            door = socket.socket(socket.AF_UNIX)
            door.bind(name)
            door.listen(world.size)
        name = world.broadcast(name)
        self._others: list[socket.socket] = []
        try:
            if door is None:
                self._others = [socket.socket(socket.AF_UNIX)]
                self._others[0].settimeout(world.timeout)
                self._others[0].connect(name)
            else:
                door.settimeout(world.timeout)
                while len(self._others) < world.size - 1:
                    self._others.append(door.accept()[0])
                    self._others[-1].settimeout(world.timeout)
        except OSError as e:
            raise dist.DistNetworkError(f"the processes did not find each other: {e}") from e
        finally:
            if door is not None:
                door.close()

    def wait(self, opening: Callable[[], None] | None = None) -> None:
        """Come back when all have come.

        Args:
            opening: called on the first process when all have come and none goes on yet.
        """
        try:
            if self._first:
                self._hear()
                if opening is not None:
                    opening()
                self._tell()
            else:
                self._tell()
                self._hear()
        except OSError as e:
            raise dist.DistNetworkError(f"a process did not come: {e or type(e).__name__}") from e

    def _hear(self) -> None:
        """A byte from each of the others; one that is gone is learnt of however long another takes."""
        silent = {other.fileno(): other for other in self._others}
        looking = select.poll()
        for fd in silent:
            looking.register(fd, select.POLLIN)
        while silent:
            ready = looking.poll(1000 * self._timeout)
            if not ready:
                raise TimeoutError(f"no word for {self._timeout:g} s")
            for fd, _ in ready:
                if not silent.pop(fd).recv(1):
                    raise ConnectionError("it is gone")
                looking.unregister(fd)

    def _tell(self) -> None:
        for other in self._others:
            # All have come: one that has ended since is missed the next time, or some would go on and others not.
            with contextlib.suppress(OSError) if self._first else contextlib.nullcontext():
                other.sendall(b".")
