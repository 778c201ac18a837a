"""WebDataset's own layout: files of one sample share a key (``000042.jpg`` beside ``000042.cls``), and shards are archives of such files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from sluice.core.errors import DataError
from sluice.core.spelling import value_text
from sluice.data.scheme import Found
from sluice.fields.files import Files

#: Endings of files that say a sample's label, the first that is there.
_CLASS, _JSON, _TEXT = ".cls", ".json", ".txt"
SAID = (_CLASS, _JSON, _TEXT)


def samples_in(folder: Found, kind: Files) -> bool:
    """Whether a folder holds samples: files of a kind in no sub-folder, with others of the same key beside them."""
    keys: dict[str, set[str]] = {}
    for path in folder.path.iterdir():
        key, ending = _parted(path)
        keys.setdefault(key, set()).add(ending)
    return any(endings & kind.read and endings & set(SAID) for endings in keys.values())


def list_samples(folder: Found, label: str, kind: Files) -> tuple[list[Path], dict[str, pa.Array]]:
    """The samples' files in the order of their keys, and what is said of each: strings, [rows], null where nothing is said.

    A ``.cls`` file holds the label; else a ``.json`` file an object with it, and with other columns; else a ``.txt`` file the label.

    Args:
        label: the label's column.

    Raises:
        DataError: two files of a kind have one key, or what is said of one cannot be read.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.path.iterdir()):
        key, ending = _parted(path)
        if ending in kind.read and (twin := next((e for e in found.get(key, {}) if e in kind.read), None)) is not None:
            first = found[key][twin]
            fix = f"keep one {kind.word} a key, or pack the others apart"
            raise DataError(f"has the key of {first.name}", field=_where(folder, path), value=key, fix=fix)
        if path.is_file() and ending in kind.read | set(SAID):
            found.setdefault(key, {})[ending] = path
    rows, paths = list[dict[str, str | None]](), list[Path]()
    for beside in found.values():
        mine = [p for e, p in beside.items() if e in kind.read]
        if mine:
            paths += mine
            rows.append(_said(folder, beside, label))
    if not any(label in row for row in rows):
        others = sorted({name for row in rows for name in row})
        fix = f"set data.columns.label to one of {', '.join(others[:10])}" if others else f"put a {_CLASS} file beside each"
        raise DataError(f"says no {label!r} of any sample", field=folder.where, value=others[:10], fix=fix)
    names = dict.fromkeys([label, *(name for row in rows for name in row)])
    return paths, {name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}


def together(tables: Sequence[dict[str, pa.Array]]) -> dict[str, pa.ChunkedArray]:
    """What several shards say, one behind the other."""
    joined = pa.concat_tables([pa.table(t) for t in tables], promote_options="default")
    return dict(zip(joined.column_names, joined.columns, strict=True))


def _parted(path: Path) -> tuple[str, str]:
    """A file's key, up to the first dot of its name, and its ending in small letters."""
    return path.name.partition(".")[0], path.suffix.lower()


def _said(folder: Found, beside: dict[str, Path], label: str) -> dict[str, str | None]:
    out: dict[str, str | None] = {}
    if _JSON in beside:
        out = _object(folder, beside[_JSON])
    for ending in (_CLASS, _TEXT):
        if ending in beside and (ending == _CLASS or label not in out):
            out[label] = _read(folder, beside[ending]).strip() or None
    return out


def _object(folder: Found, path: Path) -> dict[str, str | None]:
    try:
        raw: Any = orjson.loads(_read(folder, path))
    except orjson.JSONDecodeError as e:
        raise DataError(f"is not JSON: {e}", field=_where(folder, path), fix="write one JSON object") from e
    if not isinstance(raw, dict):
        raise DataError("is no JSON object", field=_where(folder, path), value=raw, fix='write an object: {"label": "cat"}')
    return {k: v if isinstance(v, str) else value_text(v) for k, v in raw.items() if v is None or isinstance(v, (str, int, float))}


def _read(folder: Found, path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as e:
        raise DataError(f"is not UTF-8 text: {e.reason}", field=_where(folder, path), fix="save it as UTF-8") from e


def _where(folder: Found, path: Path) -> str:
    return f"{folder.where.rstrip('/')}/{path.name}"
