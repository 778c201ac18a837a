"""Stands where a Python interpreter is expected and has the warm process run one module: ``client.py MODULE -m MODULE ARGUMENTS...``.

It is run with ``-I -S`` and imports nothing of ours, so that it costs a hundredth of a second. Working directory, environment,
mask and the three standard streams are those it was started with; the exit status, or the signal that ended the work, becomes its own.
Where the warm process cannot be had, it becomes the interpreter itself and says why.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence

#: The folder with the warm process's sockets.
PLACE = "SLUICE_WARM"
#: What ends the work where nobody waits for it any more.
_ORPHAN = int(signal.SIGKILL)
#: Told on to the work. SIGINT is not: the terminal gives it to the whole group, and so to the work itself.
_FORWARDED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class NotWarm(Exception):
    """The warm process is not there, or does not take this; the message says why."""


def ask(
    place: str,
    name: str,
    module: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    fds: Mapping[int, int],
    orphan: int = _ORPHAN,
) -> tuple[socket.socket, int]:
    """Have ``python -m MODULE ARGV...`` begin in a fork of the warm process.

    Args:
        place: the folder with the sockets. name: of what must be imported; one that is not there takes ``default``.
        module, argv: what to run. env: its whole environment.
        fds: its file descriptor -> ours.
        orphan: the signal it gets when this end of the connection is closed.

    Returns:
        The connection, on which ``status N`` comes when it has ended (N as of waitpid), and its process id.

    Raises:
        NotWarm: nothing was started.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path = f"{place}/{name}.sock"
        connection.connect(path if os.path.exists(path) else f"{place}/default.sock")  # noqa: PTH110 (pathlib is not imported for it)
        mask = os.umask(0)
        os.umask(mask)
        body = json.dumps(
            {
                "module": module,
                "argv": list(argv),
                "env": dict(env),
                "cwd": os.getcwd(),  # noqa: PTH109
                "umask": mask,
                "fds": list(fds),
                "orphan": orphan,
            }
        ).encode("utf-8", "surrogateescape")
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds.values()))]
        connection.sendmsg([len(body).to_bytes(8, "big")], rights)
        connection.sendall(body)
        word, value = _first(connection)
    except OSError as e:
        connection.close()
        raise NotWarm(str(e) or "it ended") from e
    if word != "pid":
        connection.close()
        raise NotWarm(value)
    return connection, int(value)


def _first(connection: socket.socket) -> tuple[str, str]:
    """The first line, and no byte of what comes behind it."""
    line = b""
    while not line.endswith(b"\n"):
        got = connection.recv(1)
        if not got:
            raise OSError("it ended")
        line += got
    word, _, value = line.decode().strip().partition(" ")
    return word, value


def lines(connection: socket.socket) -> Iterator[tuple[str, str]]:
    """What the warm process says, as (word, rest); ends where it does."""
    rest = b""
    while got := connection.recv(4096):
        rest += got
        *whole, rest = rest.split(b"\n")
        for line in whole:
            word, _, value = line.decode().partition(" ")
            yield word, value


def end_as(status: int) -> int:
    """End this process as another did (`status` of waitpid): by the same signal, or with the exit status that is returned."""
    if os.WIFSIGNALED(status):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if os.WTERMSIG(status) != signal.SIGKILL:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    return os.waitstatus_to_exitcode(status)


def main(arguments: list[str]) -> int:
    """Be ``python ARGUMENTS[1:]...``: in the warm process where that runs the module ``ARGUMENTS[0]``. Returns the exit status."""
    program, *arguments = arguments
    if arguments[:2] != ["-m", program] or PLACE not in os.environ:
        os.execv(sys.executable, [sys.executable, *arguments])
    try:
        named = arguments.index("--function_to_execute") + 1 if "--function_to_execute" in arguments else 1
        connection, _ = ask(os.environ[PLACE], arguments[named], program, arguments[2:], env=os.environ, fds={0: 0, 1: 1, 2: 2})
    except NotWarm as e:
        print(f"a plain process, the warm one was not to be had: {e}", file=sys.stderr, flush=True)
        os.execv(sys.executable, [sys.executable, *arguments])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in _FORWARDED:
        signal.signal(number, lambda got, _: connection.sendall(b"signal %d\n" % got))
    for word, value in lines(connection):
        if word == "status":
            return end_as(int(value))
    print("the warm process ended, and this one with it", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
