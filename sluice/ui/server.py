"""The process: a socket, and the application behind it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from sluice.core.errors import ProjectError, SluiceError
from sluice.ui.app import application
from sluice.ui.guard import LOOPBACK, hosts_of
from sluice.ui.page import templates
from sluice.ui.session import Sessions
from sluice.ui.shape import Place

#: Connections at a time; bytes of a request's head; seconds a quiet connection is kept, and others have to end in.
_MOST, _HEAD, _QUIET, _END = 400, 32 << 10, 15, 2

#: Seconds after which what models need is imported.
_LATER = 1.5


def is_open(host: str) -> bool:
    """Whether other machines reach it."""
    return host not in (*LOOPBACK, "::1")


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `ProjectError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol's name: only of such sockets asyncio sends each part of an answer at once, and not 40 ms later.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(128)
    except (OSError, OverflowError) as e:
        made.close()
        why = getattr(e, "strerror", None) or str(e)
        raise ProjectError(f"cannot listen there: {why}", field="--port", value=f"{host}:{port}", fix="another --port, or 0 for any") from e
    return made


def serve(place: Place, made: socket.socket, host: str, names: list[str], token: str | None, started: Callable[[int], None]) -> None:
    """Answer until the process is told to end.

    Args:
        place: what is looked at. made: a socket that listens, at `host`. names: further values of ``Host``. token: what lets one act.
        started: called with the port before the first answer.
    """
    import uvicorn

    port = made.getsockname()[1]
    app = application(place, Sessions(token, port), hosts_of(host, port, names), private=is_open(host))
    config = uvicorn.Config(
        app,
        http="h11",  # it bounds what a request's head may take
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST,
        h11_max_incomplete_event_size=_HEAD,
        timeout_keep_alive=_QUIET,
        timeout_graceful_shutdown=_END,
    )
    if not place.cluster:
        with contextlib.suppress(SluiceError):
            place.runs(1, "", "")  # so that whoever comes first does not wait for it
    templates().get_template("runs.html")
    threading.Thread(target=_ahead, args=(place,), daemon=True).start()
    started(port)
    uvicorn.Server(config).run(sockets=[made])


def _ahead(place: Place) -> None:
    """What takes seconds to import, before somebody asks for models; not while the first page is drawn."""
    time.sleep(_LATER)
    with contextlib.suppress(Exception):
        place.models()
