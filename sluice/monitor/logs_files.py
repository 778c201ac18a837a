"""Which files are logs, of what kind; and what of broken ones can still be asked."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson

from sluice.core.errors import DataError
from sluice.core.s3 import Place, StoreFault
from sluice.monitor.log_parts import BROKEN, opened

#: Files of one log; bytes brought from a store, and of one line.
_FILES, _LIMIT_STORE, LIMIT_LINE, _CHUNK = 200_000, 8 << 30, 16 << 20, 1 << 20
_LINES = re.compile(r"\.(jsonl|ndjson|log|json)([.-]\d+)*(\.gz)?$")
_FOLDERS = re.compile(r"model=([^/]*)/(?:version=([^/]*)/)?[^/]*$")
#: Columns that are asked together.
_TOLD = {"time", "request_id", "row", "model", "version", "prediction", "probability", "value", "features", "label"}


@dataclasses.dataclass
class Found:
    """Files of logs by what they are: access logs; predictions and feedback, by (model, version); ``lines`` and ``told`` of these as JSON; ``faults``: what is none."""

    access: list[str] = dataclasses.field(default_factory=list)
    predictions: dict[tuple[str, str], list[str]] = dataclasses.field(default_factory=dict)
    feedback: list[str] = dataclasses.field(default_factory=list)
    lines: list[str] = dataclasses.field(default_factory=list)
    told: list[str] = dataclasses.field(default_factory=list)
    faults: list[str] = dataclasses.field(default_factory=list)

    @property
    def count(self) -> int:
        """Files that are logs."""
        return len(self.access) + len(self.feedback) + len(self.lines) + len(self.told) + sum(map(len, self.predictions.values()))


@contextlib.contextmanager
def brought(log: str) -> Iterator[Path]:
    """The files of a store, here for as long as they are asked. Raises `DataError`."""
    with tempfile.TemporaryDirectory(prefix="sluice-logs-") as folder:
        try:
            place, whole = Place(log.rstrip("/"), "log"), 0
            for name, size in place.list(""):
                whole += size
                if whole > _LIMIT_STORE:
                    raise DataError(f"has more than {_LIMIT_STORE >> 30} GiB", field="LOG", value=log, fix="name a prefix with fewer days")
                if name.endswith(".parquet") or _LINES.search(name):
                    target = Path(folder) / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    place.fetch(name, target, _LIMIT_STORE)
        except ValueError as e:
            raise DataError(str(e), field="LOG", value=log, fix="name s3://bucket/prefix") from e
        except StoreFault as e:
            raise e.told(DataError, "LOG", value=log) from e
        yield Path(folder)


def sort(root: Path, log: str, found: Found) -> None:
    """Take the logs of a file or a folder. Raises `DataError`: there is none."""
    before = found.count
    if root.is_dir():
        for i, path in enumerate(sorted(root.rglob("*"))):
            if i > _FILES:
                raise DataError(f"has more than {_FILES:,} files", field="LOG", value=log, fix="name a folder of fewer days")
            if path.is_file() and not path.name.startswith("."):
                _file(path, found)
    elif root.is_file():
        _file(root, found)
    elif root.exists():
        raise DataError("is neither a file nor a folder", field="LOG", value=log, fix="name the server's --access-log file or --log folder")
    else:
        raise DataError("is not there", field="LOG", value=log, fix="name the server's --access-log file or --log folder")
    if found.count == before:
        raise DataError(
            "holds no log of a model server" + (f"; {found.faults[-1]}" if found.faults else ""),
            field="LOG",
            value=log,
            fix="an access log is JSON lines, a prediction log Parquet or JSON lines",
        )


def _file(path: Path, found: Found) -> None:
    name = path.as_posix()
    if not name.endswith(".parquet") and not _LINES.search(name):
        return
    if not path.stat().st_size:
        return
    try:
        first = _columns(path) if name.endswith(".parquet") else _first(path)
    except (*BROKEN, ValueError) as e:
        found.faults.append(f"{name}: {getattr(e, 'strerror', None) or str(e)[:200]}")
        return
    if name.endswith(".parquet"):
        told = _FOLDERS.search(name)
        if "label" in first and "prediction" not in first:
            found.feedback.append(name)
        elif "request_id" in first:
            key = (unquote(told[1]), told[2] or "") if told else ("", "")
            found.predictions.setdefault(key, []).append(name)
    elif "status" in first and "path" in first:
        found.access.append(name)
    elif "request_id" in first and ("prediction" in first or "value" in first):
        found.lines.append(name)
    elif "request_id" in first and "label" in first:
        found.told.append(name)


def _columns(path: Path) -> set[str]:
    import pyarrow.parquet as pq

    return set(pq.read_schema(path).names)


def _first(path: Path) -> dict[str, Any]:
    """The first line of the first hundred that is a JSON object."""
    with opened(path) as file:
        for _ in range(100):
            with contextlib.suppress(orjson.JSONDecodeError):
                told = orjson.loads(file.readline(_CHUNK).strip(b"\0 \r\n\xef\xbb\xbf"))
                if type(told) is dict:
                    return told
    return {}


def whole_parts(files: Sequence[str], faults: list[str]) -> list[str]:
    """Those of Parquet files that can be read to their end and together, in columns of the kinds that most have; the others are told."""
    import pyarrow.parquet as pq

    fine: dict[str, str] = {}
    for name in files:
        try:
            with pq.ParquetFile(name, pre_buffer=False) as file:
                for _ in file.iter_batches(4096, use_threads=False):
                    pass
                fine[name] = _kinds(file.schema_arrow)
        except (OSError, ValueError) as e:
            faults.append(f"{name}: {str(e)[:200]}")
    most = max(set(fine.values()), key=[*fine.values()].count, default="")
    faults += [f"{name}: its columns are of other types than most parts have" for name, kinds in fine.items() if kinds != most]
    return [name for name, kinds in fine.items() if kinds == most]


def _kinds(schema: Any) -> str:
    import pyarrow as pa

    kinds = {"struct": pa.types.is_struct, "list": pa.types.is_list, "time": pa.types.is_timestamp, "text": pa.types.is_string}
    return repr(sorted((f.name, next((k for k, held in kinds.items() if held(f.type)), "number")) for f in schema if f.name in _TOLD))


def whole_lines(files: Sequence[str], folder: Path, faults: list[str]) -> list[str]:
    """Files of lines as they can be read: in place of one with a line that is too long, or no text, or that is cut off, a copy in a folder without it."""
    out = []
    for i, name in enumerate(files):
        copy = folder / f"{i}.jsonl"
        left = 0
        with copy.open("wb") as to:
            try:
                with opened(Path(name)) as file:
                    for line in _whole(file):
                        if line is None:
                            left += 1
                        else:
                            to.write(line)
            except BROKEN as e:
                faults.append(f"{name} cannot be read to its end: {getattr(e, 'strerror', None) or e}")
        if left:
            faults.append(f"{left:,} lines of {name} are too long (more than {LIMIT_LINE >> 20} MiB), or no UTF-8")
        out.append(copy.as_posix())
    return out


def _whole(file: Any) -> Iterator[bytes | None]:
    while line := file.readline(LIMIT_LINE):
        if not line.endswith(b"\n") and len(line) == LIMIT_LINE:
            while (more := file.readline(_CHUNK)) and not more.endswith(b"\n"):
                pass
            yield None
            continue
        try:
            line.decode()
        except UnicodeDecodeError:
            yield None
        else:
            yield line.replace(b"\0", b"").rstrip(b"\n") + b"\n"
