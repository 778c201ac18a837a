"""How a training does, for whoever looks from outside: Prometheus metrics on a port, the process's memory, the GPUs' use.

The first process serves. Nothing here can stop a training: a port in use, or no GPU, is a note or nothing at all.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Event = dict[str, Any]

#: Set for the processes of a TrainJob, whose runtime names the port `metrics`; ``train.metrics_port`` goes before it.
PORT_ENV = "SLUICE_TRAIN_METRICS_PORT"
#: Where a TrainJob's first node serves.
PORT = 9464
_EVERY = 2.0


class Gpus:
    """The machine's NVIDIA GPUs by NVML; none where there is no driver, no GPU, or no ``nvidia-ml-py``."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        try:
            import pynvml
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError:
            self._handles = []
        self._nvml = pynvml

    def __len__(self) -> int:
        return len(self._handles)

    def sample(self) -> list[tuple[float, int]]:
        """Utilisation (0 to 1) and memory in use (bytes) of each GPU; empty when they cannot be asked."""
        try:
            return [
                (self._nvml.nvmlDeviceGetUtilizationRates(h).gpu / 100.0, int(self._nvml.nvmlDeviceGetMemoryInfo(h).used))
                for h in self._handles
            ]
        except self._nvml.NVMLError:
            return []


class Telemetry:
    """Takes in a training's events; adds what the machine does to those of an epoch; serves both.

    Args:
        emit: where events go on to.
        project: the label of every metric.
        port: to serve on; null: none.
        gpus: what is asked for GPUs.
    """

    def __init__(self, emit: Callable[[Event], None], project: str, port: int | None, gpus: Gpus | None = None):
        self._emit = emit
        self._gpus = gpus if gpus is not None else Gpus()
        self._samples: list[list[tuple[float, int]]] = []
        self._metrics: _Metrics | None = None
        if port is not None:
            try:
                self._metrics = _Metrics(project, port)
            except (OSError, OverflowError, ImportError) as e:
                emit({"kind": "warning", "text": f"no metrics are served on port {port}: {e}; training goes on"})
        if len(self._gpus):
            threading.Thread(target=self._watch, name="gpus", daemon=True).start()

    def emit(self, event: Event) -> None:
        """Pass an event on."""
        if event["kind"] == "epoch":
            event = {**event, **self._machine()}
        if self._metrics:
            self._metrics.see(event)
        self._emit(event)

    def _machine(self) -> dict[str, float]:
        out: dict[str, float] = {"process_memory_bytes": memory_bytes()}
        samples, self._samples = self._samples, []
        if samples:
            flat = [g for sample in samples for g in sample]
            out |= {"gpu_utilisation": sum(u for u, _ in flat) / len(flat), "gpu_memory_bytes": max(sum(m for _, m in s) for s in samples)}
        return out

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            if found := self._gpus.sample():
                self._samples = [*self._samples[-1000:], found]
                if self._metrics:
                    self._metrics.see_gpus(found)
            pause.wait(_EVERY)


class _Metrics:
    """The metrics in a registry of their own, behind an HTTP server."""

    def __init__(self, project: str, port: int):
        from prometheus_client import CollectorRegistry, Gauge, start_http_server

        registry = CollectorRegistry()

        def gauge(name: str, help_: str, *labels: str) -> Any:
            made = Gauge(f"sluice_train_{name}", help_, ["project", *labels], registry=registry)
            return made if labels else made.labels(project)

        self._project = project
        self._gauges = {
            "loss": gauge("loss", "Mean training loss of the epoch so far"),
            "samples_per_second": gauge("samples_per_second", "Training rows a second, over all processes"),
            "step": gauge("step", "Optimiser steps done"),
            "steps": gauge("steps", "Optimiser steps of the whole run"),
            "epoch": gauge("epoch", "Epoch that is being trained, from 1"),
            "seconds_left": gauge("seconds_left", "Seconds of training left at this rate"),
            "validation_loss": gauge("validation_loss", "Loss on the validation rows after the last epoch"),
            "process_memory_bytes": gauge("process_memory_bytes", "Resident memory of the first process after the last epoch"),
        }
        self._warnings = gauge("warnings", "Warnings of the run: restarts, checkpoints that could not be written")
        self._gpu_use = gauge("gpu_utilisation_ratio", "Share of the time the GPU computed", "gpu")
        self._gpu_memory = gauge("gpu_memory_bytes", "Memory of the GPU in use", "gpu")
        start_http_server(port, registry=registry)

    def see(self, event: Event) -> None:
        if event["kind"] == "warning":
            self._warnings.inc()
        if event["kind"] not in ("step", "epoch"):
            return
        values = {**event, "loss": event.get("loss", event.get("train_loss"))}
        for name, gauge in self._gauges.items():
            if isinstance(values.get(name), int | float):
                gauge.set(values[name])

    def see_gpus(self, found: list[tuple[float, int]]) -> None:
        for i, (use, memory) in enumerate(found):
            self._gpu_use.labels(self._project, str(i)).set(use)
            self._gpu_memory.labels(self._project, str(i)).set(memory)


def memory_bytes() -> float:
    """Resident memory of this process (Linux); 0 where it is not told."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return float(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0.0


def port_of(setting: int | None) -> int | None:
    """The port the project names, else the environment's; none when neither does."""
    told = os.environ.get(PORT_ENV, "")
    return setting if setting is not None else int(told) if told.isdigit() else None
