"""What a look leaves for the next one: a file, or an object of a store, written whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from sluice.core import files
from sluice.core.errors import DataError
from sluice.core.s3 import Place, StoreFault

_LIMIT = 64 << 20


def read(kept: str, form: str) -> dict[str, Any] | None:
    """What is kept there. None: nothing is.

    Args:
        kept: a file, or ``s3://bucket/key``. form: its ``format``.

    Raises:
        DataError: it cannot be read, or is another thing.
    """
    try:
        data = _bytes(kept)
        found = None if data is None else orjson.loads(data)
        if data is not None and (type(found) is not dict or found.get("format") != form):
            raise ValueError(f"is not {form}")
    except (OSError, ValueError) as e:
        raise DataError(f"cannot be read: {e}", field="kept", value=kept, fix="remove it, and begin again") from e
    return found


def write(kept: str, what: dict[str, Any]) -> None:
    """Keep it there. Raises `DataError` where the store refuses it."""
    data = orjson.dumps(what)
    if not kept.startswith("s3://"):
        files.write_bytes(Path(kept), data)
        return
    place, name = _placed(kept)
    try:
        place.put(name, data)
    except StoreFault as e:
        raise e.told(DataError, "kept", value=kept) from e


def beside(kept: str) -> str:
    """Where what labels say is kept, beside what predictions do."""
    stem = kept.removesuffix(".json")
    return f"{stem}-quality.json"


def _bytes(kept: str) -> bytes | None:
    if not kept.startswith("s3://"):
        return Path(kept).read_bytes() if Path(kept).exists() else None
    place, name = _placed(kept)
    try:
        return place.read(name, _LIMIT)
    except StoreFault as e:
        if e.kind == "missing":
            return None
        raise e.told(DataError, "kept", value=kept) from e


def _placed(uri: str) -> tuple[Place, str]:
    folder, _, name = uri.rpartition("/")
    try:
        return Place(folder, "kept"), name
    except (ValueError, StoreFault) as e:
        raise DataError(str(e), field="kept", value=uri, fix="name s3://bucket/folder/file.json") from e
