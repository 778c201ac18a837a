"""A backup's file: a tar whose first member lists every other one with size and sha256."""

from __future__ import annotations

import contextlib
import io
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from sluice.core import files
from sluice.core.errors import HomeError

FORMAT = "sluice.backup/v1"
_LIST = "backup.json"
#: Bytes of the list, files in it, and bytes of all of them together.
_LIMIT_LIST, _LIMIT_FILES, _LIMIT_BYTES = 256 << 20, 2_000_000, 1 << 42
_FIX = "use another backup: this one was damaged or changed"


def write(out: Path, told: Mapping[str, Any], found: Mapping[str, Path]) -> dict[str, Any]:
    """Write a backup; it appears whole, and readable by nobody but its owner.

    Args:
        told: what the list says beside the files.
        found: name in the backup -> the file, which no longer changes.

    Returns:
        The list.
    """
    listed: dict[str, dict[str, Any]] = {
        name: {"size": path.stat().st_size, "sha256": files.sha256_file(path)} for name, path in sorted(found.items())
    }
    head = {"format": FORMAT, **told, "files": listed}
    raw = orjson.dumps(head, option=orjson.OPT_SORT_KEYS)
    with files.new_file(out) as tmp:
        tmp.touch(mode=0o600)
        with tarfile.open(tmp, "w:gz", compresslevel=1) as tar:
            info = tarfile.TarInfo(_LIST)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
            for name, path in sorted(found.items()):
                member = tarfile.TarInfo(name)
                member.size, member.mode = listed[name]["size"], path.stat().st_mode & 0o700 | 0o400
                with path.open("rb") as f:
                    tar.addfile(member, f)
    return head


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[dict[str, Any], tarfile.TarFile]]:
    """A backup's list, and the archive behind it. Raises `HomeError`."""
    try:
        with tarfile.open(path, "r:gz") as tar:
            first = tar.next()
            if first is None or first.name != _LIST or not first.isreg() or first.size > _LIMIT_LIST:
                raise HomeError("is no backup of Sluice", field=str(path), fix="name a file that `sluice backup` wrote")
            content = tar.extractfile(first)
            assert content is not None
            yield _checked(content.read(_LIMIT_LIST), path), tar
    except FileNotFoundError as e:
        raise HomeError("is not there", field=str(path), fix="name a file that `sluice backup` wrote") from e
    except (tarfile.TarError, OSError, EOFError) as e:
        if isinstance(e, OSError) and e.errno is not None:
            raise
        raise HomeError(f"is no backup of Sluice, or not all of it: {e}", field=str(path), fix=_FIX) from e


def _checked(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        head = orjson.loads(raw)
        listed = head["files"]
        good = (
            head["format"] == FORMAT
            and len(listed) <= _LIMIT_FILES
            and sum(int(e["size"]) for e in listed.values()) <= _LIMIT_BYTES
            and all(isinstance(e["sha256"], str) for e in listed.values())
        )
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise HomeError(f"its list cannot be read: {e}", field=str(path), fix=_FIX) from e
    if not good:
        raise HomeError(
            f"is not of the form {FORMAT}", field=str(path), value=head.get("format"), fix="restore it with the version that wrote it"
        )
    for name in listed:
        if not _inside(name):
            raise HomeError("names a file outside the backup", field=str(path), value=name, fix=_FIX)
    return dict(head)


def _inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return (
        bool(parts)
        and not PurePosixPath(name).is_absolute()
        and ".." not in parts
        and "\0" not in name
        and PurePosixPath(name).as_posix() == name
    )


def unpack(head: Mapping[str, Any], tar: tarfile.TarFile, into: Path, where: str) -> None:
    """Write every listed file below a folder, each of the size and sha256 the list gives.

    Raises:
        HomeError: a file is missing, another one is there, or one is not what the list says.
    """
    left = dict(head["files"])
    for i, member in enumerate(tar):
        if i == 0:  # the list itself
            continue
        entry = left.pop(member.name, None)
        if entry is None or not member.isreg() or member.size != entry["size"]:
            raise HomeError("holds what its list does not", field=where, value=member.name, fix=_FIX)
        target = into / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(member)
        assert source is not None
        with target.open("xb") as f:
            shutil.copyfileobj(source, f, 1 << 20)
        target.chmod(member.mode & 0o700 | 0o600)
        if files.sha256_file(target) != entry["sha256"]:
            raise HomeError("is not what the backup's list says", field=f"{where}: {member.name}", fix=_FIX)
    if left:
        raise HomeError("is missing in the backup", field=f"{where}: {min(left)}", value=f"{len(left)} files", fix=_FIX)
