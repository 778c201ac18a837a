"""Tensors in files, whole or in slices, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from sluice.core import files


def file_of(kind: str, rank: int = 0, shards: int | None = None) -> str:
    """Name of the file with tensors of a kind (``model``, ``optimizer``): the whole, or process `rank`'s of `shards` slices."""
    return f"{kind}.safetensors" if shards is None else f"{kind}-{rank:05d}-of-{shards:05d}.safetensors"


class Stored(Mapping[str, torch.Tensor]):
    """A checkpoint's tensors of one kind, by name. The files are mapped: a tensor takes memory while it is used, the rest none.

    Of W files each holds a slice along axis 0: file r the rows from ``r * ceil(rows / W)`` on, so the
    last may have fewer or none. What is in the first file alone is whole there.

    Args:
        path: the checkpoint.
        manifest: what ``manifest.json`` says; no file is read before it has the sha256 given there.
        kind: ``model`` or ``optimizer``.

    Attributes:
        path: the checkpoint.

    Raises:
        KeyError: the manifest names no such file; when read: there is no such tensor.
        OSError, ValueError: when read: a file is not there, or not what it was.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], kind: str):
        shards = manifest.get("shards")
        names = [file_of(kind, rank, shards) for rank in range(shards or 1)]
        self.path = path
        self._files = [(path / name, manifest["files"][name]["sha256"]) for name in names]
        self._verified: set[int] = set()
        self._open: dict[int, tuple[Any, frozenset[str]]] = {}

    def verify(self) -> None:
        """Read every file's sha256 now. Raises `OSError` or `ValueError`."""
        for number in range(len(self._files)):
            self._verify(number)

    def rows(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Rows ``start .. stop`` of a tensor along axis 0; no file is touched but the first and those they lie in."""
        head = self._tensor(0, name)
        found = [head[start:stop]]
        if stop > max(start, len(head)) and len(head):
            size = len(head)
            numbers = range(start // size, min(-(-stop // size), len(self._files)))
            found = [self._tensor(i, name)[max(0, start - i * size) : stop - i * size] for i in numbers]
        if sum(map(len, found)) != stop - start:
            raise ValueError(f"{name} does not have the rows {start} to {stop}")
        return found[0] if len(found) == 1 else torch.cat(found)

    def __getitem__(self, name: str) -> torch.Tensor:
        head = self._tensor(0, name)
        if not head.ndim or len(self._files) == 1 or name not in self._opened(1)[1]:
            return head
        return torch.cat([self._tensor(i, name) for i in range(len(self._files))])

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._opened(0)[1]))

    def __len__(self) -> int:
        return len(self._opened(0)[1])

    def _tensor(self, number: int, name: str) -> torch.Tensor:
        file, names = self._opened(number)
        if name not in names:
            raise KeyError(name)
        found: torch.Tensor = file.get_tensor(name)
        return found

    def _opened(self, number: int) -> tuple[Any, frozenset[str]]:
        if number not in self._open:
            self._verify(number)
            file: Any = safe_open(self._files[number][0], framework="pt")
            self._open[number] = (file, frozenset(file.keys()))
        return self._open[number]

    def _verify(self, number: int) -> None:
        path, sha256 = self._files[number]
        if number not in self._verified and files.sha256_file(path) != sha256:
            raise ValueError(f"{path.name} does not have the sha256 its manifest gives")
        self._verified.add(number)
