"""A worker: one process, one event loop, its own sessions, listening beside the others on the same port."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from serving.runtime.http.request import Exchange, reseed
from serving.runtime.http.routes import Routes
from serving.runtime.http.server import HttpServer
from serving.runtime.metrics import Page
from serving.runtime.models.locations import local
from serving.runtime.models.model import Model, load
from serving.runtime.models.repository import Repository
from serving.runtime.process import channel
from serving.runtime.process.service import Service
from serving.runtime.settings import Settings, Source
from sluice.core.errors import SluiceError
from sluice.core.processes import die_with_parent

if TYPE_CHECKING:
    from serving.runtime.protocols.grpc_server import GrpcServer

log = logging.getLogger("sluice.serving")

#: Between looks for slow clients and passed deadlines.
_SWEEP_SECONDS = 0.1
_RARELY = 100
_BACKLOG = 1024
#: Status of a worker that could not load its models: starting it again at once will not help.
CANNOT_LOAD = 2


def main(settings: Settings, slot: int, pages: list[Page], end: socket.socket, sources: list[Source]) -> int:
    """Serve until SIGTERM. Returns the exit status: 0 after a clean drain, 2 when the models cannot be loaded."""
    die_with_parent()
    reseed()
    sys.setswitchinterval(0.0005)  # a run that ends in the engine's thread gets back to the loop sooner
    try:
        models = [_load(s.uri, s.name, s.digest, settings) for s in sources]
    except Exception as e:
        error = e.to_dict() if isinstance(e, SluiceError) else {"error": type(e).__name__, "message": str(e)}
        channel.send(end, {"op": "failed", "error": error})
        log.error("cannot load: %s", e, exc_info=None if isinstance(e, SluiceError) else e)
        return CANNOT_LOAD
    import uvloop

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(settings, loop, pages[slot], pages, end)
    for model in models:
        worker.service.install(model)
    return loop.run_until_complete(worker.run())


def _load(uri: str, name: str, digest: str | None, settings: Settings) -> Model:
    path = local(uri, digest, settings.max_model)
    return load(path, name, digest, settings.threads, settings.max_model, settings.trust, settings.scratch)


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket whose port other workers may bind too. Raises `OSError`."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    s = socket.socket(family, socket.SOCK_STREAM)
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind((host, port))
    except BaseException:
        s.close()
        raise
    return s


class Worker:
    """Ties the protocols to the service, and the service to the parent."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop, page: Page, pages: list[Page], end: socket.socket):
        self.settings, self.loop, self._end = settings, loop, end
        self.service = Service(settings, loop, page, pages)
        self.repository = Repository(self.service, end)
        self.routes = Routes(self.service, self.repository)
        self.http = HttpServer(settings, self.service.metrics, self.service.budget, self.routes.handle)
        if self.service.access is not None:
            self.http.on_answer = self._log
        self.grpc: GrpcServer | None = None
        self._stop = asyncio.Event()
        self._prepared: dict[int, Model | None] = {}

    async def run(self) -> int:
        """Listen, serve until SIGTERM, drain; returns the process's exit status."""
        loop = self.loop
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the parent decides
        listening = await loop.create_server(
            self.http.connection, sock=listening_socket(self.settings.host, self.settings.port), backlog=_BACKLOG
        )
        if self.settings.grpc_port is not None:
            from serving.runtime.protocols.grpc_server import GrpcServer

            self.grpc = GrpcServer(self.service)
            await self.grpc.start()
        loop.add_reader(self._end, self._messages)
        served = [{"name": s.model.name, "digest": s.model.digest} for s in self.service.models.values()]
        # What is loaded stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        channel.send(self._end, {"op": "serving", "models": served})
        sweeper = loop.create_task(self._sweep())
        await self._stop.wait()
        clean = await self._drain(listening)
        sweeper.cancel()
        self.service.close()
        return 0 if clean else 1

    async def _sweep(self) -> None:
        for turn in itertools.count(1):
            await asyncio.sleep(_SWEEP_SECONDS)
            self.http.sweep()
            self.service.engine.expire()
            if turn % _RARELY == 0:
                self.routes.sweep()

    def _log(self, exchange: Exchange, size: int, client: str) -> None:
        assert self.service.access is not None
        model = exchange.model
        self.service.access.add(
            (
                time.time(),
                client,
                exchange.method.decode("latin-1"),
                exchange.path.decode("latin-1"),
                exchange.status,
                len(exchange.body),
                size,
                time.perf_counter() - exchange.arrived,
                exchange.request_id,
                exchange.trace,
                model.name if model else "",
                model.version if model else "",
            )
        )

    async def _drain(self, listening: asyncio.AbstractServer) -> bool:
        """Unready at once, then no new connections, then what is in flight. False when time ran out."""
        settings, http = self.settings, self.http
        self.service.draining = True
        if settings.drain_delay:
            await asyncio.sleep(settings.drain_delay)
        listening.close()
        http.drain()
        until = self.loop.time() + settings.drain
        ending = self.loop.create_task(self.grpc.stop(settings.drain)) if self.grpc is not None else None
        while self.service.calls or http.connections:
            if self.loop.time() > until:
                log.warning(
                    "%d requests and %d connections were left after %g s", self.service.calls, len(http.connections), settings.drain
                )
                return not self.service.calls
            await asyncio.sleep(0.01)
        if ending is not None:
            await ending
        return True

    # the parent
    def _messages(self) -> None:
        try:
            while (message := channel.receive(self._end)) is not None:
                self._message(message)
        except EOFError:
            self.loop.remove_reader(self._end)
            os.kill(os.getpid(), signal.SIGTERM)

    def _message(self, message: dict[str, Any]) -> None:
        change = message.get("change", 0)
        match message["op"]:
            case "prepare":
                threading.Thread(target=self._prepare, args=(change, message), name="load", daemon=True).start()
            case "commit":
                model = self._prepared.pop(change, None)
                if model is not None:
                    self.service.install(model)
                else:
                    self.service.uninstall(message["name"])
                channel.send(self._end, {"op": "committed", "change": change})
            case "changed":
                self.repository.changed(message)
            case "abort":
                self._prepared.pop(change, None)

    def _prepare(self, change: int, message: dict[str, Any]) -> None:
        model, error = None, None
        if message["action"] == "load":
            try:
                model = _load(message["uri"], message["name"], message["digest"], self.settings)
            except SluiceError as e:
                error = e.to_dict()
            except Exception as e:
                log.exception("cannot load %s", message["uri"])
                error = {"error": type(e).__name__, "message": str(e)}
        self.loop.call_soon_threadsafe(self._report, change, model, error)

    def _report(self, change: int, model: Model | None, error: dict[str, Any] | None) -> None:
        if error is None:
            self._prepared[change] = model
        digest = model.digest if model is not None else None
        name = model.name if model is not None else None
        channel.send(self._end, {"op": "prepared", "change": change, "error": error, "digest": digest, "name": name})
