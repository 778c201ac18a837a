"""OpenLineage: what a run reads and makes, told to whoever keeps the lineage of data, as plain JSON over HTTP.

One job a project, one run a run: START when its data is looked at, RUNNING when rows are prepared and when a package is registered, COMPLETE when it
was promoted, rolled back or refused (a refusal is a result), FAIL when a step fails. Source: OpenLineage 2-0-2 (openlineage.io/spec, its naming of
datasets and facets). Nothing here stops a run: an endpoint that does not take an event is said once a step, and asked no more in it.
"""

from __future__ import annotations

import functools
import os
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from sluice import __version__
from sluice.core import events, fetch
from sluice.core.gate import Gate
from sluice.project import Project

#: The names that OpenLineage's own clients read.
URL_ENV, KEY_ENV, NAMESPACE_ENV = "OPENLINEAGE_URL", "OPENLINEAGE_API_KEY", "OPENLINEAGE_NAMESPACE"
PRODUCER = f"https://sluice.dev/v{__version__}"
_SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACET = "https://openlineage.io/spec/facets/{}/{}.json#/$defs/{}"
_OWN = "https://sluice.dev/openlineage/1-0-0/OutcomeRunFacet.json"
_PATH = "/api/v1/lineage"
_SECONDS, _LIMIT, _COLUMNS, _TEXT = 3.0, 1 << 16, 2000, 2000
_FIRST, _LAST = "validate_data", "rollout"
#: Where an event did not go, in this process.
_down: set[str] = set()

Dataset = dict[str, Any]


def address(project: Project) -> str | None:
    """Where events go: ``tracking.openlineage``, else ``$OPENLINEAGE_URL``; without a path of its own, to the one that servers have. None: nowhere."""
    url = (project.tracking.openlineage or os.environ.get(URL_ENV) or "").strip().rstrip("/")
    return (url if urlsplit(url).path else url + _PATH) if url else None


def _told(tell: Callable[..., None]) -> Callable[..., None]:
    """Tell only where there is somebody to tell, and never fail for it."""

    @functools.wraps(tell)
    def quiet(project: Project, *args: Any) -> None:
        try:
            if address(project) is not None:
                tell(project, *args)
        except Exception as e:  # a step's evidence of another shape, a variable that is no address
            _say(f"OpenLineage: an event could not be told, the run goes on: {type(e).__name__}: {e}")

    return quiet


def _say(text: str) -> None:
    print(text, file=sys.stderr)
    events.emit("note", text=text)


@_told
def begun(project: Project, step: str) -> None:
    """A step begins: with the first of them the run does."""
    if step == _FIRST:
        _send(project, "START", inputs=[_source(project)])


@_told
def ended(project: Project, gate: Gate) -> None:
    """A step has decided."""
    told: dict[str, Any] = {}
    if gate.step == "preprocess":
        told = {"inputs": [_source(project, gate.evidence)], "outputs": [_rows(project, gate.evidence)]}
    elif gate.step == "register":
        told = {"outputs": [_package(project, gate.evidence)]}
    over = gate.step == _LAST or gate.decision == "refuse"
    if over:
        outcome = {"outcome": str(gate.evidence.get("outcome") or "refused"), "step": gate.step, "reasons": list(gate.reasons)[:20]}
        told["facets"] = {"sluice_outcome": {"_producer": PRODUCER, "_schemaURL": _OWN} | outcome}
    if over or told:
        _send(project, "COMPLETE" if over else "RUNNING", **told)


@_told
def failed(project: Project, step: str, why: str) -> None:
    """A step has failed."""
    told = _facet("1-0-1", "ErrorMessageRunFacet", message=f"{step}: {why}"[:_TEXT], programmingLanguage="python")
    _send(project, "FAIL", facets={"errorMessage": told})


def _send(
    project: Project,
    kind: str,
    *,
    inputs: list[Dataset] | None = None,
    outputs: list[Dataset] | None = None,
    facets: dict[str, Any] | None = None,
) -> None:
    url = address(project)
    if url is None or url in _down:
        return
    engine = _facet("1-1-1", "ProcessingEngineRunFacet", version=__version__, name="sluice")
    job = _facet("2-0-3", "JobTypeJobFacet", processingType="BATCH", integration="SLUICE", jobType="PIPELINE")
    event = {
        "eventType": kind,
        "eventTime": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "producer": PRODUCER,
        "schemaURL": _SPEC,
        "run": {"runId": run_id(), "facets": {"processing_engine": engine} | (facets or {})},
        "job": {"namespace": os.environ.get(NAMESPACE_ENV) or "sluice", "name": project.name, "facets": {"jobType": job}},
        "inputs": inputs or [],
        "outputs": outputs or [],
    }
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY_ENV):
        headers["Authorization"] = f"Bearer {key.strip()}"
    try:
        status, said = fetch.send("POST", url, orjson.dumps(event), headers=headers, seconds=_SECONDS, limit=_LIMIT)
        if not 200 <= status < 300:
            raise OSError(f"HTTP {status}: {' '.join(said[:200].decode('utf-8', 'replace').split())}")
    except OSError as e:
        _down.add(url)
        parts = urlsplit(url)
        _say(f"OpenLineage: {parts.scheme}://{parts.hostname} did not take the {kind} event, the run goes on: {e}")


def run_id() -> str:
    """The run's id as a UUID: of a run here its nonce, on a cluster Kubeflow Pipelines' id."""
    nonce = os.environ.get(events.NONCE_ENV, "")
    try:
        return str(uuid.UUID(nonce))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"sluice:{nonce or os.getpid()}"))


def _facet(version: str, facet: str, /, **what: Any) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": _FACET.format(version, facet, facet), **what}


def named(uri: str, base_dir: Path | None = None) -> tuple[str, str]:
    """A dataset's namespace and name: of an address its authority and the path below, of a file ``file`` and the whole path. No password is in it."""
    parts = urlsplit(uri)
    if "://" in uri and parts.scheme != "file":
        host = (parts.hostname or parts.netloc.rpartition("@")[2]) + (f":{parts.port}" if parts.port else "")
        below = parts.path.strip("/")
        return (f"{parts.scheme}://{host}", below) if below else (parts.scheme, host)
    path = Path(unquote(parts.path)) if parts.scheme == "file" else Path(uri)
    return "file", str(path if path.is_absolute() or base_dir is None else base_dir.resolve() / path)


def _dataset(namespace: str, name: str, /, **facets: Any) -> Dataset:
    return {"namespace": namespace, "name": name, "facets": facets}


def _at(uri: str, project: Project, **facets: Any) -> Dataset:
    namespace, name = named(uri, project.base_dir)
    return _dataset(
        namespace, name, dataSource=_facet("1-0-1", "DatasourceDatasetFacet", name=namespace, uri=f"{namespace}:{name}"), **facets
    )


def _source(project: Project, prepared: dict[str, Any] | None = None) -> Dataset:
    """The source of the rows; once they were read, with the digest of what was read."""
    digest = (prepared or {}).get("digest")
    return _at(project.data.source, project, **(_version(str(digest)) if digest else {}))


def _version(digest: str) -> dict[str, Any]:
    return {"version": _facet("1-0-1", "DatasetVersionDatasetFacet", datasetVersion=f"sha256:{digest}")}


def _rows(project: Project, e: dict[str, Any]) -> Dataset:
    """The prepared rows: version, columns, how many."""
    fields = [{"name": name, "type": str(kind)} for name, kind in list((e.get("columns") or {}).items())[:_COLUMNS]]
    found = _dataset(
        "sluice", f"{project.name}/rows", **_version(str(e["digest"])), schema=_facet("1-1-1", "SchemaDatasetFacet", fields=fields)
    )
    counted = sum(n for n in (e.get("rows") or {}).values() if isinstance(n, int))
    return found | {"outputFacets": {"outputStatistics": _facet("1-0-2", "OutputStatisticsOutputDatasetFacet", rowCount=counted)}}


def _package(project: Project, e: dict[str, Any]) -> Dataset:
    """The registered package."""
    return _at(str(e["uri"]), project, **_version(str(e["digest"])))
