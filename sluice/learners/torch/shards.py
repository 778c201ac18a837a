"""One checkpoint written by all processes together: each writes the slices it holds, the first puts the whole in its place."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from sluice.core import files
from sluice.learners.torch.distributed import World
from sluice.learners.torch.stored import file_of
from sluice.learners.torch.tensorfile import write_tensors

_POLL = 0.01


class Shards:
    """This process among those that write a sharded checkpoint into one directory, on a volume they share.

    Each writes its files into a partial directory, and then a record of them; the first process
    waits for all records. The directory's name has a token that the first process drew: what an
    attempt left that was killed is never taken for this one's.

    Args:
        rank, size: this process and how many there are.
        token: the same in all processes of this attempt, and in no other attempt.
        seconds: how long the first process waits for the others, after its own files are written.
        told: gives all processes the first one's answer.
    """

    def __init__(self, rank: int, size: int, token: str, seconds: float, told: Callable[[bool], bool]):
        self.rank, self.size, self.seconds, self.told = rank, size, seconds, told
        self._token = token

    @classmethod
    def of(cls, world: World, seconds: float) -> Shards:
        """For all processes of `world`, by all of them."""
        token = world.broadcast(f"{secrets.token_hex(4)}-{os.getpid()}")
        return cls(world.rank, world.size, token, seconds, world.broadcast)

    @property
    def first(self) -> bool:
        """Whether this process writes the manifest."""
        return self.rank == 0

    def partial(self, target: Path, step: int) -> Path:
        """Where `target` is put together at a step. The best weights are tried again at the next one if a process could not write them:
        what another had written for the step before, perhaps after the first process gave that up, is never taken for this one's."""
        return target.with_name(f"{files.PARTIAL}{target.name}.{step}.{self._token}")

    def clear(self, root: Path, step: int) -> None:
        """Remove what processes that were given up have left since, below `root`; not what is put together at this step."""
        for path in root.glob(f"{files.PARTIAL}*.{self._token}"):
            if not path.name.endswith(f".{step}.{self._token}"):
                shutil.rmtree(path, ignore_errors=True)

    def write(self, partial: Path, contents: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, Any]:
        """Write this process's tensors of each kind, and on the first process wait for all others' to be written.

        Returns:
            On the first process sha256 and size of every file; on others, of their own.

        Raises:
            OSError: this process, or on the first any process, could not write, or did not within the time.
        """
        record = partial / _record(self.rank)
        names = {kind: file_of(kind, self.rank, self.size) for kind in contents}
        partial.mkdir(parents=True, exist_ok=True)
        try:
            listed = {name: write_tensors(partial / name, contents[kind]) for kind, name in names.items()}
            files.write_json(record, {"files": listed})
        except Exception as e:
            with contextlib.suppress(OSError):
                for name in names.values():  # room for the record
                    (partial / name).unlink(missing_ok=True)
                if partial.exists():
                    files.write_json(record, {"error": reason(e)})
            raise
        return self._all(partial) if self.first else listed

    def _all(self, partial: Path) -> dict[str, Any]:
        end = time.monotonic() + self.seconds
        listed: dict[str, Any] = {}
        records = [partial / _record(rank) for rank in range(self.size)]
        for rank, record in enumerate(records):
            while not record.exists():
                if time.monotonic() > end:
                    raise TimeoutError(f"process {rank} has not written its shard {self.seconds:g} s after the first")
                time.sleep(_POLL)
            found = files.read_json(record)
            if "error" in found:
                raise OSError(f"process {rank}: {found['error']}")
            listed |= found["files"]
        for record in records:
            record.unlink()
        return listed


def reason(error: Exception) -> str:
    """Why something could not be written, for people."""
    if isinstance(error, OSError):
        return "no space left on the device" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
    return repr(error)


def _record(rank: int) -> str:
    return f"shard-{rank:05d}.json"
