"""What is kept beside a package: the record of where it came from, its bill of materials, and a signature over all three.

It lies at ``proof/<digest>/`` of the store that has the package at ``sha256/<digest>/``, so it is found by the package's digest and is no
part of it. ``proof.json`` lists the other files with size and sha256 and is written last: what it does not list whole is not there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from sluice.core import files
from sluice.core.errors import PackageError

INDEX, STATEMENT, BOM, SIGNATURE = "proof.json", "provenance.json", "bom.cdx.json", "model.sig"
FOLDER, FORMAT = "proof", "sluice.proof/v1"
#: Bytes of the index, and of any other file.
LIMIT_INDEX, LIMIT_FILE = 1 << 16, 16 << 20
_NAMES = (STATEMENT, BOM, SIGNATURE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIX = "copy the proof again from the store it was written to, or register the package again"


def index_of(digest: str, found: Mapping[str, bytes]) -> bytes:
    """``proof.json`` of these files of a package's proof."""
    listed = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in found.items()}
    return files.pretty_json({"format": FORMAT, "package": digest, "files": listed})


def listed(raw: bytes, digest: str, where: str) -> dict[str, dict[str, Any]]:
    """The files that an index lists: name -> ``sha256``, ``size``.

    Raises:
        PackageError: it is no index, not in the form it is written in, or of another package.
    """
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as e:
        raise PackageError(f"is not JSON: {e}", field=where, fix=_FIX) from e
    if not isinstance(found, dict) or set(found) != {"format", "package", "files"} or found["format"] != FORMAT:
        raise PackageError(f"is no {FORMAT}", field=where, fix=_FIX)
    if files.pretty_json(found) != raw:
        raise PackageError("is not as it was written", field=where, fix=_FIX)
    if found["package"] != digest:
        raise PackageError("is of another package", field=where, value=found["package"], fix=_FIX)
    entries = found["files"]
    if not isinstance(entries, dict) or not entries:
        raise PackageError("lists no files", field=where, fix=_FIX)
    for name, entry in entries.items():
        fine = name in _NAMES and isinstance(entry, dict) and set(entry) == {"sha256", "size"}
        if not fine or type(entry["size"]) is not int or not 0 <= entry["size"] <= LIMIT_FILE or not _is_sha256(entry["sha256"]):
            raise PackageError("lists what is no file of a proof", field=f"{where}: {name}", value=entry, fix=_FIX)
    return entries


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def check_file(data: bytes, entry: Mapping[str, Any], where: str) -> None:
    """Raises `PackageError` where these bytes are not what the index says of them."""
    if len(data) != entry["size"]:
        raise PackageError(f"has {len(data)} bytes, {INDEX} says {entry['size']}", field=where, fix=_FIX)
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise PackageError(f"does not have the sha256 {INDEX} gives", field=where, fix=_FIX)


def read(root: Path, digest: str) -> dict[str, bytes] | None:
    """The files of a proof, each as its index says; None where there is none.

    Raises:
        PackageError: damaged, too large, or of another package.
    """
    raw = read_bounded(root / INDEX, LIMIT_INDEX)
    if raw is None:
        if root.is_dir() and any(root.iterdir()):
            raise PackageError("is missing", field=str(root / INDEX), fix=_FIX)
        return None
    found = {}
    for name, entry in listed(raw, digest, str(root / INDEX)).items():
        data = read_bounded(root / name, LIMIT_FILE)
        if data is None:
            raise PackageError(f"listed in {INDEX} but not there", field=str(root / name), fix=_FIX)
        check_file(data, entry, str(root / name))
        found[name] = data
    extra = sorted(p.name for p in root.iterdir() if p.name not in (INDEX, *found) and not p.name.startswith(files.PARTIAL))
    if extra:
        raise PackageError(f"holds files {INDEX} does not list", field=str(root), value=extra[:5], fix=_FIX)
    return found


def read_bounded(path: Path, most: int) -> bytes | None:
    """A file's bytes; None where there is none. Raises `PackageError` for one that is too large or cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        return None
    except OSError as e:
        raise PackageError(f"cannot be read: {e.strerror or e}", field=str(path), fix=_FIX) from e
    if len(data) > most:
        raise PackageError(f"is larger than {most} bytes", field=str(path), fix=_FIX)
    return data


def write(root: Path, digest: str, found: Mapping[str, bytes]) -> None:
    """Put a proof at `root`, whole or not at all; one that is there is replaced in one step."""
    with files.new_dir(root) as tmp:
        for name, data in found.items():
            (tmp / name).write_bytes(data)
        (tmp / INDEX).write_bytes(index_of(digest, found))
