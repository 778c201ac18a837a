"""A folder that Hugging Face's `datasets` wrote by `save_to_disk`, as a source: ``hf://folder``, ``hf://folder/train``. Read by Arrow alone.

Such a folder holds ``state.json``, which names its Arrow stream files, and ``dataset_info.json``, which names classes; a dictionary of splits has
``dataset_dict.json`` and a folder a split. Files are mapped, not loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sluice.core.errors import DataError, first_line
from sluice.data.scheme import Asked

#: Bytes of a JSON file that are read.
_LARGEST = 16 << 20
_SAVE = "write it again: dataset.save_to_disk(folder)"


def table(asked: Asked) -> pa.Table:
    """The rows of a saved dataset: classes by their names, pictures and sounds as their bytes.

    Raises:
        DataError: no such folder, not saved by `save_to_disk`, several splits, or a file that cannot be read.
    """
    folder = asked.base_dir / Path(asked.rest).expanduser()
    if not folder.is_dir():
        fix = f"it was looked for at {folder.absolute()}; of the hub's: datasets.load_dataset(...).save_to_disk(folder)"
        raise DataError("no such folder", field="data.source", value=asked.uri, fix=fix)
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits") or []
        uri = asked.uri.rstrip("/")
        fix = "name one, for example " + ", ".join(f"{uri}/{s}" for s in splits[:3])
        raise DataError("holds several splits", field="data.source", value=asked.uri, fix=fix)
    state = _json(folder / "state.json")
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise DataError("holds rows by indices", field="data.source", value=asked.uri, fix="dataset.flatten_indices().save_to_disk(folder)")
    parts = [_read(folder, str(f.get("filename", "")), asked.uri) for f in state.get("_data_files") or [] if isinstance(f, dict)]
    if not parts:
        raise DataError("names no data files", field=f"{asked.uri}/state.json", fix=_SAVE)
    info = folder / "dataset_info.json"
    features = (_json(info).get("features") or {}) if info.is_file() else {}
    try:
        found = pa.concat_tables(parts).replace_schema_metadata()
    except pa.ArrowException as e:
        raise DataError(f"its files do not go together: {first_line(e)}", field="data.source", value=asked.uri, fix=_SAVE) from e
    if not found.num_rows:
        raise DataError("holds no rows", field="data.source", value=asked.uri, fix="name another folder")
    return pa.table({name: _plain(found.column(name), features.get(name), name) for name in found.schema.names})


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("is too large")
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("is no object")
    except (OSError, ValueError) as e:
        raise DataError(f"was not saved by Hugging Face's datasets: {first_line(e)}", field=str(path), fix=_SAVE) from e
    return found


def _read(folder: Path, name: str, uri: str) -> pa.Table:
    path = folder / name
    if not name or not path.resolve().is_relative_to(folder.resolve()):
        raise DataError("names a file outside its folder", field=f"{uri}/state.json", value=name, fix=_SAVE)
    try:
        with pa.memory_map(str(path)) as file:
            return pa.ipc.open_stream(file).read_all()
    except (OSError, pa.ArrowException) as e:
        raise DataError(f"is no readable Arrow stream: {first_line(e)}", field=f"{uri}/{name}", fix=_SAVE) from e


def _plain(column: pa.ChunkedArray, feature: Any, name: str) -> pa.ChunkedArray:
    """A class's name for its number; of a picture or sound, a structure with its bytes, these."""
    kind = feature.get("_type") if isinstance(feature, dict) else None
    if kind == "ClassLabel" and isinstance(feature.get("names"), list) and pa.types.is_integer(column.type):
        names = [str(n) for n in feature["names"]]
        at = pc.if_else(pc.less(column, 0), pa.scalar(None, column.type), column)  # -1: no label
        most = pc.max(at).as_py()
        if most is not None and most >= len(names):
            raise DataError(f"has {len(names)} names and a class {most}", field=name, fix=_SAVE)
        return pc.take(pa.array(names, pa.string()), at)
    if pa.types.is_struct(column.type) and {f.name for f in column.type} == {"bytes", "path"}:
        found = pc.struct_field(column, "bytes")
        if found.null_count == len(found):
            fix = "embed them: datasets.table.embed_table_storage, or name a folder of files"
            raise DataError("names files and does not hold them", field=name, fix=fix)
        return found
    return column
