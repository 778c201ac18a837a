"""What the logs of a model server say: errors, slow answers and the worst inputs, by version and hour. Asked in SQL by DuckDB.

An access log is JSON lines, a prediction log Parquet parts or JSON lines; either in files, folders or an object store, whose parts are brought here
one log at a time. DuckDB reads what a question needs and keeps to a limit of memory, beyond which it uses the disk: logs may be of any size.
"""

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

from sluice.core.errors import DataError, MissingExtra
from sluice.core.s3 import Place, StoreFault

#: Files of one log; bytes brought from a store; rows of tables by hour; characters of a value that are shown.
_FILES, _LIMIT_STORE, _HOURS, _SHOWN = 200_000, 8 << 30, 24 * 40, 60
_LINES = (".jsonl", ".ndjson", ".log", ".json")
_FOLDERS = re.compile(r"model=([^/]*)/(?:version=([^/]*)/)?[^/]*$")
_GLOB = re.compile(r"([*?\[])")
_ACCESS = {
    "time": "VARCHAR", "client": "VARCHAR", "method": "VARCHAR", "path": "VARCHAR", "status": "INTEGER", "bytes_in": "BIGINT",
    "bytes_out": "BIGINT", "ms": "DOUBLE", "request_id": "VARCHAR", "model": "VARCHAR", "version": "VARCHAR",
}  # fmt: skip


@dataclasses.dataclass
class Found:
    """Files of logs by what they are: access logs; predictions and feedback, by (model, version); ``lines`` of predictions as JSON."""

    access: list[str] = dataclasses.field(default_factory=list)
    predictions: dict[tuple[str, str], list[str]] = dataclasses.field(default_factory=dict)
    feedback: list[str] = dataclasses.field(default_factory=list)
    lines: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked: of one model alone; from how many milliseconds on an answer is slow; how many of the worst are shown; megabytes it may take."""

    model: str | None = None
    slow_ms: float = 1000.0
    worst: int = 10
    memory_mb: int = 512


def analyze(logs: Sequence[str], asked: Asked) -> dict[str, Any]:
    """Analyse logs.

    Args:
        logs: files, folders, ``s3://bucket/prefix``.

    Returns:
        ``access`` and ``predictions``, null where no such log is there, and ``faults``, what could not be read; plain JSON.

    Raises:
        DataError: a log is not there, or holds nothing that is one. MissingExtra: duckdb is not installed.
    """
    with contextlib.ExitStack() as stack:
        found = Found()
        for log in logs:
            root = stack.enter_context(_brought(log)) if log.startswith("s3://") else Path(log)
            _sort(root, log, found)
        faults: list[str] = []
        base = _connected(asked, stack)
        out: dict[str, Any] = {"access": _access(base, found.access, asked, faults) if found.access else None}
        wanted = {k: v for k, v in found.predictions.items() if asked.model in (None, k[0])}
        out["predictions"] = _predictions(base, wanted, found, asked, faults) if wanted or found.lines else None
        return {**out, "slow_ms": asked.slow_ms, "faults": faults}


def _connected(asked: Asked, stack: contextlib.ExitStack) -> Any:
    try:
        import duckdb
    except ImportError as e:
        raise MissingExtra("logs are asked by DuckDB", field="logs", fix="pip install 'sluice-ml[monitor]'") from e
    spill = stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-logs-"))
    base = duckdb.connect(config={"threads": 2, "memory_limit": f"{asked.memory_mb}MB", "temp_directory": spill})
    stack.callback(base.close)
    # Nothing of a log is run: no extension is fetched for it.
    base.execute("SET autoinstall_known_extensions=false")
    base.execute("SET TimeZone='UTC'")
    return base


# -- where they are ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _brought(log: str) -> Iterator[Path]:
    """The files of a store, here for as long as they are asked."""
    with tempfile.TemporaryDirectory(prefix="sluice-logs-") as folder:
        try:
            place, whole = Place(log.rstrip("/"), "log"), 0
            for name, size in place.list(""):
                whole += size
                if whole > _LIMIT_STORE:
                    raise DataError(f"has more than {_LIMIT_STORE >> 30} GiB", field="LOG", value=log, fix="name a prefix with fewer days")
                if name.endswith((".parquet", *_LINES)):
                    target = Path(folder) / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    place.fetch(name, target, _LIMIT_STORE)
        except ValueError as e:
            raise DataError(str(e), field="LOG", value=log, fix="name s3://bucket/prefix") from e
        except StoreFault as e:
            raise e.told(DataError, "LOG", value=log) from e
        yield Path(folder)


def _sort(root: Path, log: str, found: Found) -> None:
    before = _count(found)
    if root.is_dir():
        for i, path in enumerate(sorted(root.rglob("*"))):
            if i > _FILES:
                raise DataError(f"has more than {_FILES:,} files", field="LOG", value=log, fix="name a folder of fewer days")
            if path.is_file() and not path.name.startswith("."):
                _file(path, found)
    elif root.is_file():
        _file(root, found)
    else:
        raise DataError("is not there", field="LOG", value=log, fix="name the server's --access-log file or --log folder")
    if _count(found) == before:
        raise DataError(
            "holds no log of a model server",
            field="LOG",
            value=log,
            fix="an access log is JSON lines, a prediction log Parquet or JSON lines",
        )


def _count(found: Found) -> int:
    return len(found.access) + len(found.feedback) + len(found.lines) + sum(map(len, found.predictions.values()))


def _file(path: Path, found: Found) -> None:
    name = path.as_posix()
    if name.endswith(".parquet"):
        told = _FOLDERS.search(name)
        columns = _columns(path)
        if "label" in columns and "prediction" not in columns:
            found.feedback.append(name)
        elif "request_id" in columns:
            key = (unquote(told[1]), told[2] or "") if told else ("", "")
            found.predictions.setdefault(key, []).append(name)
    elif name.endswith(_LINES):
        first = _first(path)
        if "status" in first and "path" in first:
            found.access.append(name)
        elif "request_id" in first and ("prediction" in first or "value" in first):
            found.lines.append(name)


def _columns(path: Path) -> set[str]:
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(path).names)
    except (OSError, ValueError):
        return set()


def _first(path: Path) -> dict[str, Any]:
    """The first line of the first hundred that is a JSON object."""
    with path.open("rb") as file:
        for _ in range(100):
            with contextlib.suppress(orjson.JSONDecodeError):
                told = orjson.loads(file.readline(1 << 20))
                if type(told) is dict:
                    return told
    return {}


# -- access logs -------------------------------------------------------------------------------------

_RATES = """count(*) AS requests,
    avg((status >= 500)::INT) AS errors,
    avg((status >= 400 AND status < 500 AND status <> 499)::INT) AS refused,
    avg((status = 499)::INT) AS gone,
    quantile_cont(ms, 0.5) FILTER (status < 400) AS p50, quantile_cont(ms, 0.99) FILTER (status < 400) AS p99,
    avg((ms > $slow)::INT) FILTER (status < 400) AS slow"""


def _access(base: Any, files: list[str], asked: Asked, faults: list[str]) -> dict[str, Any]:
    columns = "{" + ", ".join(f"{k}: '{v}'" for k, v in _ACCESS.items()) + "}"
    base.execute(
        f"CREATE VIEW lines AS SELECT *, try_cast(time AS TIMESTAMPTZ) AS moment FROM read_json($files, format='newline_delimited', "
        f"ignore_errors=true, maximum_object_size=16777216, columns={columns})".replace("$files", _listed(files))
    )
    unread = base.execute("SELECT count(*) FROM lines WHERE status IS NULL").fetchone()[0]
    if unread:
        faults.append(f"lines of access logs that could not be read: {unread:,}")
    whose = "AND model = $model" if asked.model is not None else ""
    given = {"slow": asked.slow_ms} | ({"model": asked.model} if asked.model is not None else {})
    told = f"FROM lines WHERE status IS NOT NULL AND model <> '' {whose}"

    def rows(sql: str, **more: Any) -> list[dict[str, Any]]:
        return _rows(base, sql, {k: v for k, v in {**given, **more}.items() if f"${k}" in sql})

    whole = rows(f"SELECT {_RATES}, min(moment) AS since, max(moment) AS until {told}")[0]
    shown = "strftime(moment, '%Y-%m-%d %H:%M:%S') AS time, model, version, path, status, round(ms, 1) AS ms, bytes_in, request_id"
    return {
        **whole,
        "by_version": rows(f"SELECT model, version, {_RATES} {told} GROUP BY ALL ORDER BY requests DESC LIMIT 100"),
        "by_hour": rows(
            f"SELECT strftime(date_trunc('hour', moment), '%Y-%m-%d %H:00') AS hour, {_RATES} {told} AND moment IS NOT NULL GROUP BY 1 ORDER BY 1 DESC LIMIT {_HOURS}"
        )[::-1],
        "by_status": rows(f"SELECT status, count(*) AS requests {told} GROUP BY 1 ORDER BY 1"),
        "slowest": rows(f"SELECT {shown} {told} ORDER BY lines.ms DESC NULLS LAST LIMIT $worst", worst=asked.worst),
        "failed": rows(f"SELECT {shown} {told} AND status >= 500 ORDER BY moment DESC LIMIT $worst", worst=asked.worst),
        "clients": rows(
            f"SELECT client, count(*) AS requests, avg((status >= 400)::INT) AS failed {told} GROUP BY 1 ORDER BY failed * count(*) DESC, requests DESC LIMIT $worst",
            worst=asked.worst,
        ),
        "elsewhere": base.execute("SELECT count(*) FROM lines WHERE status IS NOT NULL AND coalesce(model, '') = ''").fetchone()[0],
    }


# -- prediction logs ---------------------------------------------------------------------------------


def _predictions(base: Any, wanted: dict[tuple[str, str], list[str]], found: Found, asked: Asked, faults: list[str]) -> dict[str, Any]:
    if found.feedback:
        base.execute(
            f'CREATE TABLE told AS SELECT model, request_id, "row", arg_max(label, time) AS label FROM read_parquet({_listed(found.feedback)}, '
            "union_by_name=true, hive_partitioning=false) WHERE label IS NOT NULL GROUP BY ALL"
        )
    else:
        base.execute('CREATE TABLE told (model VARCHAR, request_id VARCHAR, "row" INTEGER, label VARCHAR)')
    out: dict[str, Any] = {"by_version": [], "by_hour": [], "worst": []}
    sources = [(k, f"read_parquet({_listed(v)}, union_by_name=true, hive_partitioning=false)") for k, v in sorted(wanted.items())]
    if found.lines:
        sources.append((("", ""), f"read_json({_listed(found.lines)}, format='newline_delimited', ignore_errors=true, union_by_name=true)"))
    for (model, version), source in sources:
        try:
            _version(base, source, model, version, asked, out)
        except _duckdb_error() as e:
            faults.append(f"predictions of {model or 'JSON lines'} {version}: {str(e).splitlines()[0][:200]}")
    out["by_hour"] = sorted(out["by_hour"], key=lambda r: (r["hour"], r["model"], r["version"]))[-_HOURS:]
    out["worst"] = sorted(out["worst"], key=lambda r: -r["badness"])[: asked.worst]
    out["rows"] = sum(r["rows"] for r in out["by_version"])
    return out


def _duckdb_error() -> type[Exception]:
    import duckdb

    found: type[Exception] = duckdb.Error
    return found


def _version(base: Any, source: str, model: str, version: str, asked: Asked, out: dict[str, Any]) -> None:
    have = {r[0]: r[1] for r in base.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}

    def column(name: str, kind: str) -> str:
        return f'try_cast("{name}" AS {kind}) AS "{name}"' if name in have else f'NULL::{kind} AS "{name}"'

    features = "features" if "features" in have else "NULL AS features"
    base.execute(
        f'CREATE OR REPLACE VIEW answers AS SELECT {column("time", "TIMESTAMPTZ")}, {column("request_id", "VARCHAR")}, coalesce("row", 0) AS "row", '
        f"coalesce(model, '{_quoted(model)}') AS model, coalesce(version, '{_quoted(version)}') AS version, prediction, probability, value, features "
        f"FROM (SELECT {column('time', 'TIMESTAMPTZ')}, {column('request_id', 'VARCHAR')}, {column('row', 'INTEGER')}, {column('model', 'VARCHAR')}, "
        f"{column('version', 'VARCHAR')}, {column('prediction', 'VARCHAR')}, {column('probability', 'DOUBLE')}, {column('value', 'DOUBLE')}, {features} FROM {source}) WHERE request_id IS NOT NULL"
    )
    whose, given = ("WHERE a.model = $model", {"model": asked.model}) if asked.model is not None else ("", {})
    join = f'FROM answers a LEFT JOIN told t ON t.request_id = a.request_id AND t."row" = a."row" AND t.model = a.model {whose}'
    # Of labels whether it is wrong; of values how far off.
    off = "CASE WHEN t.label IS NULL THEN NULL WHEN a.prediction IS NOT NULL THEN (t.label <> a.prediction)::INT ELSE abs(a.value - try_cast(t.label AS DOUBLE)) END"
    told = f"count(*) AS rows, avg(a.probability) AS confidence, count(t.label) AS labelled, avg({off}) AS off"
    out["by_version"] += _rows(base, f"SELECT a.model AS model, a.version AS version, {told} {join} GROUP BY 1, 2", given)
    hour = "strftime(date_trunc('hour', a.time), '%Y-%m-%d %H:00') AS hour"
    out["by_hour"] += [
        r
        for r in _rows(
            base,
            f"SELECT {hour}, a.model AS model, a.version AS version, {told} {join} GROUP BY 1, 2, 3 ORDER BY 1 DESC LIMIT {_HOURS}",
            given,
        )
        if r["hour"]
    ]
    # The worst: wrong where it was surest, or farthest off; then the least sure.
    bad = f"coalesce(CASE WHEN a.prediction IS NOT NULL THEN ({off}) * a.probability + ({off}) ELSE {off} END, 1 - a.probability, 0)"
    order = f'SELECT strftime(a.time, \'%Y-%m-%d %H:%M:%S\') AS time, a.model AS model, a.version AS version, a.request_id AS request_id, a."row" AS "row", coalesce(a.prediction, a.value::VARCHAR) AS answer, a.probability AS probability, t.label AS label, {bad} AS badness, a.features AS features {join} ORDER BY badness DESC, a.request_id LIMIT {asked.worst}'
    for row in _rows(base, order, given):
        out["worst"].append({**row, "badness": float(row["badness"] or 0.0), "features": _short(row["features"])})


def _short(features: Any) -> dict[str, Any]:
    """Values as they can be shown: no bytes, no long texts."""
    if not isinstance(features, dict):
        return {}
    out: dict[str, Any] = {}
    for name, value in list(features.items())[:50]:
        if value is None or isinstance(value, bool | int | float):
            out[name] = value
        elif isinstance(value, bytes | bytearray):
            out[name] = f"{len(value):,} bytes"
        else:
            text = str(value)
            out[name] = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return out


def _rows(base: Any, sql: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    answer = base.execute(sql, given) if given else base.execute(sql)
    names = [d[0] for d in answer.description]
    return [{n: _plain(v) for n, v in zip(names, row, strict=True)} for row in answer.fetchall()]


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat(timespec="seconds") if hasattr(value, "hour") else value.isoformat()
    if isinstance(value, float):
        return float(f"{value:.6g}") if value == value and abs(value) != float("inf") else None
    return value


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _listed(files: Sequence[str]) -> str:
    """A list of files in SQL; names are taken as they are."""
    plain = [_GLOB.sub(r"[\1]", f) for f in files]
    return "[" + ", ".join(f"'{_quoted(f)}'" for f in plain) + "]"
