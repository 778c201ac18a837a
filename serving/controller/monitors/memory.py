"""Where a monitor keeps what it has read, beside the log: an object a look, of which the resource's status names the one that counts."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from pathlib import Path

from sluice.core import files
from sluice.core.errors import SluiceError
from sluice.core.s3 import Place, StoreFault

#: Bytes that what was read may take.
MOST = 64 << 20
#: Objects behind the one that counts that stay, for whoever still reads the status before.
_KEPT = 2


class LogUnreadable(SluiceError):
    """The log, or what is kept beside it, cannot be read or written now."""


@functools.lru_cache(maxsize=64)
def _place(root: str) -> Place:
    """Kept: a client costs tens of milliseconds."""
    return Place(root, "spec.log", connect=5, read=30, attempts=2)


class Memory:
    """What a monitor has read.

    Args:
        log: ``s3://bucket/prefix``, or a folder. namespace, name: of the monitor.

    Raises (all methods):
        LogUnreadable: the store cannot be reached, or refuses.
    """

    def __init__(self, log: str, namespace: str, name: str):
        self.log, self.folder = log.rstrip("/"), f"monitors/{namespace}/{name}"

    def get(self, name: str) -> bytes | None:
        """What was kept under a name; None where nothing is."""
        try:
            if self.log.startswith("s3://"):
                return _place(self.log).read(f"{self.folder}/{name}", MOST)
            return (Path(self.log) / self.folder / name).read_bytes()
        except (StoreFault, OSError) as e:
            if isinstance(e, FileNotFoundError) or getattr(e, "kind", "") == "missing":
                return None
            raise self._told(e) from e

    def put(self, data: bytes, number: int) -> str:
        """Keep what look `number` came to. Returns the name: the same for the same bytes, and no others'."""
        name = f"{number:010d}-{hashlib.sha256(data).hexdigest()[:16]}.json"
        try:
            if self.log.startswith("s3://"):
                _place(self.log).put(f"{self.folder}/{name}", data)
            else:
                files.write_bytes(Path(self.log) / self.folder / name, data)
        except (StoreFault, OSError) as e:
            raise self._told(e) from e
        return name

    def tidy(self, name: str) -> None:
        """Remove what stands before `name`, but for the last two. A courtesy: what stays costs room and nothing else."""
        with contextlib.suppress(StoreFault, OSError):
            if self.log.startswith("s3://"):
                there = [n.rpartition("/")[2] for n, _ in _place(self.log).list(f"{self.folder}/")]
            else:
                there = sorted(p.name for p in (Path(self.log) / self.folder).glob("*.json"))
            for old in [n for n in there if n < name][:-_KEPT]:
                if self.log.startswith("s3://"):
                    _place(self.log).delete(f"{self.folder}/{old}")
                else:
                    (Path(self.log) / self.folder / old).unlink(missing_ok=True)

    def _told(self, why: Exception) -> SluiceError:
        if isinstance(why, StoreFault):
            return why.told(LogUnreadable, "spec.log", value=self.log)
        return LogUnreadable(f"cannot be used: {why}", field="spec.log", value=self.log)
