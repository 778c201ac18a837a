"""The parent: starts the workers, starts dead ones again, and changes models on all of them or on none."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import secrets
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from serving.runtime.logs.answers import Answers
from serving.runtime.metrics import Metrics, Page
from serving.runtime.models.reload import Changes
from serving.runtime.process import channel, worker
from serving.runtime.settings import Settings, Source
from sluice.core.errors import SluiceError

log = logging.getLogger("sluice.serving")

_BACKOFF = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: A worker that lived this long starts again without delay.
_STEADY_SECONDS = 30.0
_POINTER_SECONDS = 0.5


class StartError(SluiceError):
    """The server cannot start: the port is taken, or no worker could load its models."""

    exit_code = 2


def _hold(host: str, port: int, option: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # Without SO_REUSEPORT first: another server on the port is an error, not company.
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            port = probe.getsockname()[1]
        return worker.listening_socket(host, port)
    except OSError as e:
        raise StartError(
            f"cannot listen there: {e.strerror or e}",
            field=option,
            value=f"{host}:{port}",
            fix=f"choose another, or {option} 0 for a free one",
        ) from e


@dataclasses.dataclass
class Slot:
    """A worker's place. `end`: the parent's side of its channel."""

    number: int
    pid: int = 0
    pidfd: int = -1
    end: socket.socket | None = None
    serving: bool = False
    started: float = 0.0
    deaths: int = 0
    restart_at: float | None = None


class Supervisor:
    """Runs `settings.workers` workers until SIGTERM or SIGINT."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.sources = [dataclasses.replace(s, uri=s.uri if "://" in s.uri else str(Path(s.uri).absolute())) for s in settings.sources]
        self.models: dict[str, Source] = {}
        self.pages = [Page() for _ in range(settings.workers + 2)]
        self.metrics = Metrics(self.pages[-1])
        self._recorder = 0
        self._recorder_socket: socket.socket | None = None
        self.slots = [Slot(i) for i in range(settings.workers)]
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._failure: dict[str, Any] | None = None
        self._announced = False
        self._changes = Changes(self.models, self._serving, self._tell, self.metrics)
        self._restarts = self.metrics.counter("sluice_worker_restarts_total")
        self._up = self.metrics.counter("sluice_workers")
        self._pointer_next = 0.0
        self._pointer_seen: str | None = None

    def run(self) -> int:
        """Returns the exit status: 0 after a clean drain.

        Raises:
            StartError: the port cannot be bound, or the models cannot be loaded.
        """
        held = self._bind()
        wake, wakened = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(wakened, False)
        signal.set_wakeup_fd(wakened)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, self._signalled)
        self._selector.register(wake, selectors.EVENT_READ, wake)
        scratch = tempfile.mkdtemp(prefix="sluice-serving-")
        self.settings = dataclasses.replace(self.settings, scratch=scratch)
        try:
            if self.settings.log:
                self._listen_recorder()
                self._start_recorder()
            for slot in self.slots:
                self._start(slot)
            while not self._stopping:
                self._turn(wake)
            return self._drain()
        finally:
            for slot in self.slots:
                if slot.pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(slot.pid, signal.SIGKILL)
            if self._recorder:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._recorder, signal.SIGKILL)
            shutil.rmtree(scratch, ignore_errors=True)
            signal.set_wakeup_fd(-1)
            for s in held:
                s.close()

    def _bind(self) -> list[socket.socket]:
        """Take the ports for this server, and learn them if any would do. Workers bind them beside these sockets, which never listen."""
        settings = self.settings
        held = [_hold(settings.host, settings.port, "--port")]
        self.settings = dataclasses.replace(settings, port=held[0].getsockname()[1])
        if settings.grpc_port is not None:
            held.append(_hold(settings.host, settings.grpc_port, "--grpc-port"))
            self.settings = dataclasses.replace(self.settings, grpc_port=held[1].getsockname()[1])
        return held

    def _signalled(self, number: int, _: Any) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stopping = True

    def _start(self, slot: Slot) -> None:
        ours, theirs = channel.pair()
        sources = list(self.models.values()) if self._announced else self.sources
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                self._become_worker(ours)
                status = worker.main(self.settings, slot.number, self.pages, theirs, sources)
            except BaseException:
                traceback.print_exc()
            finally:
                with contextlib.suppress(OSError, ValueError):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(status)
        theirs.close()
        slot.pid, slot.end, slot.started, slot.restart_at = pid, ours, time.monotonic(), None
        slot.pidfd = os.pidfd_open(pid)
        self._selector.register(ours, selectors.EVENT_READ, slot)
        self._selector.register(slot.pidfd, selectors.EVENT_READ, slot)

    def _become_worker(self, ours: socket.socket) -> None:
        signal.set_wakeup_fd(-1)
        for s in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(s, signal.SIG_DFL)
        self._selector.close()
        ours.close()
        if self._recorder_socket is not None:
            self._recorder_socket.close()
        for other in self.slots:
            if other.end is not None:
                other.end.close()
                os.close(other.pidfd)

    def _turn(self, wake: int) -> None:
        now = time.monotonic()
        times = [s.restart_at for s in self.slots if s.restart_at is not None]
        times += [self._changes.until] if self._changes.until else []
        times += [self._pointer_next] if self.settings.pointer else []
        for key, _ in self._selector.select(max(0.0, min(times) - now) if times else None):
            if key.data == wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
                self._look_at_recorder()
            elif key.fileobj == key.data.pidfd:
                self._ended(key.data)
            else:
                self._messages(key.data)
        now = time.monotonic()
        for slot in self.slots:
            if slot.restart_at is not None and slot.restart_at <= now and not self._stopping:
                self.metrics.values[self._restarts] += 1
                self._start(slot)
        self._changes.expire(now)
        if self.settings.pointer and self._pointer_next <= now and self._announced:
            self._pointer_next = now + _POINTER_SECONDS
            self._look_at_pointer()

    # workers
    def _ended(self, slot: Slot) -> None:
        self._messages(slot)
        if not slot.pid:
            return
        _, raw = os.waitpid(slot.pid, 0)
        status = os.waitstatus_to_exitcode(raw)
        lived = time.monotonic() - slot.started
        self._forget(slot)
        if self._stopping:
            return
        slot.deaths = 1 if lived > _STEADY_SECONDS else slot.deaths + 1
        if not self._announced and (status == worker.CANNOT_LOAD or slot.deaths > 3):
            error = self._failure or {"message": f"a worker ended with status {status} before it served"}
            raise StartError(error["message"], field=error.get("field"), fix=error.get("fix"))
        wait = _BACKOFF[min(slot.deaths - 1, len(_BACKOFF) - 1)]
        log.error("worker %d ended with status %d after %.1f s; starting it again in %g s", slot.number, status, lived, wait)
        slot.restart_at = time.monotonic() + wait

    def _forget(self, slot: Slot) -> None:
        self._selector.unregister(slot.pidfd)
        os.close(slot.pidfd)
        if slot.end is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(slot.end)
            slot.end.close()
        # What the dead one held is nobody's any more.
        Metrics(self.pages[slot.number])
        slot.pid, slot.pidfd, slot.end, slot.serving = 0, -1, None, False
        self._count()
        self._changes.gone(slot.number)

    def _count(self) -> None:
        self.metrics.values[self._up] = sum(s.serving for s in self.slots)

    def _messages(self, slot: Slot) -> None:
        if slot.end is None:
            return
        try:
            while (message := channel.receive(slot.end)) is not None:
                self._message(slot, message)
        except EOFError:
            with contextlib.suppress(KeyError):
                self._selector.unregister(slot.end)

    def _message(self, slot: Slot, message: dict[str, Any]) -> None:
        match message["op"]:
            case "serving":
                slot.serving = True
                self._count()
                self._announce(message["models"])
                self._changes.catch_up(message["models"])
            case "failed":
                self._failure = message["error"]
            case "change":
                self._changes.add(message["action"], message["name"], message["uri"], message["digest"], slot.number, message["ticket"])
            case "prepared" | "committed":
                self._changes.heard(slot.number, message)

    def _announce(self, models: list[dict[str, str]]) -> None:
        if not self.models:
            for source, found in zip(self.sources, models, strict=True):
                self.models[found["name"]] = Source(found["name"], source.uri, found["digest"])
        if not self._announced and all(s.serving for s in self.slots):
            self._announced = True
            s = self.settings
            log.info(
                "serving",
                extra={
                    "data": {
                        "url": f"http://{s.host}:{s.port}",
                        "grpc": f"{s.host}:{s.grpc_port}" if s.grpc_port is not None else None,
                        "workers": s.workers,
                        "models": [{"name": n, "version": m.digest[:12] if m.digest else ""} for n, m in self.models.items()],
                    }
                },
            )

    # the prediction log
    def _listen_recorder(self) -> None:
        # An abstract address: no file, and gone with the last process that holds it.
        address = b"\0sluice-" + secrets.token_hex(16).encode()
        self._recorder_socket = socket.socket(socket.AF_UNIX)
        self._recorder_socket.bind(address)
        self._recorder_socket.listen(256)
        self.settings = dataclasses.replace(self.settings, log_address=address, answers=Answers(self.settings.feedback_token))

    def _start_recorder(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._recorder = os.fork()
        if self._recorder:
            return
        status = 1
        try:
            from serving.runtime.logs.prediction_log_writer import Recorder

            end = self._recorder_socket
            assert end is not None
            self._recorder_socket = None
            unused, _ = channel.pair()
            self._become_worker(unused)
            status = Recorder(end, self.settings.log or "", self.settings.log_seconds, self.pages[-2]).run()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _look_at_recorder(self) -> None:
        """Start the recorder again if it died. Workers go on: they drop, count, and connect again."""
        if self._recorder and not self._stopping and os.waitpid(self._recorder, os.WNOHANG)[0]:
            log.error("the recorder of the prediction log died; starting it again")
            self._start_recorder()

    # changes of models
    def _tell(self, number: int, message: dict[str, Any]) -> bool:
        end = self.slots[number].end
        return end is not None and channel.send(end, message)

    def _serving(self) -> set[int]:
        return {s.number for s in self.slots if s.serving}

    def _look_at_pointer(self) -> None:
        """Load what the pointer file names, once each time it changes."""
        try:
            text = Path(self.settings.pointer or "").read_text().strip()
        except OSError:
            return
        if not text or text == self._pointer_seen:
            return
        self._pointer_seen = text
        uri, _, digest = text.partition(" ")
        name = next(iter(self.models), "")
        current = self.models.get(name)
        if current is None or (current.uri, current.digest) != (uri, digest.strip() or current.digest) or not digest:
            self._changes.add("load", name, uri, digest.strip() or None)

    # the end
    def _drain(self) -> int:
        """SIGTERM to all workers; what is left when their time is up is killed."""
        for slot in self.slots:
            if slot.pid:
                os.kill(slot.pid, signal.SIGTERM)
        until = time.monotonic() + self.settings.drain + self.settings.drain_delay + 5.0
        clean = True
        for slot in self.slots:
            if not slot.pid:
                continue
            with selectors.DefaultSelector() as one:
                one.register(slot.pidfd, selectors.EVENT_READ)
                if not one.select(max(0.0, until - time.monotonic())):
                    log.error("worker %d did not end in time", slot.number)
                    os.kill(slot.pid, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(slot.pid, 0)[1])
            # SIGTERM before the handler was there: the worker had taken no request.
            clean = clean and status in (0, *(() if slot.serving else (-signal.SIGTERM,)))
            slot.pid = 0
        if self._recorder:
            os.kill(self._recorder, signal.SIGTERM)
            fd = os.pidfd_open(self._recorder)
            with selectors.DefaultSelector() as one:
                one.register(fd, selectors.EVENT_READ)
                if not one.select(30):
                    log.error("the recorder of the prediction log did not end in time")
                    os.kill(self._recorder, signal.SIGKILL)
            os.waitpid(self._recorder, 0)
            self._recorder = 0
        log.info("stopped", extra={"data": {"clean": clean}})
        return 0 if clean else 1
