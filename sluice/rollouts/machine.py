"""Is it the models that are slow, or this machine, busy with other work?"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

#: Shares of all CPUs: what other work must take, and how little be left, for the machine to be the limit; what a hypervisor
#: may take away; and of time, for how much of it a container may be held back by its quota.
_OTHERS, _LEFT, _STOLEN, _THROTTLED = 0.25, 0.15, 0.1, 0.1
#: Seconds between two measurements, over which the shares are smoothed, and for which the machine counts as busy after it was.
_EVERY, _MEMORY, _AFTER = 1.0, 3.0, 3.0


@dataclass(frozen=True)
class Usage:
    """CPU seconds since some fixed moment.

    Attributes:
        total: of all CPUs; of it `idle`, and `stolen` by the machine's host.
        own: by process, of this one and all below it.
        throttled: seconds in which the container's quota was used up.
    """

    total: float
    idle: float
    stolen: float
    own: Mapping[int, float]
    throttled: float = 0.0


class Machine:
    """Measures who has the CPUs, once a second, from ``/proc`` (elsewhere from the load average).

    Args:
        usage: a measurement, or None where there is none. load: the load average of the last minute. cpus: how many there are.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        usage: Callable[[], Usage | None] | None = None,
        load: Callable[[], float] = lambda: os.getloadavg()[0],
        cpus: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._usage, self._load, self._clock = usage or measure, load, clock
        self.cpus = cpus or os.cpu_count() or 1
        self._before: tuple[float, Usage | None] | None = None
        self._shares: dict[str, float] = {}
        self._busy_at = float("-inf")
        self._said: str | None = None

    def limit(self) -> str | None:
        """Why this machine, not a model, decides how fast answers come now; None when it does not."""
        now = self._clock()
        if self._before is None or now - self._before[0] >= _EVERY:
            self._measure(now)
        return self._said if now - self._busy_at <= _AFTER else None

    def _measure(self, now: float) -> None:
        usage = self._usage()
        before, self._before = self._before, (now, usage)
        if usage is None:
            # Our own work is in it too: only far more than that means others.
            if self._load() > 2 * self.cpus + 2:
                self._busy_at, self._said = now, f"other work keeps its {self.cpus} CPUs busy (load average {self._load():.1f})"
            return
        if before is None or before[1] is None or usage.total <= before[1].total:
            return
        old, passed = before[1], usage.total - before[1].total
        own = sum(max(v - old.own.get(p, 0.0), 0.0) for p, v in usage.own.items()) / passed
        fresh = {
            "idle": (usage.idle - old.idle) / passed,
            "stolen": (usage.stolen - old.stolen) / passed,
            "throttled": (usage.throttled - old.throttled) / (now - before[0]),
        }
        fresh["others"] = max(1.0 - fresh["idle"] - fresh["stolen"] - own, 0.0)
        weight = min((now - before[0]) / _MEMORY, 1.0)
        s = self._shares = {k: v if k not in self._shares else self._shares[k] + weight * (v - self._shares[k]) for k, v in fresh.items()}
        if s["stolen"] > _STOLEN:
            self._busy_at, self._said = now, f"its host took {s['stolen']:.0%} of its CPU time away"
        elif s["throttled"] > _THROTTLED:
            self._busy_at, self._said = now, f"its CPU quota was used up {s['throttled']:.0%} of the time"
        elif s["others"] > _OTHERS and s["idle"] < _LEFT:
            self._busy_at, self._said = now, f"other work takes {s['others']:.0%} of its {self.cpus} CPUs (load average {self._load():.1f})"


def measure(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> Usage | None:
    """CPU seconds so far by ``/proc`` and the cgroup; None where there is no such thing."""
    try:
        with (proc / "stat").open() as f:
            user, nice, system, idle, waiting, irq, soft, steal = (int(x) for x in f.readline().split()[1:9])
        tick = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None
    total = user + nice + system + idle + waiting + irq + soft + steal
    own = {p: t / tick for p, t in _below(proc, os.getpid()).items()}
    return Usage(total / tick, (idle + waiting) / tick, steal / tick, own, _throttled(cgroup))


def _throttled(cgroup: Path) -> float:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (cgroup / "cpu.stat").read_text().split("\n"):
            if line.startswith("throttled_usec "):
                return int(line.split()[1]) / 1e6
    return 0.0


def _below(proc: Path, root: int) -> dict[int, int]:
    """CPU ticks by process, of `root` and everything it started."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in os.scandir(proc):
        if not entry.name.isdigit():
            continue
        try:
            fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:  # ended meanwhile
            continue
        parents[int(entry.name)], ticks[int(entry.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    found = {root}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return {p: ticks[p] for p in found if p in ticks}
