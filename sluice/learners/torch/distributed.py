"""The processes of a run: who is who, how they talk, and how the whole learns that one is stuck."""

from __future__ import annotations

import dataclasses
import mmap
import os
import socket
import struct
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

#: Environment variables of torchrun's contract, which our own launcher keeps to as well.
RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE = "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"
#: Set by our launcher: file the processes of this machine meet at.
RENDEZVOUS = "SLUICE_RENDEZVOUS"


@dataclasses.dataclass(frozen=True)
class World:
    """One process among those of a run.

    Attributes:
        rank, size: this process and how many there are.
        local_rank: this process among those of its machine.
        device: where it computes.
        timeout: seconds after which the processes no longer wait for each other.
    """

    rank: int
    size: int
    local_rank: int
    device: torch.device
    timeout: float = 1800.0

    @property
    def first(self) -> bool:
        """Whether this is the process that tells, judges and writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        if self.size > 1:
            dist.barrier()

    def broadcast(self, value: Any) -> Any:
        """The first process's JSON-like value, on all."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def broadcast_buffers(self, model: torch.nn.Module) -> None:
        """Give all processes the first one's buffers (running means of batch norms)."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def sum(self, *values: float) -> list[float]:
        """Sums over the processes, on all."""
        if self.size == 1:
            return list(values)
        t = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(t)
        return [float(v) for v in t.tolist()]

    def gather_rows(self, part: torch.Tensor, total: int) -> torch.Tensor | None:
        """Rows dealt out one after another (`total` over all processes), in order on the first process, None on the others.

        Args:
            part: this process's rows, those at ``rank, rank + size, ...``.
        """
        if self.size == 1:
            return part
        most = -(-total // self.size)
        padded = torch.zeros((most, *part.shape[1:]), dtype=part.dtype, device=self.device)
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in range(self.size)] if self.first else None
        dist.gather(padded, parts, dst=0)
        if parts is None:
            return None
        return torch.stack(parts, dim=1).flatten(0, 1)[:total]


def join(device: str, timeout: float) -> World:
    """Find this process's place and connect it with the others, as `backend_for` says.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        timeout: seconds after which a collective operation fails.
    """
    rank, size, local = (int(os.environ.get(n, d)) for n, d in ((RANK, "0"), (WORLD_SIZE, "1"), (LOCAL_RANK, "0")))
    local_size = int(os.environ.get(LOCAL_WORLD_SIZE, str(size)))
    place = choose_device(device, local, local_size)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if size > 1:
        meeting = os.environ.get(RENDEZVOUS)
        if meeting:  # one machine: nothing but the loopback is needed
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if any(n == "lo" for _, n in socket.if_nameindex()) else "lo0")
        # A store, not file://PATH: in an address ? and # would end the path.
        store = dist.FileStore(meeting, size) if meeting else None
        dist.init_process_group(
            backend_for(place, local_size),
            init_method=None if store else "env://",
            store=store,
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=timeout),
        )
    return World(rank, size, local, place, timeout)


def backend_for(device: torch.device, local_size: int) -> str:
    """NCCL where every process of the machine has a GPU of its own: it refuses two on one, for which gloo does."""
    return "nccl" if device.type == "cuda" and torch.cuda.device_count() >= local_size else "gloo"


def choose_device(wanted: str, local_rank: int, local_size: int) -> torch.device:
    """A GPU of its own for each process of the machine where there are enough, else the CPU."""
    if wanted != "cpu" and has_gpus(local_size if wanted == "auto" else 1):
        return torch.device("cuda", local_rank % torch.cuda.device_count())
    return torch.device("cpu")


def has_gpus(count: int) -> bool:
    """Whether at least `count` CUDA devices are there; asks without starting CUDA in this process."""
    if not (Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()):
        return False
    return torch.cuda.device_count() >= count


class Heartbeat:
    """When each process of this machine last finished a step: a small file all of them map.

    Args:
        path: the file; made by the launcher.
        processes: of this machine.
    """

    def __init__(self, path: Path, processes: int, create: bool = False):
        if create:
            path.write_bytes(bytes(16 * processes))
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 16 * processes)

    def beat(self, local_rank: int, step: int) -> None:
        """Note that process `local_rank` of this machine has done `step` steps."""
        struct.pack_into("dq", self._map, 16 * local_rank, time.monotonic(), step)

    def read(self, local_rank: int) -> tuple[float, int]:
        """Monotonic time of the last beat (0 before the first), and the step."""
        return struct.unpack_from("dq", self._map, 16 * local_rank)  # type: ignore[return-value]
