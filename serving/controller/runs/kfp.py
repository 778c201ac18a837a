"""Kubeflow Pipelines' REST interface (v2beta1), as far as schedules and runs need it.

The `kfp` package is hundreds of megabytes with what it brings; the controller needs a dozen calls.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

import urllib3

from sluice.core.errors import SluiceError

Object = dict[str, Any]
_TIMEOUT = urllib3.Timeout(connect=3.0, read=20.0)
_PAUSES = (0.3, 1.0)
_PASSING = frozenset({0, 429, 500, 502, 503, 504})
_PAGE, _PAGES = 100, 50
_LONGEST = 64 << 20
#: Numbers of the API's filter operations.
_EQUALS, _NOT_EQUALS = 1, 2


class KfpFault(SluiceError):
    """Kubeflow Pipelines refused, or did not answer.

    Attributes:
        status: the HTTP status, 0 when there was no answer.
        reason: one word for conditions and events.
    """

    status = 0
    reason = "PipelinesFault"


class KfpUnreachable(KfpFault):
    """No answer in time, or a proxy's that no backend stands behind."""

    reason = "PipelinesUnreachable"


class KfpUnauthorized(KfpFault):
    """The credentials are missing, expired, or may not do this (401, 403)."""

    reason = "PipelinesUnauthorized"


class KfpNotFound(KfpFault):
    """No such pipeline, version, run or recurring run (404)."""

    reason = "NotFound"


class KfpConflict(KfpFault):
    """It is there already, or someone was faster (409)."""

    reason = "Conflict"


class KfpRejected(KfpFault):
    """The request itself is wrong: a parameter the pipeline does not have, for example (400)."""

    reason = "Rejected"


class KfpBroken(KfpFault):
    """Kubeflow Pipelines failed inside (5xx), or answered with something that is no JSON object."""

    reason = "PipelinesBroken"


def fault(status: int, said: str, where: str) -> KfpFault:
    """The error for an HTTP status."""
    kinds: dict[int, tuple[type[KfpFault], str | None]] = {
        0: (KfpUnreachable, "see that Kubeflow Pipelines runs and that a NetworkPolicy lets the controller reach it"),
        400: (KfpRejected, None),
        401: (KfpUnauthorized, "give the controller a token with audience pipelines.kubeflow.org"),
        403: (KfpUnauthorized, "let the controller's service account do this in Kubeflow Pipelines"),
        404: (KfpNotFound, None),
        409: (KfpConflict, None),
        429: (KfpUnreachable, None),
        502: (KfpUnreachable, None),
        503: (KfpUnreachable, None),
        504: (KfpUnreachable, None),
    }
    kind, fix = kinds.get(status, (KfpBroken if status >= 500 else KfpRejected, None))
    found = kind(f"{said or 'no reason given'}{f' (HTTP {status})' if status else ''}", field=where, fix=fix)
    found.status = status
    return found


class Kfp:
    """One installation of Kubeflow Pipelines.

    Args:
        endpoint: where its API server answers, ``http://ml-pipeline.kubeflow:8888``.
        token: a file with a bearer token, read anew for each call, since projected tokens rotate.
        ca: a file with the certificate authority for https; the system's by default.
        pauses: seconds between attempts at calls that may be repeated.
    """

    def __init__(self, endpoint: str, *, token: Path | None = None, ca: Path | None = None, pauses: tuple[float, ...] = _PAUSES):
        self.endpoint, self.token, self.ca, self.pauses = endpoint.rstrip("/"), token, ca, pauses
        self.calls = 0
        self._pool = urllib3.PoolManager(num_pools=4, maxsize=8, timeout=_TIMEOUT, retries=False, ca_certs=str(ca) if ca else None)

    def call(
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        again: bool | None = None,
    ) -> Object:
        """One call; `GET` and `DELETE` are tried again while the server is away, others only if `again`.

        Raises:
            KfpFault: one of its kinds, by the answer.
        """
        where = f"{method} {path.partition('?')[0]}"
        headers = {"Accept": "application/json"}
        if self.token is not None:
            try:
                headers["Authorization"] = f"Bearer {self.token.read_text().strip()}"
            except OSError as e:
                raise fault(401, f"the token cannot be read: {e}", where) from e
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        url = f"{self.endpoint}/apis/v2beta1/{path}" + (f"?{urlencode(query)}" if query else "")
        repeat = method != "POST" if again is None else again
        for pause in (*self.pauses, None):
            self.calls += 1
            try:
                with self._pool.request(method, url, body=data, headers=headers, preload_content=False, redirect=False) as answer:
                    status, text = answer.status, answer.read(_LONGEST)
            except (urllib3.exceptions.HTTPError, OSError) as e:
                status, text = 0, f"{type(e).__name__}: {e}".encode()
            if 200 <= status < 300:
                return _parsed(text, where)
            if status not in _PASSING or not repeat or pause is None:
                raise fault(status, _said(text), where)
            time.sleep(pause)
        raise AssertionError("unreachable")

    def pages(self, path: str, key: str, query: Mapping[str, str]) -> Iterator[Object]:
        """Every item of a list, page by page; stops at 5,000."""
        token = ""
        for _ in range(_PAGES):
            answer = self.call("GET", path, query={**query, "page_size": str(_PAGE), **({"page_token": token} if token else {})})
            yield from answer.get(key) or []
            token = answer.get("next_page_token") or ""
            if not token:
                return

    # -- pipelines ---------------------------------------------------------------------------------

    def pipeline(self, name: str, namespace: str = "") -> str:
        """A pipeline's id. Raises `KfpNotFound`."""
        path = f"pipelines/names/{quote(name, safe='')}"
        try:
            found = self.call("GET", path, query={"namespace": namespace} if namespace else {})
        except KfpNotFound as e:
            said = KfpNotFound(
                "Kubeflow Pipelines has no such pipeline",
                field="pipeline",
                value=name,
                fix="upload it, or apply what `sluice compile --kubernetes` writes of its project",
            )
            said.status = e.status
            raise said from e
        return need(found, "pipeline_id", path)

    def version(self, pipeline: str, name: str | None) -> Object:
        """A pipeline's version by its name or id, the newest without one. Raises `KfpNotFound`."""
        path = f"pipelines/{quote(pipeline, safe='')}/versions"
        if name is None:
            # Versions come with their whole specification: one is enough.
            found = self.call("GET", path, query={"sort_by": "created_at desc", "page_size": "1"}).get("pipeline_versions") or []
        else:
            found = [
                v for v in self.pages(path, "pipeline_versions", {"filter": where(display_name=name)}) if v.get("display_name") == name
            ]
        if not found and name is not None:
            try:
                found = [self.call("GET", f"{path}/{quote(name, safe='')}")]
            except KfpNotFound:
                found = []
        if not found:
            raise fault(404, f"the pipeline has no version {name}" if name else "the pipeline has no version", path)
        need(found[0], "pipeline_version_id", path)
        version: Object = found[0]
        return version

    def experiment(self, name: str, namespace: str = "", *, create: bool = True) -> str | None:
        """An experiment's id, made if there is none and `create`."""
        query = {"filter": where(display_name=name), **({"namespace": namespace} if namespace else {})}
        for _ in range(2):
            for found in self.pages("experiments", "experiments", query):
                if found.get("display_name") == name:
                    return need(found, "experiment_id", "GET experiments")
            if not create:
                return None
            try:
                made = self.call("POST", "experiments", {"display_name": name, **({"namespace": namespace} if namespace else {})})
                return need(made, "experiment_id", "POST experiments")
            except KfpConflict:
                # another replica made it between the two calls
                continue
        raise fault(409, f"experiment {name} is there and is not listed", "POST experiments")

    # -- recurring runs ----------------------------------------------------------------------------

    def recurring(self, experiment: str) -> list[Object]:
        return list(self.pages("recurringruns", "recurringRuns", {"experiment_id": experiment}))

    def create_recurring(self, body: Object) -> Object:
        return self.call("POST", "recurringruns", body)

    def switch_recurring(self, key: str, enabled: bool) -> None:
        self.call("POST", f"recurringruns/{quote(key, safe='')}:{'enable' if enabled else 'disable'}", again=True)

    def delete_recurring(self, key: str) -> None:
        """Delete it and leave the workflows of its runs; one that is gone already is fine."""
        self._gone("DELETE", f"recurringruns/{quote(key, safe='')}", {"propagation_policy": "ORPHAN"})

    # -- runs --------------------------------------------------------------------------------------

    def runs(self, experiment: str, *, archived: bool = False, **equal: str) -> list[Object]:
        """An experiment's runs, newest first, with those in the archive if `archived`."""
        query = {
            "experiment_id": experiment,
            "sort_by": "created_at desc",
            "filter": where(None if archived else {"storage_state": "ARCHIVED"}, **equal),
        }
        return list(self.pages("runs", "runs", query))

    def run(self, key: str) -> Object | None:
        """A run with its tasks, None when there is none."""
        try:
            return self.call("GET", f"runs/{quote(key, safe='')}")
        except KfpNotFound:
            return None

    def create_run(self, body: Object) -> Object:
        return self.call("POST", "runs", body, query={"experiment_id": body["experiment_id"]} if body.get("experiment_id") else None)

    def end_run(self, key: str, how: Literal["terminate", "archive", "remove"]) -> None:
        """Any of it may have happened already."""
        path = f"runs/{quote(key, safe='')}"
        self._gone(*(("DELETE", path) if how == "remove" else ("POST", f"{path}:{how}")))

    def _gone(self, method: Literal["POST", "DELETE"], path: str, query: Mapping[str, str] | None = None) -> None:
        try:
            self.call(method, path, query=query, again=True)
        except KfpNotFound:
            return


def where(not_equal: Mapping[str, str] | None = None, **equal: str) -> str:
    """The API's filter, as JSON text."""
    predicates = [{"key": k, "operation": _EQUALS, "stringValue": v} for k, v in equal.items()]
    predicates += [{"key": k, "operation": _NOT_EQUALS, "stringValue": v} for k, v in (not_equal or {}).items()]
    return json.dumps({"predicates": predicates})


def need(found: Object, key: str, where: str) -> str:
    """A text that the answer must hold. Raises `KfpBroken`."""
    value = found.get(key)
    if not isinstance(value, str) or not value:
        raise fault(500, f"the answer has no {key}", where)
    return value


def seconds(text: str | None) -> float:
    """Seconds since the epoch of one of the API's times; 0 for none, and for the year 1 that stands for none."""
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return value if math.isfinite(value) and value > 0 else 0.0


def _parsed(text: bytes, where: str) -> Object:
    try:
        found = json.loads(text or b"{}")
    except ValueError as e:
        raise fault(500, f"the answer is no JSON: {text[:80]!r}", where) from e
    if not isinstance(found, dict):
        raise fault(500, f"the answer is no object: {text[:80]!r}", where)
    return found


def _said(text: bytes) -> str:
    """What an error's body says, on one line."""
    try:
        body = json.loads(text)
        said = str(body.get("message") or body.get("error") or body)
    except (ValueError, AttributeError):
        said = text.decode("utf-8", "replace")
    return " ".join(said.split())[:400]
