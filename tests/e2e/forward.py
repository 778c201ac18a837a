"""A Service of the cluster on a port of this machine."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator

from sluice.core.processes import free_port


@contextlib.contextmanager
def forwarded(namespace: str, service: str, port: int) -> Iterator[str]:
    """A Service on a port of this machine; once more whenever its pod is replaced, as another file's tests do."""
    local = free_port()
    command = ["kubectl", "-n", namespace, "port-forward", f"service/{service}", f"{local}:{port}"]
    begun, ended = threading.Event(), threading.Event()
    processes: list[subprocess.Popen[str]] = []

    def forward() -> None:
        while not ended.is_set():
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            processes.append(process)
            assert process.stdout is not None
            for line in process.stdout:
                if "Forwarding" in line:
                    begun.set()
                if "lost connection" in line or "error" in line:
                    process.terminate()
            process.wait(10)
            ended.wait(1)

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()
    try:
        assert begun.wait(60), f"{' '.join(command)}: no connection within 60 s"
        yield f"http://127.0.0.1:{local}"
    finally:
        ended.set()
        for process in processes:
            process.terminate()
        thread.join(20)
