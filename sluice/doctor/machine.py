"""This machine's memory, its Envoy, and its ports."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

from sluice.core.errors import MissingExtra
from sluice.doctor.finding import Finding, fault, note, ok

#: Bytes under which a run with torch is likely to be killed, and under which that is worth a word.
_LEAST, _TIGHT = 1 << 30, 3 << 30
#: Of `sluice serve` and of what else is started without a word about its port.
_PORT = 8080


def memory() -> Finding:
    """What a run may take: what is free, or what the container's limit leaves, whichever is less."""
    free = _available()
    if free is None:
        return note("memory", "this system does not say how much is free")
    left = _limit_left()
    least = free if left is None else min(free, left)
    whose = "" if left is None or free <= left else " under this container's limit"
    said = f"{least / 2**30:.1f} GiB free{whose}, {len(os.sched_getaffinity(0))} CPUs"
    if least < _LEAST:
        return fault("memory", said, "end other programs, or raise the limit: a run with torch takes 1 GiB and more")
    return note("memory", f"{said}: enough for small models") if least < _TIGHT else ok("memory", said)


def _available(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _limit_left(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes to the limit of this control group (version 2, then 1); None where there is none."""
    for limit, used in (
        (root / "memory.max", root / "memory.current"),
        (root / "memory" / "memory.limit_in_bytes", root / "memory" / "memory.usage_in_bytes"),
    ):
        try:
            most, now = limit.read_text().strip(), used.read_text().strip()
        except OSError:
            continue
        if most.isdigit() and int(most) < 1 << 60:
            return max(0, int(most) - int(now))
    return None


def envoy() -> Finding:
    """Whether the Envoy that splits a rollout's traffic here starts."""
    from sluice.rollouts.envoy import binary

    try:
        path = binary()
    except MissingExtra as e:
        return note("Envoy", "is not installed, which the rollout of `sluice run` needs", e.fix or "")
    try:
        said = subprocess.run([str(path), "--version"], capture_output=True, text=True, timeout=8, check=True).stdout
    except (OSError, subprocess.SubprocessError) as e:
        why = (getattr(e, "stderr", "") or str(e)).strip().splitlines()[:1]
        return fault("Envoy", f"{path} does not start: {why[0] if why else e}", "pip install --force-reinstall 'sluice-ml[local]'")
    found = re.search(r"/(\d+\.\d+\.\d+)/", said)
    return ok("Envoy", f"{found[1] if found else said.strip()} at {path}")


def ports() -> Finding:
    """A rollout listens on ports of 127.0.0.1 that the system chooses; `sluice serve` on 8080."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as s, socket.create_connection(s.getsockname(), timeout=3):
            pass
    except OSError as e:
        return fault("ports", f"nothing can listen and be reached on 127.0.0.1: {e.strerror or e}", "allow it: a rollout here needs it")
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", _PORT))
        except OSError:
            return note("ports", f"127.0.0.1 can be used; {_PORT} is taken", f"sluice serve PACKAGE --port {_PORT + 1}")
    return ok("ports", f"127.0.0.1 can be used; {_PORT} is free")
