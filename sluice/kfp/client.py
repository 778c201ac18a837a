"""Kubeflow Pipelines' REST API, version v2beta1 of KFP 2.17: the calls that Sluice and its controller make.

The `kfp` package is hundreds of megabytes with what it brings; this needs urllib3 alone. Reads are tried again when the server fails or
cannot be reached; writes are not, unless doing them twice is the same, because only their caller knows how to see whether the first try arrived.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import quote, urlencode

from sluice.kfp.answers import named, need, parsed, where
from sluice.kfp.connection import NO_PAGE, Connection
from sluice.kfp.errors import Conflict, EndpointFault, NotFound, Rejected
from sluice.kfp.transport import Transport

_V2 = "/apis/v2beta1"
#: Items of a page, and of a list at most.
_PAGE, _MOST = 100, 5000
Object = dict[str, Any]


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
        self._transport = Transport(connection, timeout=timeout, tries=tries)
        self._pages: bool | None = None

    @property
    def connection(self) -> Connection:
        """Where it is and who we are; set it to know more of it."""
        return self._transport.connection

    @connection.setter
    def connection(self, value: Connection) -> None:
        self._transport.connection = value

    def run_url(self, run_id: str) -> str:
        """The run's page in the dashboard; empty where there is none that would open: nobody named one, and the API's own address is none."""
        if self._pages is None and not self.connection.ui:
            self._pages = self._transport.is_page()
        root = self.connection.ui or (self.connection.url if self._pages else "")
        return f"{root.rstrip('/')}/#/runs/details/{run_id}" if root else ""

    def run_page(self, run_id: str) -> str:
        """`run_url`, or in words what it takes to have one."""
        return self.run_url(run_id) or f"{run_id}: {NO_PAGE}"

    def health(self) -> Object:
        """``{"multi_user": bool, ...}``."""
        return self._call("GET", "healthz")

    # -- pipelines

    def pipeline(self, name: str, namespace: str | None) -> Object | None:
        """The pipeline of this display name."""
        return self._first("pipelines", "pipelines", name, namespace)

    def pipeline_id(self, name: str, namespace: str | None) -> str:
        """The id of the pipeline of this name. Raises `NotFound`: saying how to make it."""
        path = f"pipelines/names/{_part(name)}"
        try:
            found = self._call("GET", path, query={"namespace": namespace} if namespace else None)
        except NotFound as e:
            missing = NotFound(
                "Kubeflow Pipelines has no such pipeline",
                field="pipeline",
                value=name,
                fix="upload it, or apply what `sluice compile --kubernetes` writes of its project",
            )
            missing.status = e.status
            raise missing from e
        return need(found, "pipeline_id", f"GET {path}")

    def create_pipeline(self, name: str, *, description: str, namespace: str | None) -> Object:
        """Create a pipeline that has no version yet."""
        body = {"name": name, "display_name": name, "description": description[:250]} | ({"namespace": namespace} if namespace else {})
        return self._call("POST", "pipelines", body)

    def version(self, pipeline_id: str, name: str) -> Object | None:
        """The version of this display name."""
        return self._first("pipeline_versions", f"pipelines/{_part(pipeline_id)}/versions", name)

    def version_to_run(self, pipeline_id: str, name: str | None) -> Object:
        """A pipeline's version by its name or id, the newest without one. Raises `NotFound`."""
        path = f"pipelines/{_part(pipeline_id)}/versions"
        if name is None:
            # Versions come with their whole specification: one is enough.
            page = self._call("GET", path, query={"sort_by": "created_at desc", "page_size": "1"}).get("pipeline_versions") or []
            found = page[0] if page else None
        else:
            found = self.version(pipeline_id, name) or self._or_none(f"{path}/{_part(name)}")
        if found is None:
            missing = NotFound(f"the pipeline has no version {name}" if name else "the pipeline has no version", field=f"GET {path}")
            missing.status = 404
            raise missing
        need(found, "pipeline_version_id", f"GET {path}")
        return dict(found)

    def upload_version(self, pipeline_id: str, name: str, text: str, *, description: str) -> Object:
        """Create a version of a pipeline, from IR YAML."""
        from urllib3.filepost import encode_multipart_formdata

        query = {"name": name, "display_name": name, "pipelineid": pipeline_id, "description": description[:250]}
        body, kind = encode_multipart_formdata({"uploadfile": (f"{name}.yaml", text, "application/x-yaml")})
        path = f"{_V2}/pipelines/upload_version"
        return parsed(self._transport.request("POST", f"{path}?{urlencode(query)}", body, kind=kind, again=False), f"POST {path}")

    # -- experiments

    def experiment(self, name: str, namespace: str | None) -> Object | None:
        """The experiment of this name."""
        return self._first("experiments", "experiments", name, namespace)

    def create_experiment(self, name: str, namespace: str | None) -> Object:
        """Create an experiment. Raises `Conflict` where it is there."""
        return self._call("POST", "experiments", {"display_name": name} | ({"namespace": namespace} if namespace else {}))

    def experiment_id(self, name: str, namespace: str | None, *, create: bool = True) -> str | None:
        """An experiment's id, made if there is none and `create`."""
        for _ in range(2):
            found = self.experiment(name, namespace)
            if found is not None or not create:
                return need(found, "experiment_id", "GET experiments") if found else None
            try:
                return need(self.create_experiment(name, namespace), "experiment_id", "POST experiments")
            except Conflict:
                # Another made it between the two calls.
                continue
        raise Conflict("is there and is not listed", field="experiment", value=name)

    # -- runs

    def create_run(self, body: Mapping[str, Any]) -> Object:
        """Start a run: the body is a ``V2beta1Run``."""
        return self._call("POST", "runs", body, query={"experiment_id": body["experiment_id"]} if body.get("experiment_id") else None)

    def run(self, run_id: str) -> Object:
        """A run with the details of its tasks."""
        return self._call("GET", f"runs/{_part(run_id)}")

    def run_named(self, name: str, experiment_id: str) -> Object | None:
        """The run of this display name in an experiment."""
        query = {"experiment_id": experiment_id, "page_size": "1", "filter": named(name)}
        return next(iter(self._call("GET", "runs", query=query).get("runs", [])), None)

    def runs(self, *, namespace: str | None = None, experiment_id: str | None = None, limit: int = 50) -> list[Object]:
        """Runs, newest first."""
        query = {"sort_by": "created_at desc"}
        query |= {k: v for k, v in (("namespace", namespace), ("experiment_id", experiment_id)) if v}
        return list(self._items("runs", "runs", query, limit))

    def runs_of(self, experiment_id: str, *, archived: bool = False, **equal: str) -> list[Object]:
        """All runs of an experiment whose fields are `equal`, newest first, with those in the archive if `archived`."""
        among = where(None if archived else {"storage_state": "ARCHIVED"}, **equal)
        return list(self._items("runs", "runs", {"experiment_id": experiment_id, "sort_by": "created_at desc", "filter": among}))

    def terminate(self, run_id: str) -> None:
        """Ask for a run's end; KFP then calls it FAILED. Raises `NotFound`."""
        self._call("POST", f"runs/{_part(run_id)}:terminate", {})

    def end_run(self, run_id: str, how: Literal["terminate", "archive", "remove"]) -> None:
        """End, archive or delete a run; any of it may have happened already."""
        path = f"runs/{_part(run_id)}"
        self._gone(*(("DELETE", path) if how == "remove" else ("POST", f"{path}:{how}")))

    def log(self, run_id: str, pod: str, last: int | None = None) -> str | None:
        """What a step's pod wrote so far, or its `last` bytes alone; null where there is no such pod and no archive of it.

        The endpoint answers 200 before it has looked, and puts a failure in the body.
        """
        path = f"/apis/v1alpha1/runs/{_part(run_id)}/nodes/{_part(pod)}/log"
        try:
            data = self._transport.request("GET", path, last=last, again=True)
        except (NotFound, Rejected, EndpointFault):
            return None
        text = data.decode(errors="replace")
        cut = re.search(r'\{"error_(message|details)":', text)
        if cut is None:
            return text
        return text[: cut.start()] or None

    # -- recurring runs

    def recurring(self, experiment_id: str) -> list[Object]:
        """An experiment's recurring runs."""
        return list(self._items("recurringruns", "recurringRuns", {"experiment_id": experiment_id}))

    def create_recurring(self, body: Object) -> Object:
        """Create a recurring run: the body is a ``V2beta1RecurringRun``."""
        return self._call("POST", "recurringruns", body)

    def switch_recurring(self, key: str, enabled: bool) -> None:
        """Enable or disable a recurring run."""
        self._call("POST", f"recurringruns/{_part(key)}:{'enable' if enabled else 'disable'}", again=True)

    def delete_recurring(self, key: str) -> None:
        """Delete it and leave the workflows of its runs; one that is gone already is fine."""
        self._gone("DELETE", f"recurringruns/{_part(key)}", {"propagation_policy": "ORPHAN"})

    # -- how it is asked

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        again: bool | None = None,
    ) -> Object:
        data = None if body is None else json.dumps(body).encode()
        full = f"{_V2}/{path}" + (f"?{urlencode(query)}" if query else "")
        answer = self._transport.request(method, full, data, again=method != "POST" if again is None else again)
        return parsed(answer, f"{method} {path}")

    def _first(self, key: str, path: str, name: str, namespace: str | None = None) -> Object | None:
        query = {"page_size": "1", "filter": named(name)} | ({"namespace": namespace} if namespace else {})
        found = self._call("GET", path, query=query).get(key) or []
        return dict(found[0]) if found else None

    def _items(self, path: str, key: str, query: Mapping[str, str], limit: int = _MOST) -> Iterator[Object]:
        """Items of a list, page by page."""
        token, left = "", limit
        while left > 0:
            page = {"page_size": str(min(left, _PAGE))} | ({"page_token": token} if token else {})
            answer = self._call("GET", path, query={**query, **page})
            found = (answer.get(key) or [])[:left]
            yield from found
            left, token = left - len(found), answer.get("next_page_token") or ""
            if not token or not found:
                return

    def _or_none(self, path: str) -> Object | None:
        try:
            return self._call("GET", path)
        except NotFound:
            return None

    def _gone(self, method: str, path: str, query: Mapping[str, str] | None = None) -> None:
        try:
            self._call(method, path, query=query, again=True)
        except NotFound:
            return


def _part(text: str) -> str:
    return quote(text, safe="")
