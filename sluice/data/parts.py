"""The parts of a source from one reading to the next: which are new, changed or gone, and those of an object store kept, so that only new ones are fetched."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sluice.core import files
from sluice.core.errors import ProjectError

#: In the folder: what was read the last time, and the files.
MANIFEST, _FILES, FORMAT = "parts.json", "files", "sluice.parts/v1"
#: Parts that a sentence names.
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Part:
    """A file of a source.

    Attributes:
        name: as the source calls it. size: its bytes. version: the store's word for its content (ETag), or when it was written, in nanoseconds.
        sha256: of its bytes. rows: of a Parquet file, else null.
    """

    name: str
    size: int
    version: str
    sha256: str
    rows: int | None = None


class Parts:
    """What a source consists of, now and before.

    Args:
        folder: where that is written down.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.before: dict[str, Part] = {}
        self.now: dict[str, Part] = {}
        if (folder / MANIFEST).exists():
            raw = files.read_json(folder / MANIFEST)
            if raw.get("format") != FORMAT:
                fix = "name another folder, or remove it: everything is read again then"
                raise ProjectError("is no folder of a source's parts", field="data.parts", value=str(folder), fix=fix)
            self.before = {p["name"]: Part(**p) for p in raw["parts"]}

    def see(self, name: str, path: Path, version: str) -> None:
        """A part that lies here; its bytes are read where it is not known already."""
        size, known = path.stat().st_size, self.now.get(name) or self.before.get(name)
        same = known is not None and (known.size, known.version) == (size, version)
        self.now[name] = known if known is not None and same else Part(name, size, version, files.sha256_file(path), _rows(path))

    def bring(self, name: str, size: int, version: str, target: Path, fetch: Callable[[Path], None]) -> None:
        """Put a part of an object store at `target`: the one that is kept, or a fetched one, which is kept from now on."""
        kept = self.folder / _FILES / hashlib.sha256(f"{name}\n{version}\n{size}".encode()).hexdigest()
        if not kept.exists() or kept.stat().st_size != size:
            with files.new_file(kept) as tmp:
                fetch(tmp)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(kept, target)
        except OSError:  # another file system
            shutil.copyfile(kept, target)
        self.see(name, kept, version)

    def told(self) -> list[str]:
        """What is otherwise than the last time, a sentence each; nothing at the first."""
        if not self.before or not self.now:
            return []
        both = self.before.keys() & self.now.keys()
        found = {
            "new": sorted(self.now.keys() - both),
            "changed": sorted(n for n in both if self.before[n].sha256 != self.now[n].sha256),
            "gone": sorted(self.before.keys() - both),
        }
        return [f"since the last reading {_counted(names, what)}" for what, names in found.items() if names]

    def close(self) -> None:
        """Write down what was read, and let go of files that are no part any more."""
        if not self.now:
            return
        parts = [dataclasses.asdict(self.now[n]) for n in sorted(self.now)]
        digest = files.digest_of([[p["name"], p["sha256"]] for p in parts])
        files.write_json(self.folder / MANIFEST, {"format": FORMAT, "digest": digest, "parts": parts})
        used = {hashlib.sha256(f"{p.name}\n{p.version}\n{p.size}".encode()).hexdigest() for p in self.now.values()}
        for path in (self.folder / _FILES).glob("*"):
            if path.name not in used and not path.name.startswith(files.PARTIAL):
                path.unlink()


def _counted(names: list[str], what: str) -> str:
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    one = len(names) == 1
    verb = ("was" if one else "were") if what == "changed" else ("is" if one else "are")
    return f"{len(names)} {'part' if one else 'parts'} of the source {verb} {what}: {shown}"


def _rows(path: Path) -> int | None:
    import pyarrow.parquet as pq

    with contextlib.suppress(Exception), path.open("rb") as f:
        if f.read(4) == b"PAR1":
            return int(pq.read_metadata(path).num_rows)
    return None


_PARTS: contextvars.ContextVar[Parts | None] = contextvars.ContextVar("sluice-parts", default=None)


def parts() -> Parts | None:
    """What the training source consists of; None where nobody keeps that."""
    return _PARTS.get()


@contextlib.contextmanager
def keeping(folder: str | None, base_dir: Path | None) -> Iterator[None]:
    """Within: the source's parts are seen; where all went well, they are written down at the end."""
    if folder is None:
        yield
        return
    found = Parts((base_dir or Path()) / folder)
    token = _PARTS.set(found)
    try:
        yield
        found.close()
    finally:
        _PARTS.reset(token)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Within: what is read is no part of the training source."""
    token: Any = _PARTS.set(None)
    try:
        yield
    finally:
        _PARTS.reset(token)
