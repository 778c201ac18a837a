"""MLflow's registry over its REST interface, as far as following what serves needs it: for programs without the `mlflow` package."""

from __future__ import annotations

import base64
import json
import os
import urllib.parse
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from sluice.core import fetch

#: Seconds of one call, and the most bytes of an answer: a page of a thousand versions with their tags.
_SECONDS, _LIMIT = 10.0, 32 << 20


class RestFault(Exception):
    """MLflow refused, or did not answer.

    Attributes:
        error_code: MLflow's own word; ``TEMPORARILY_UNAVAILABLE`` where there was no answer, or one of a server in trouble.
    """

    def __init__(self, message: str, error_code: str):
        super().__init__(message)
        self.error_code = error_code

    @property
    def away(self) -> bool:
        """It may answer another time."""
        return self.error_code in ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED")


class _Page(list[Any]):
    """Things of a list, and where it goes on."""

    token: str | None = None


class Rest:
    """What `Registry` asks of an `MlflowClient`, with every call bounded in time.

    Args:
        uri: the server, ``http(s)://host[:port][/path]``. environ: for credentials, by MLflow's own names.
    """

    def __init__(self, uri: str, *, environ: Mapping[str, str] | None = None, seconds: float = _SECONDS):
        self.uri, self._env, self.seconds = uri.rstrip("/"), os.environ if environ is None else environ, seconds
        self.calls = 0

    def _call(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        """Raises `RestFault`."""
        self.calls += 1
        given = {k: v for k, v in what.items() if v is not None}
        query = "?" + urllib.parse.urlencode(given) if method == "GET" else ""
        body = None if method == "GET" else json.dumps(given).encode()
        try:
            status, raw = fetch.send(
                method, f"{self.uri}/api/2.0/mlflow/{path}{query}", body, headers=self._headers(), seconds=self.seconds, limit=_LIMIT
            )
        except OSError as e:
            raise RestFault(str(e), "TEMPORARILY_UNAVAILABLE") from e
        try:
            found = json.loads(raw)
        except ValueError:
            found = None
        if 200 <= status < 300 and isinstance(found, dict):
            return found
        said = found if isinstance(found, dict) else {}
        code = str(said.get("error_code") or {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "ENDPOINT_NOT_FOUND"}.get(status, ""))
        if not code or status in (429, 500, 502, 503, 504):
            code = "TEMPORARILY_UNAVAILABLE"
        raise RestFault(f"{said.get('message') or raw[:200].decode('utf-8', 'replace') or 'no reason given'} (HTTP {status})", code)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token := self._env.get("MLFLOW_TRACKING_TOKEN"):
            headers["Authorization"] = f"Bearer {token.strip()}"
        elif user := self._env.get("MLFLOW_TRACKING_USERNAME"):
            both = f"{user}:{self._env.get('MLFLOW_TRACKING_PASSWORD', '')}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(both).decode()
        return headers

    # -- as of MlflowClient ------------------------------------------------------------------------

    def get_registered_model(self, name: str) -> Any:
        """Its name and aliases {alias: version}."""
        found = self._call("GET", "registered-models/get", name=name)["registered_model"]
        return _model(found)

    def get_run(self, run_id: str) -> Any:
        """A run's parameters, as text."""
        found = self._call("GET", "runs/get", run_id=run_id)["run"]
        params = {p["key"]: p.get("value", "") for p in (found.get("data") or {}).get("params") or []}
        return SimpleNamespace(data=SimpleNamespace(params=params))

    def create_registered_model(self, name: str) -> None:
        """Make a model without versions."""
        self._call("POST", "registered-models/create", name=name)

    def search_registered_models(self, *, max_results: int, page_token: str | None = None) -> _Page:
        """A page of models by name, `max_results` at most; its `token` asks for the next, None at the last."""
        found = self._call("GET", "registered-models/search", max_results=max_results, page_token=page_token)
        page = _Page(_model(m) for m in found.get("registered_models") or [])
        page.token = found.get("next_page_token") or None
        return page

    def create_model_version(self, name: str, source: str, run_id: str | None = None, tags: Mapping[str, str] | None = None) -> Any:
        """Register a version of what lies at `source`; it gets the next number."""
        listed = [{"key": k, "value": v} for k, v in (tags or {}).items()]
        return _version(self._call("POST", "model-versions/create", name=name, source=source, run_id=run_id, tags=listed)["model_version"])

    def search_model_versions(self, filter_string: str, *, max_results: int, page_token: str | None = None) -> _Page:
        """A page of versions; its `token` asks for the next, None at the last."""
        found = self._call("GET", "model-versions/search", filter=filter_string, max_results=max_results, page_token=page_token)
        page = _Page(_version(v) for v in found.get("model_versions") or [])
        page.token = found.get("next_page_token") or None
        return page

    def delete_model_version(self, name: str, version: str) -> None:
        """Delete one for good."""
        self._call("DELETE", "model-versions/delete", name=name, version=version)

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Have an alias name a version, whatever it named before."""
        self._call("POST", "registered-models/alias", name=name, alias=alias, version=version)

    def set_prompt_alias(self, name: str, alias: str, version: int) -> None:
        """A prompt is a registered model to the server."""
        self.set_registered_model_alias(name, alias, str(version))

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Have an alias name nothing."""
        self._call("DELETE", "registered-models/alias", name=name, alias=alias)

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set one tag of a version, over what it was."""
        self._call("POST", "model-versions/set-tag", name=name, version=version, key=key, value=value)


def _model(raw: Mapping[str, Any]) -> Any:
    return SimpleNamespace(name=raw["name"], aliases={a["alias"]: str(a["version"]) for a in raw.get("aliases") or []})


def _version(raw: Mapping[str, Any]) -> Any:
    return SimpleNamespace(
        name=raw["name"],
        version=str(raw["version"]),
        source=raw.get("source", ""),
        run_id=raw.get("run_id") or None,
        tags={t["key"]: t.get("value", "") for t in raw.get("tags") or []},
        creation_timestamp=int(raw.get("creation_timestamp") or 0),
    )
