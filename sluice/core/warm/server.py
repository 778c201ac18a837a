"""The warm process: imports ahead, forks for each request: ``python -m sluice.core.warm.server PLAN``.

A fork is safe where there is one thread: nothing of what is imported may have run anything (no session, no engine, no pool of
OpenMP's or OpenBLAS's), which is looked at before the first request is taken. What a fork would inherit and a fresh process would not
have is put right in the child (`child.become`): signals, streams, environment, random state, threads to compute with.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sluice.core.processes import die_with_parent
from sluice.core.warm.child import Job, become, obstacle

#: Seconds a request may take to arrive once its connection is there.
_ARRIVES = 10.0
#: Most file descriptors of one request.
_FDS = 32


class Work:
    """A fork at work: its process, by a descriptor that no other process can take over, and who waits for it."""

    def __init__(self, pid: int, connection: socket.socket, orphan: int):
        self.pid, self.connection, self.orphan = pid, connection, orphan
        self.fd = os.pidfd_open(pid)

    def send(self, number: int) -> None:
        """Send it a signal; one that has ended is no error."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, number)

    def finish(self) -> None:
        """Reap it and tell whoever waits."""
        _, status = os.waitpid(self.pid, 0)
        with contextlib.suppress(OSError):
            self.connection.sendall(b"status %d\n" % status)
        self.close()

    def close(self) -> None:
        """Let go of its connection and its descriptor."""
        self.connection.close()
        os.close(self.fd)


class Server:
    """Takes requests on one socket, one fork each.

    Args:
        listening: the socket. refusal: why nothing is forked here; None: it is.
    """

    def __init__(self, listening: socket.socket, refusal: str | None):
        self.listening, self.refusal = listening, refusal
        self.selector = selectors.DefaultSelector()
        self.selector.register(listening, selectors.EVENT_READ, None)
        self.work: dict[int, Work] = {}

    def serve(self) -> Job:
        """For ever here; in a fork, returns what that is to do."""
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    job = self._accept()
                    if job is not None:
                        return job
                else:
                    key.data()

    def _accept(self) -> Job | None:
        connection, _ = self.listening.accept()
        connection.settimeout(_ARRIVES)
        try:
            job = receive(connection)
        except (OSError, ValueError, KeyError):
            connection.close()
            return None
        connection.settimeout(None)
        refusal = self.refusal or obstacle(job.env)
        try:
            pid = -1 if refusal else os.fork()
        except OSError as e:
            pid, refusal = -1, str(e)
        if pid == 0:
            self._leave()
            connection.close()
            return job
        for fd in job.fds.values():
            os.close(fd)
        with contextlib.suppress(OSError):
            connection.sendall(f"refused {refusal}\n".encode() if pid < 0 else b"pid %d\n" % pid)
        if pid < 0:
            connection.close()
            return None
        work = self.work[pid] = Work(pid, connection, job.orphan)
        self.selector.register(work.fd, selectors.EVENT_READ, lambda: self._ended(work))
        self.selector.register(connection, selectors.EVENT_READ, lambda: self._told(work))
        return None

    def _ended(self, work: Work) -> None:
        self.selector.unregister(work.fd)
        with contextlib.suppress(KeyError):  # nobody waits for it any more
            self.selector.unregister(work.connection)
        del self.work[work.pid]
        work.finish()

    def _told(self, work: Work) -> None:
        try:
            said = work.connection.recv(4096)
        except OSError:
            said = b""
        if not said:
            self.selector.unregister(work.connection)
            work.send(work.orphan)
        for line in said.split(b"\n"):
            if line.startswith(b"signal "):
                work.send(int(line.split()[1]))

    def _leave(self) -> None:
        """In a fork: nothing of the server's stays open."""
        self.selector.close()
        self.listening.close()
        for work in self.work.values():
            work.close()


def receive(connection: socket.socket) -> Job:
    """A request, with its file descriptors open here.

    Raises:
        OSError: it does not come, or not whole.
    """
    head, fds, _, _ = socket.recv_fds(connection, 8, _FDS)
    try:
        size, body = int.from_bytes(head, "big"), b""
        while len(body) < size:
            more = connection.recv(min(size - len(body), 1 << 16))
            if not more:
                raise OSError("the request ended early")
            body += more
        raw = json.loads(body.decode("utf-8", "surrogateescape"))
        return Job(raw["module"], raw["argv"], raw["env"], raw["cwd"], raw["umask"], dict(zip(raw["fds"], fds, strict=True)), raw["orphan"])
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


def preload(names: Sequence[str]) -> None:
    """Import modules; of ``module:function`` call the function too. What cannot be imported is left to whoever needs it."""
    for name in names:
        module, _, function = name.partition(":")
        with contextlib.suppress(Exception):
            found = importlib.import_module(module)
            if function:
                getattr(found, function)()


def unsafe() -> str | None:
    """Why this process must not be forked: threads beside this one."""
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return f"importing has started threads ({', '.join(threads[1:])})" if len(threads) > 1 else None


def branch(plan: Mapping[str, Any], below: list[int], name: str = "default") -> str:
    """Import a set; become one process more for each set on top of it.

    Args:
        plan: of each set its modules and the set it is on. below: gets the processes that this one started. name: the set.

    Returns:
        The name of this process's set.
    """
    preload(plan[name]["modules"])
    for other in (n for n, s in plan.items() if s["on"] == name):
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            below.clear()
            die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
            return branch(plan, below, other)
        below.append(pid)
    return name


def end(below: Sequence[int]) -> None:
    """End the processes `below` and wait for them, so that none is left to whoever reaps orphans; then this one.

    Its forks are ended by the kernel, with the signal each asked for.
    """
    for pid in below:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    for pid in below:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    os._exit(0)


def main(plan: str) -> Job:
    """Returns in each fork, with what it is to do."""
    sigint = signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the work
    wanted = json.loads(plan)
    sockets = {name: socket.socket(fileno=s["socket"]) for name, s in wanted.items()}
    below: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: end(below))
    mine = branch(wanted, below)
    for name, other in sockets.items():
        if name != mine:
            other.close()
    gc.collect()
    gc.freeze()  # collections in the forks copy no page of what they share
    server = os.getpid()
    job = Server(sockets[mine], unsafe()).serve()
    below.clear()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    become(job, server, sigint)
    return job


if __name__ == "__main__":
    job = main(sys.argv[1])
    job.run()
