"""What the logs of a model server say: errors, slow answers and the worst inputs, by version and hour. Asked in SQL by DuckDB.

An access log is JSON lines, a prediction log Parquet parts or JSON lines; either in files, folders or an object store, whose parts are brought here
one log at a time. DuckDB reads what a question needs and keeps to a limit of memory, beyond which it uses the disk: logs may be of any size.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from sluice.core.errors import MissingExtra
from sluice.monitor.logs_files import Found, brought, sort, whole_lines, whole_parts

#: Rows of tables by hour; characters of a value that are shown.
_HOURS, _SHOWN = 24 * 40, 60
_GLOB = re.compile(r"([*?\[])")
_ACCESS = {
    "time": "VARCHAR", "client": "VARCHAR", "method": "VARCHAR", "path": "VARCHAR", "status": "INTEGER", "bytes_in": "BIGINT",
    "bytes_out": "BIGINT", "ms": "DOUBLE", "request_id": "VARCHAR", "model": "VARCHAR", "version": "VARCHAR",
}  # fmt: skip
#: Of predictions and feedback as JSON: what is no text or number there is asked for as one.
_ROWS = {
    **dict.fromkeys(("time", "request_id", "model", "version", "prediction", "label"), "VARCHAR"),
    "row": "INTEGER", "probability": "DOUBLE", "value": "DOUBLE", "features": "JSON",
}  # fmt: skip


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
            root = stack.enter_context(brought(log)) if log.startswith("s3://") else Path(log)
            sort(root, log, found)
        faults = found.faults
        base = _connected(asked, stack)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-logs-")))
        out: dict[str, Any] = {"access": None}

        def lines(files: list[str]) -> list[str]:
            return whole_lines(files, Path(tempfile.mkdtemp(dir=folder)), faults)

        if found.access:
            out["access"] = _asked(lambda files: _access(base, files, asked, faults), found.access, lines, faults)
        wanted = {k: v for k, v in found.predictions.items() if asked.model in (None, k[0])}
        out["predictions"] = _predictions(base, wanted, found, asked, lines, faults) if wanted or found.lines else None
        return {**out, "slow_ms": asked.slow_ms, "faults": faults}


def _asked(ask: Callable[[list[str]], Any], files: list[str], mend: Callable[[list[str]], list[str]], faults: list[str]) -> Any:
    """What files say; where DuckDB cannot read one of them, what they say without what is broken. None: nothing."""
    try:
        return ask(files)
    except _duckdb_error() as e:
        left = mend(files)
        try:
            return ask(left) if left else None
        except _duckdb_error():
            faults.append(f"{files[0]}{f' and {len(files) - 1} more' if len(files) > 1 else ''}: {str(e).splitlines()[0][:200]}")
            return None


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
        f"CREATE OR REPLACE VIEW lines AS SELECT *, try_cast(time AS TIMESTAMPTZ) AS moment FROM read_json($files, format='newline_delimited', "
        f"ignore_errors=true, maximum_object_size=16777216, columns={columns})".replace("$files", _listed(files))
    )
    unread = base.execute("SELECT count(*) FROM lines WHERE status IS NULL").fetchone()[0]
    whose = "AND model = $model" if asked.model is not None else ""
    given = {"slow": asked.slow_ms} | ({"model": asked.model} if asked.model is not None else {})
    told = f"FROM lines WHERE status IS NOT NULL AND model <> '' {whose}"

    def rows(sql: str, **more: Any) -> list[dict[str, Any]]:
        return _rows(base, sql, {k: v for k, v in {**given, **more}.items() if f"${k}" in sql})

    whole = rows(f"SELECT {_RATES}, min(moment) AS since, max(moment) AS until {told}")[0]
    shown = "strftime(moment, '%Y-%m-%d %H:%M:%S') AS time, model, version, path, status, round(ms, 1) AS ms, bytes_in, request_id"
    told_all = {
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
    if unread:
        faults.append(f"lines of access logs that could not be read: {unread:,}")
    return told_all


# -- prediction logs ---------------------------------------------------------------------------------


def _predictions(
    base: Any,
    wanted: dict[tuple[str, str], list[str]],
    found: Found,
    asked: Asked,
    lines: Callable[[list[str]], list[str]],
    faults: list[str],
) -> dict[str, Any]:
    base.execute('CREATE TABLE told (model VARCHAR, request_id VARCHAR, "row" INTEGER, label VARCHAR, "time" TIMESTAMPTZ)')

    def parts(files: list[str]) -> list[str]:
        return whole_parts(files, faults)

    if found.feedback:
        _asked(lambda files: _told(base, _parquet(files)), found.feedback, parts, faults)
    if found.told:
        _asked(lambda files: _told(base, _json(files)), found.told, lines, faults)
    base.execute(
        'CREATE TABLE last AS SELECT model, request_id, "row", arg_max(label, coalesce("time", TIMESTAMPTZ \'1970-01-01\')) AS label FROM told GROUP BY ALL'
    )
    out: dict[str, Any] = {"by_version": [], "by_hour": [], "worst": []}
    for (model, version), files in sorted(wanted.items()):
        told = _asked(functools.partial(_of_parts, base, asked, model, version), files, parts, faults)
        for name, rows in (told or {}).items():
            out[name] += rows
    if found.lines:
        told = _asked(lambda files: _of_lines(base, asked, faults, files), found.lines, lines, faults)
        for name, rows in (told or {}).items():
            out[name] += rows
    out["by_hour"] = sorted(out["by_hour"], key=lambda r: (r["hour"], r["model"], r["version"]))[-_HOURS:]
    out["worst"] = sorted(out["worst"], key=lambda r: -r["badness"])[: asked.worst]
    out["rows"] = sum(r["rows"] for r in out["by_version"])
    return out


def _of_parts(base: Any, asked: Asked, model: str, version: str, files: list[str]) -> dict[str, list[dict[str, Any]]]:
    return _version(base, _parquet(files), model, version, asked)


def _of_lines(base: Any, asked: Asked, faults: list[str], files: list[str]) -> dict[str, list[dict[str, Any]]]:
    told = _version(base, _json(files), "", "", asked)
    unread = base.execute(f"SELECT count(*) FROM {_json(files)} WHERE request_id IS NULL").fetchone()[0]
    if unread:
        faults.append(f"lines of prediction logs that could not be read: {unread:,}")
    return told


def _parquet(files: list[str]) -> str:
    return f"read_parquet({_listed(files)}, union_by_name=true, hive_partitioning=false)"


def _json(files: list[str]) -> str:
    columns = "{" + ", ".join(f"{k}: '{v}'" for k, v in _ROWS.items()) + "}"
    return f"read_json({_listed(files)}, format='newline_delimited', ignore_errors=true, maximum_object_size=16777216, columns={columns})"


def _told(base: Any, source: str) -> None:
    have = {r[0] for r in base.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    kinds = {"model": "VARCHAR", "request_id": "VARCHAR", "row": "INTEGER", "label": "VARCHAR", "time": "TIMESTAMPTZ"}
    columns = ", ".join(f'try_cast("{n}" AS {k})' if n in have else f"NULL::{k}" for n, k in kinds.items())
    base.execute(
        f'INSERT INTO told SELECT model, request_id, coalesce("row", 0), label, "time" FROM (SELECT {columns} FROM {source}) '
        'AS t(model, request_id, "row", label, "time") WHERE label IS NOT NULL AND request_id IS NOT NULL'
    )


def _duckdb_error() -> type[Exception]:
    import duckdb

    found: type[Exception] = duckdb.Error
    return found


def _version(base: Any, source: str, model: str, version: str, asked: Asked) -> dict[str, list[dict[str, Any]]]:
    out: dict[str, list[dict[str, Any]]] = {"by_version": [], "by_hour": [], "worst": []}
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
    join = f'FROM answers a LEFT JOIN last t ON t.request_id = a.request_id AND t."row" = a."row" AND coalesce(t.model, a.model) = a.model {whose}'
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
    return out


def _short(features: Any) -> dict[str, Any]:
    """Values as they can be shown: no bytes, no long texts."""
    if isinstance(features, str):
        with contextlib.suppress(orjson.JSONDecodeError):
            features = orjson.loads(features)
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
