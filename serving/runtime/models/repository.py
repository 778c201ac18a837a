"""Loading and unloading models while serving: asked of any worker, done by the parent on all of them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import orjson

from serving.runtime.errors import NotFound, RequestError, Unavailable
from serving.runtime.http.request import Exchange
from serving.runtime.process import channel
from serving.runtime.process.service import Service

_FIX = 'send {"parameters": {"uri": "s3://bucket/key", "digest": "..."}}'
#: A worker's questions the parent has not answered.
_LIMIT = 64


class Repository:
    """The V2 model repository extension: index, load, unload."""

    def __init__(self, service: Service, end: socket.socket):
        self._service, self._end = service, end
        self._asked: dict[int, Callable[[dict[str, Any]], None]] = {}
        self._tickets = 0

    def index(self, exchange: Exchange) -> None:
        """Answer with all models and their states, as the repository extension of the protocol has it."""
        models = [
            {"name": n, "version": s.model.version, "state": "READY" if self._service.ready else "UNAVAILABLE", "reason": ""}
            for n, s in sorted(self._service.models.items())
        ]
        exchange.send_json(200, models)

    def load(self, exchange: Exchange, name: str) -> None:
        """Load a package under a name, in the place of what has it now; the old one serves until the new one can, and stays if it cannot.

        Raises:
            RequestError: no place named, or one that models may not be loaded from.
        """
        parameters = _parameters(exchange.body)
        uri, digest = parameters.get("uri"), parameters.get("digest")
        if type(uri) is not str or not uri:
            raise RequestError("must be a string", field="parameters.uri", value=uri, fix=_FIX)
        if digest is not None and type(digest) is not str:
            raise RequestError("must be a string", field="parameters.digest", value=digest)
        if not allowed(uri, self._service.settings.allow_load):
            raise RequestError(
                "models may not be loaded from there",
                field="parameters.uri",
                value=uri,
                status=403,
                fix="start the server with --allow-load PREFIX",
            )
        self._ask("load", name, uri, digest, exchange)

    def unload(self, exchange: Exchange, name: str) -> None:
        """Stop serving a model. Raises `RequestError` when this server's models may not be changed."""
        if not self._service.settings.allow_load:
            raise RequestError(
                "models may not be changed", field="model", value=name, status=403, fix="start the server with --allow-load PREFIX"
            )
        if name not in self._service.models:
            raise NotFound("no such model", field="model", value=name)
        self._ask("unload", name, "", None, exchange)

    def _ask(self, action: str, name: str, uri: str, digest: str | None, exchange: Exchange) -> None:
        if len(self._asked) >= _LIMIT:
            raise RequestError("too many changes wait", status=429, retry_after=5)
        self._tickets += 1

        def done(message: dict[str, Any]) -> None:
            error = message["error"]
            if error:
                text = f"{error['field']}: {error['message']}" if error.get("field") else error["message"]
                body = {"error": text, **{k: error[k] for k in ("value", "fix") if error.get(k)}}
                exchange.send_json(422 if error["error"] == "PackageError" else 503, body)
            else:
                exchange.send_json(
                    200,
                    {
                        "name": message["name"],
                        "version": (message["digest"] or "")[:12] or None,
                        "state": "READY" if action == "load" else "UNAVAILABLE",
                    },
                )

        if not channel.send(
            self._end, {"op": "change", "action": action, "name": name, "uri": uri, "digest": digest, "ticket": self._tickets}
        ):
            raise Unavailable("the parent does not listen", retry_after=1)
        self._asked[self._tickets] = done

    def changed(self, message: dict[str, Any]) -> None:
        """The parent says how a change ended."""
        done = self._asked.pop(message["ticket"], None)
        if done is not None:
            done(message)


def allowed(uri: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a place lies below one of the prefixes; one that climbs (``..``) does not."""
    plain = uri.removeprefix("file://")
    if ".." in plain.split("/") or "%" in uri:
        return False
    return any(plain == p.rstrip("/") or plain.startswith(p.rstrip("/") + "/") for p in (q.removeprefix("file://") for q in prefixes))


def _parameters(body: bytes) -> dict[str, Any]:
    try:
        doc = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as e:
        raise RequestError(f"is not JSON: {e}", field="body", fix=_FIX) from e
    parameters = doc.get("parameters", {}) if type(doc) is dict else None
    if type(parameters) is not dict:
        raise RequestError("must be an object", field="parameters", value=parameters, fix=_FIX)
    return parameters
