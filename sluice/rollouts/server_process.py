"""Model servers on this machine: started, watched, asked, stopped."""

from __future__ import annotations

import http.client
import itertools
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sluice.core.processes import free_port, spawn, stop
from sluice.core.spelling import label_now
from sluice.rollouts import prometheus_text
from sluice.rollouts.envoy import get
from sluice.rollouts.load_generator import Request, answer
from sluice.rollouts.state import Arm, Counts, Replica

_ATTEMPTS = 4
_PROBES = 5
#: Seconds for an answer to a look; where the machine is known to be busy, its counters are waited for longer.
_IN_TIME = 2.0


class Model:
    """One server process on one package.

    Args:
        command: of the server, without its port options; they are added.
        log: where its output goes. slo_seconds: the latency objective its histogram is read at.
        probes: requests it must be able to answer before it counts as ready.
    """

    def __init__(self, command: Sequence[str], log: Path, slo_seconds: float, probes: Sequence[Request] = ()):
        self.command, self.log, self.slo_seconds, self.probes = list(command), log, slo_seconds, list(probes[:_PROBES])
        self.attempts = 0
        self.starts = 0
        self.address = self.grpc = ("127.0.0.1", 0)
        self.failure: str | None = None
        #: Seconds for which a server that was ready and now answers late is taken to be ready still.
        self.patience = 0.0
        self._ready_at = float("-inf")
        self._answers = False
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start on free ports. Raises `SluiceError` when the program cannot be started."""
        self.attempts += 1
        self.starts += 1
        self.address, self.grpc = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
        self._answers, self._ready_at = False, float("-inf")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self.process = spawn(
            [*self.command, "--host", self.address[0], "--port", str(self.address[1]), "--grpc-port", str(self.grpc[1])], log=self.log
        )

    def stop(self, grace: float = 10.0) -> None:
        """End its server, killed after `grace` seconds."""
        if self.process is not None:
            stop(self.process, grace)

    def look(self, *, revive: bool) -> Arm:
        """What it is like now. A server whose port was taken meanwhile gets another; with `revive` a dead one starts again."""
        process = self.process
        if process is None:
            return Arm(exists=False)
        status = process.poll()
        if status is not None:
            tail = self.tail()
            taken = "in use" in tail.lower()
            if (taken or revive) and self.attempts < _ATTEMPTS:
                self.start()
                return Arm(restarts=self.restarts(taken))
            return Arm(restarts=self.starts - 1, failure=f"{ended(status)}{': ' + tail if tail else ''}")
        counts: Counts | None = None
        ready = self.ready()
        if ready:
            try:
                code, body = get(self.address, "/metrics", timeout=_IN_TIME + self.patience / 4)
                counts = prometheus_text.counts(body.decode("utf-8", "replace"), self.slo_seconds) if code == 200 else None
            except OSError:
                counts = None
        replica = Replica(f"{self.address[1]}-{process.pid}", ready, counts)
        return Arm((replica,) if ready else (), ready and self.failure is None, self.starts - 1, self.failure)

    def restarts(self, taken: bool) -> int:
        """How often it was started anew. `taken`: its port was another's, so this start does not count."""
        if taken:
            # Not the model's doing.
            self.starts -= 1
        return self.starts - 1

    def ready(self) -> bool:
        """It says so, and it has answered a request."""
        try:
            if get(self.address, "/v2/health/ready", timeout=_IN_TIME)[0] != 200:
                return False
        except TimeoutError:
            # Late is not unready where the machine is too busy to ask in time.
            return time.monotonic() - self._ready_at <= self.patience
        except OSError:
            return False
        self._ready_at = time.monotonic()
        if not self._answers and self.failure is None:
            self._probe()
        return True

    def _probe(self) -> None:
        failures = []
        for request in self.probes:
            status, body = ask(self.address, request)
            if status < 400:
                self._answers = True
                return
            failures.append(f"status {status}: {body[:200].decode('utf-8', 'replace')}" if status < 600 else body.decode())
        if failures:
            self.failure = f"answered {len(failures)} of {len(failures)} probes with an error ({failures[0]})"

    def tail(self, size: int = 300) -> str:
        """The last thing it said: from its last line that speaks of an error, else the last line."""
        try:
            lines = [x.strip() for x in self.log.read_text(errors="replace").split("\n") if x.strip()][-40:]
        except OSError:
            return ""
        spoken = [i for i, x in enumerate(lines) if x.lower().startswith(("error", "oserror", "traceback"))]
        return " ".join(lines[spoken[-1] if spoken else -1 :])[-size:]


def ended(status: int) -> str:
    """A process's end in words."""
    if status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"exited with status {status}"


def ask(address: tuple[str, int], request: Request, timeout: float = 10.0) -> tuple[int, bytes]:
    """Send one request straight to a server; 599 and the reason when there is no answer."""
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request("POST", request.path, body=request.body, headers=dict(request.headers))
        got = connection.getresponse()
        return got.status, got.read()
    except (OSError, http.client.HTTPException) as e:
        return 599, f"{type(e).__name__}: {e}".encode()
    finally:
        connection.close()


class Comparison:
    """In the shadow: the same requests put straight to both models, their answers compared with each other and the truth."""

    def __init__(self, requests: Sequence[Request], rate: float = 40.0):
        self.requests, self.pause = list(requests), 1.0 / rate
        self.stable: Counts = {"judged": 0, "wrong": 0}
        self.candidate: Counts = {"judged": 0, "wrong": 0, "compared": 0, "disagreed": 0}
        self._guard = threading.Lock()
        self._halt = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, stable: tuple[str, int], candidate: tuple[str, int]) -> None:
        """Begin to ask both, in a thread of its own; once."""
        if self._thread is None and self.requests:
            self._thread = threading.Thread(target=self._run, args=(stable, candidate), name="comparison", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End; returns when the request in flight is answered, after 15 s at the latest."""
        self._halt.set()
        if self._thread is not None:
            self._thread.join(15)

    def counts(self, arm: str) -> Counts:
        """What was counted of one arm so far."""
        with self._guard:
            return dict(self.stable if arm == "stable" else self.candidate)

    def _run(self, stable: tuple[str, int], candidate: tuple[str, int]) -> None:
        for request in itertools.cycle(self.requests):
            if self._halt.is_set():
                return
            (old_status, old), (new_status, new) = ask(stable, request), ask(candidate, request)
            a, b = answer(old) if old_status < 400 else None, answer(new) if new_status < 400 else None
            if a is not None:
                with self._guard:
                    self.candidate["compared"] += 1
                    # Numbers differ from model to model; one that is none (NaN) is what must not be.
                    self.candidate["disagreed"] += b is None or (isinstance(a, str) and a != b)
                    if request.label is not None and isinstance(a, str) and isinstance(b, str):
                        for counts, said in ((self.stable, a), (self.candidate, b)):
                            counts["judged"] += 1
                            counts["wrong"] += said != label_now(request.label)
            time.sleep(self.pause)
