"""A dataset's ``manifest.json``: what is in it, and the digest of that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from sluice.core import files
from sluice.core.errors import DataError

FORMAT = "sluice.dataset/v1"
MANIFEST = "manifest.json"
#: Keys of `source` that say where the data lay or when it was read: no part of what it is.
NOT_CONTENT = frozenset({"uri", "path", "paths", "files", "time"})
#: What helps where a dataset is not whole.
COPY_AGAIN = "make it again with `sluice run`, or copy it again whole"


def digest_of(manifest: Mapping[str, Any]) -> str:
    """The data's version, hex: of all that is content."""
    content = {k: v for k, v in manifest.items() if k not in ("digest", "profile")}
    return files.digest_of({**content, "source": _without_places(content["source"])})


def _without_places(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_places(v) for k, v in value.items() if k not in NOT_CONTENT}
    return [_without_places(v) for v in value] if isinstance(value, list | tuple) else value


def read_manifest(where: Path) -> dict[str, Any]:
    """What stands in a manifest. Raises `DataError` where it is none."""
    try:
        raw = orjson.loads(where.read_bytes())
    except OSError as e:
        raise DataError(f"not a dataset: {e.strerror}", field=str(where), fix="name a directory that `preprocess` wrote") from e
    except orjson.JSONDecodeError as e:
        raise DataError(f"is not JSON: {e}", field=str(where), fix=COPY_AGAIN) from e
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise DataError(f"format is not {FORMAT}", field=str(where), value=raw.get("format") if isinstance(raw, dict) else raw)
    return raw
