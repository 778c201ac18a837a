"""Kubeflow Pipelines' REST API, version v2beta1 of KFP 2.17: the calls Sluice makes, each with a time limit and typed failures.

Reads are tried again when the server fails or cannot be reached; writes are not, because only their
caller knows how to see whether the first try arrived.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from sluice.core.errors import MissingExtra
from sluice.kfp.connection import NO_PAGE, Connection
from sluice.kfp.errors import Conflict, EndpointError, EndpointFault, NotFound, Rejected, Unauthorised, Unreachable

_V2 = "/apis/v2beta1"


class Api:
    """One endpoint.

    Args:
        connection: where it is and who we are.
        timeout: seconds an answer may take; connecting may take 5 of them at most.
        tries: how often a read is tried, with pauses of 0.5, 1, 2... seconds.

    Raises (all methods):
        EndpointError: `Unreachable`, `Unauthorised`, `NotFound`, `Conflict`, `Rejected` or `EndpointFault`.
    """

    def __init__(self, connection: Connection, *, timeout: float = 30.0, tries: int = 4):
        try:
            import urllib3
        except ImportError:
            raise MissingExtra("an endpoint needs urllib3", field="urllib3", fix="pip install 'sluice-ml[cluster]'") from None
        self.connection, self.tries = connection, tries
        self._pages: bool | None = None
        tls: dict[str, Any] = {
            k: v for k, v in (("ca_certs", connection.ca), ("cert_file", connection.cert), ("key_file", connection.key)) if v
        }
        if not connection.verify:
            tls["cert_reqs"] = "CERT_NONE"
        limit = urllib3.Timeout(connect=min(5.0, timeout), read=timeout)
        self._pool = urllib3.PoolManager(timeout=limit, retries=False, maxsize=4, **tls)

    def run_url(self, run_id: str) -> str:
        """The run's page in the dashboard; empty where there is none that would open: nobody named one, and the API's own address is none."""
        root = self.connection.ui or (self.connection.url if self._is_dashboard() else "")
        return f"{root.rstrip('/')}/#/runs/details/{run_id}" if root else ""

    def run_page(self, run_id: str) -> str:
        """`run_url`, or in words what it takes to have one."""
        return self.run_url(run_id) or f"{run_id}: {NO_PAGE}"

    def _is_dashboard(self) -> bool:
        """Whether the endpoint shows pages too: the dashboard passes on what its API is asked. Asked once."""
        if self._pages is None:
            try:
                answer = self._pool.request("GET", self.connection.url + "/", headers={"accept": "text/html"}, redirect=False, timeout=5.0)
                # A page to log in at stands before pages, and not before an API alone.
                self._pages = 300 <= answer.status < 400 or (answer.status == 200 and "html" in str(answer.headers.get("content-type")))
            except Exception:
                self._pages = False
        return self._pages

    # -- what is there

    def health(self) -> dict[str, Any]:
        """``{"multi_user": bool, ...}``."""
        return self._json("GET", f"{_V2}/healthz")

    def pipeline(self, name: str, namespace: str | None) -> dict[str, Any] | None:
        """The pipeline of this display name."""
        return self._first("pipelines", f"{_V2}/pipelines", name, namespace)

    def version(self, pipeline_id: str, name: str) -> dict[str, Any] | None:
        """The version of this display name."""
        return self._first("pipeline_versions", f"{_V2}/pipelines/{_part(pipeline_id)}/versions", name)

    def create_pipeline(self, name: str, *, description: str, namespace: str | None) -> dict[str, Any]:
        """Create a pipeline that has no version yet."""
        body = {"name": name, "display_name": name, "description": description[:250]} | ({"namespace": namespace} if namespace else {})
        return self._json("POST", f"{_V2}/pipelines", body)

    def upload_version(self, pipeline_id: str, name: str, text: str, *, description: str) -> dict[str, Any]:
        """Create a version of a pipeline, from IR YAML."""
        from urllib3.filepost import encode_multipart_formdata

        query = {"name": name, "display_name": name, "pipelineid": pipeline_id, "description": description[:250]}
        body, kind = encode_multipart_formdata({"uploadfile": (f"{name}.yaml", text, "application/x-yaml")})
        path = f"{_V2}/pipelines/upload_version?{urlencode(query)}"
        return _parsed(self._request("POST", path, body, kind), path)

    def experiment(self, name: str, namespace: str | None) -> dict[str, Any] | None:
        """The experiment of this name."""
        return self._first("experiments", f"{_V2}/experiments", name, namespace)

    def create_experiment(self, name: str, namespace: str | None) -> dict[str, Any]:
        body = {"display_name": name} | ({"namespace": namespace} if namespace else {})
        return self._json("POST", f"{_V2}/experiments", body)

    def create_run(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Start a run: the body is a ``V2beta1Run``."""
        return self._json("POST", f"{_V2}/runs?{urlencode({'experiment_id': body['experiment_id']})}", body)

    def run(self, run_id: str) -> dict[str, Any]:
        """A run with the details of its tasks."""
        return self._json("GET", f"{_V2}/runs/{_part(run_id)}")

    def run_named(self, name: str, experiment_id: str) -> dict[str, Any] | None:
        """The run of this display name in an experiment."""
        query = {"experiment_id": experiment_id, "page_size": "1", "filter": _named(name)}
        return next(iter(self._json("GET", f"{_V2}/runs?{urlencode(query)}").get("runs", [])), None)

    def runs(self, *, namespace: str | None = None, experiment_id: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Runs, newest first."""
        found: list[dict[str, Any]] = []
        token = ""
        while len(found) < limit:
            query = {"page_size": str(min(limit - len(found), 100)), "sort_by": "created_at desc"}
            query |= {k: v for k, v in (("namespace", namespace), ("experiment_id", experiment_id), ("page_token", token)) if v}
            page = self._json("GET", f"{_V2}/runs?{urlencode(query)}")
            found += page.get("runs", [])
            token = page.get("next_page_token", "")
            if not token:
                break
        return found

    def terminate(self, run_id: str) -> None:
        """Ask for a run's end; KFP then calls it FAILED."""
        self._json("POST", f"{_V2}/runs/{_part(run_id)}:terminate", {})

    def log(self, run_id: str, pod: str, last: int | None = None) -> str | None:
        """What a step's pod wrote so far, or its `last` bytes alone; null where there is no such pod and no archive of it.

        The endpoint answers 200 before it has looked, and puts a failure in the body.
        """
        try:
            data = self._request("GET", f"/apis/v1alpha1/runs/{_part(run_id)}/nodes/{_part(pod)}/log", last=last)
        except (NotFound, Rejected, EndpointFault):
            return None
        text = data.decode(errors="replace")
        cut = re.search(r'\{"error_(message|details)":', text)
        if cut is None:
            return text
        return text[: cut.start()] or None

    # -- how it is asked

    def _first(self, key: str, path: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        query = {"page_size": "1", "filter": _named(name)} | ({"namespace": namespace} if namespace else {})
        found = self._json("GET", f"{path}?{urlencode(query)}").get(key) or []
        return dict(found[0]) if found else None

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        return _parsed(self._request(method, path, data, "application/json"), path)

    def _request(self, method: str, path: str, body: bytes | None = None, kind: str | None = None, last: int | None = None) -> bytes:
        tries = self.tries if method == "GET" else 1
        for attempt in range(tries):
            try:
                return self._once(method, path, body, kind, last)
            except (Unreachable, EndpointFault):
                if attempt == tries - 1:
                    raise
                time.sleep(0.5 * 2**attempt)
        raise AssertionError("unreachable: the last try returns or raises")

    def _once(self, method: str, path: str, body: bytes | None, kind: str | None, last: int | None) -> bytes:
        import urllib3

        headers = {"accept": "application/json"} | ({"content-type": kind} if body is not None and kind else {})
        token = self.connection.token()
        if token:
            headers["authorization"] = f"Bearer {token}"
        url = self.connection.url + path
        try:
            answer = self._pool.request(method, url, body=body, headers=headers, redirect=False, preload_content=False)
            try:
                data = _tail(answer, last)
            finally:
                answer.release_conn()
        except urllib3.exceptions.HTTPError as e:
            raise self._unreachable(e) from e
        except OSError as e:  # a certificate file that cannot be read
            raise self._unreachable(e) from e
        if answer.status >= 300:
            raise self._refused(answer.status, answer.headers.get("location"), data)
        return data

    def _unreachable(self, error: Exception) -> Unreachable:
        reason = getattr(error, "reason", None) or error
        what = re.sub(r"<[^>]*>:? ?", "", str(reason)).strip() or type(reason).__name__
        if "CERTIFICATE" in what.upper():
            return Unreachable(
                f"its certificate cannot be trusted: {what}",
                field=self.connection.how,
                value=self.connection.url,
                fix="name the authority's file: Client(ca=...), or SSL_CERT_FILE",
            )
        return Unreachable(
            f"does not answer: {what[:200]}",
            field=self.connection.how,
            value=self.connection.url,
            fix="is Kubeflow Pipelines up, and is this its API's address? kubectl -n kubeflow get svc ml-pipeline",
        )

    def _refused(self, status: int, location: str | None, data: bytes) -> EndpointError:
        where: dict[str, Any] = {"field": self.connection.how, "value": self.connection.url}
        said = _said(data)
        if status in (401, 403) or 300 <= status < 400:
            what = {401: "does not know who asks (401)", 403: "does not let you do this (403)"}.get(
                status, f"sends elsewhere to log in ({location})"
            )
            fix = "a token of an account with that right: --token-file FILE; and your own --namespace"
            if status == 401 and self.connection.token():
                fix = "a token that is valid still, and meant for it: kubectl -n NS create token default-editor --audience pipelines.kubeflow.org"
            return Unauthorised(f"{what}{said}", fix=fix, **where)
        if status == 404:
            return NotFound(
                f"has no such thing (404){said}", fix="check the id; or the address: the API's root has no /apis at its end", **where
            )
        if status == 409 or "AlreadyExist" in said or "already exist" in said:
            return Conflict(f"has one of that name (409){said}", fix="use another name", **where)
        if status < 500:
            return Rejected(f"refused the request ({status}){said}", fix="read its reason; is the endpoint KFP 2.17?", **where)
        return EndpointFault(f"failed ({status}){said}", fix="try again; `kubectl -n kubeflow logs deploy/ml-pipeline` says more", **where)


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "string_value": name}]})


def _tail(answer: Any, last: int | None) -> bytes:
    """A body, or its last bytes, never more than twice as much in memory."""
    if last is None:
        return bytes(answer.read())
    kept = b""
    for piece in answer.stream(1 << 16):
        kept += piece
        if len(kept) > 2 * last:
            kept = kept[-last:]
    return kept[-last:]


def _part(text: str) -> str:
    return quote(text, safe="")


def _said(data: bytes) -> str:
    """The server's own words, shortened."""
    try:
        raw = json.loads(data)
        text = str(raw.get("message") or raw.get("error_message") or raw.get("error") or "") if isinstance(raw, dict) else ""
    except ValueError:
        text = ""
    return f": {' '.join(text.split())[:300]}" if text else ""


def _parsed(data: bytes, path: str) -> dict[str, Any]:
    try:
        found = json.loads(data) if data.strip() else {}
    except ValueError as e:
        raise EndpointFault(
            "answered something that is not its API (a login page?)",
            field=path.partition("?")[0],
            value=data[:80].decode(errors="replace"),
            fix="check the address: KFP's API, not another page; and the token",
        ) from e
    if not isinstance(found, dict):
        raise EndpointFault("answered no object", field=path.partition("?")[0], value=found, fix="check the address")
    return found
