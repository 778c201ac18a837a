"""Where a word stands in what was written: every file below a folder, packed ones unpacked."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pyarrow.parquet as pq


def holding(folder: Path, word: str) -> list[str]:
    """The files below a folder whose content or name holds a word; Parquet by its cells, gzip and zip by what is in them."""
    found = []
    for path in sorted(folder.rglob("*")):
        if word in path.name or (path.is_file() and word.encode() in _content(path)):
            found.append(str(path.relative_to(folder)))
    return found


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix == ".parquet":
        return raw + str(pq.read_table(path).to_pylist()).encode()
    if raw[:2] == b"\x1f\x8b":
        return raw + gzip.decompress(raw)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            return raw + b"".join(packed.read(n) for n in packed.namelist())
    return raw
