"""Which path is answered by what."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from serving.runtime import users
from serving.runtime.engine.inference import Call
from serving.runtime.errors import NotFound, Overloaded, RequestError, Unavailable, status_of
from serving.runtime.http import openapi, outside
from serving.runtime.http.async_results import Jobs
from serving.runtime.http.request import Exchange
from serving.runtime.logs.feedback import feedback_items
from serving.runtime.metrics import render
from serving.runtime.models.repository import Repository
from serving.runtime.process.service import Service
from serving.runtime.protocols import v1, v2
from serving.runtime.protocols.inputs import units_of_rows
from sluice import __version__
from sluice.core.errors import SluiceError

log = logging.getLogger("sluice.serving")

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
EXTENSIONS = ["binary_tensor_data", "model_repository"]
_LIMIT_ROUTES = 4096
_LIMIT_DEADLINE = 24 * 3600 * 1000.0

Handler = Callable[[Exchange, str, str | None], None]


class Routes:
    """Dispatches exchanges. Every path and method leads to exactly one answer."""

    def __init__(self, service: Service, repository: Repository):
        self._service, self._repository = service, repository
        self._settings = service.settings
        self._user_header = service.settings.user_header.encode()
        self._jobs = Jobs(Path(service.settings.scratch)) if service.settings.scratch else None
        self._found: dict[bytes, tuple[dict[bytes, Handler], str, str | None]] = {}
        get, post = self._only(b"GET"), self._only(b"POST")
        self._fixed: dict[str, dict[bytes, Handler]] = {
            "/": get(self._root),
            "/v2": get(self._server),
            "/v2/": get(self._server),
            "/v2/health/live": get(self._live),
            "/v2/health/ready": get(self._ready),
            "/v2/models": get(self._models),
            "/v1/models": get(self._models),
            "/v1/chat/completions": post(self._chat),
            "/openai/v1/chat/completions": post(self._chat),
            "/metrics": get(_inside(self._metrics)),
            "/openapi.json": get(self._openapi),
            "/v2/repository/index": post(_inside(lambda exchange, _, __: repository.index(exchange))),
        }

    def handle(self, exchange: Exchange) -> None:
        """Answer an exchange, now or later. Never raises."""
        try:
            found = self._found.get(exchange.path)
            if found is None:
                found = self._route(exchange.path)
            methods, name, version = found
            handler = methods.get(exchange.method)
            if handler is None:
                allow = b"allow: %b\r\n" % b", ".join(sorted(methods))
                exchange.fail(
                    RequestError("is not allowed here", field="method", value=exchange.method.decode("latin-1"), status=405), allow
                )
                return
            if self._jobs is not None and handler in (self._predict, self._infer) and self._jobs.wanted(exchange):
                self._jobs.start(exchange, self.handle)
            else:
                handler(exchange, name, version)
        except Exception as e:
            if not isinstance(e, SluiceError):
                log.exception("%s %s failed", exchange.method.decode("latin-1"), exchange.path.decode("latin-1"))
            if not exchange.status:
                exchange.fail(e)

    def _only(self, method: bytes) -> Callable[[Handler], dict[bytes, Handler]]:
        return lambda handler: {method: handler, b"HEAD": handler} if method == b"GET" else {method: handler}

    def _route(self, raw: bytes) -> tuple[dict[bytes, Handler], str, str | None]:
        try:
            path = unquote_to_bytes(raw).decode() if b"%" in raw else raw.decode("ascii")
        except UnicodeDecodeError as e:
            raise RequestError("is not UTF-8", field="path", value=raw[:100]) from e
        fixed = self._fixed.get(path)
        if fixed is not None:
            found: tuple[dict[bytes, Handler], str, str | None] = (fixed, "", None)
        else:
            found = self._model_route(path)
        # Only paths of models that are there are kept: a client cannot fill the table.
        if len(self._found) < _LIMIT_ROUTES and (fixed is not None or found[1] in self._service.models):
            self._found[raw] = found
        return found

    def _model_route(self, path: str) -> tuple[dict[bytes, Handler], str, str | None]:
        get, post = self._only(b"GET"), self._only(b"POST")
        parts = path.split("/")[1:]
        match parts:
            case ["v1", "models", rest] if rest.endswith(":predict"):
                return post(self._predict), rest.removesuffix(":predict"), None
            case ["v1", "models", rest] if rest.endswith(":explain"):
                return post(self._explain), rest.removesuffix(":explain"), None
            case ["v2", "repository", "models", name, "load"] if name:
                return post(_inside(lambda exchange, name, _: self._repository.load(exchange, name))), name, None
            case ["v2", "repository", "models", name, "unload"] if name:
                return post(_inside(lambda exchange, name, _: self._repository.unload(exchange, name))), name, None
            case ["v2", "results", job] if self._jobs is not None:
                jobs = self._jobs
                return (
                    {
                        b"GET": lambda exchange, job, _: jobs.fetch(exchange, job),
                        b"DELETE": lambda exchange, job, _: jobs.delete(exchange, job),
                    },
                    job,
                    None,
                )
            case ["v1", "models", name] if name:
                return get(self._model_v1), name, None
            case ["v2", "models", name, "versions", version, *tail] if name and version:
                return self._v2(tail, path), name, version
            case ["v2", "models", name, *tail] if name:
                return self._v2(tail, path), name, None
        raise NotFound("no such path", field="path", value=path, fix="GET /openapi.json lists them")

    def _v2(self, tail: list[str], path: str) -> dict[bytes, Handler]:
        get, post = self._only(b"GET"), self._only(b"POST")
        match tail:
            case [] | [""]:
                return get(self._model)
            case ["ready"]:
                return get(self._model_ready)
            case ["infer"]:
                return post(self._infer)
            case ["feedback"] if self._service.predictions is not None:
                return post(self._feedback)
        raise NotFound("no such path", field="path", value=path, fix="GET /openapi.json lists them")

    # the server
    def _root(self, exchange: Exchange, _: str, __: str | None) -> None:
        exchange.send(200, b'{"status":"alive"}')

    def _server(self, exchange: Exchange, _: str, __: str | None) -> None:
        exchange.send_json(200, {"name": "sluice", "version": __version__, "extensions": EXTENSIONS})

    def _live(self, exchange: Exchange, _: str, __: str | None) -> None:
        exchange.send(200, b'{"live":true}')

    def _ready(self, exchange: Exchange, _: str, __: str | None) -> None:
        ready = self._service.ready
        exchange.send(200 if ready else 503, b'{"ready":true}' if ready else b'{"ready":false}')

    def _metrics(self, exchange: Exchange, _: str, __: str | None) -> None:
        exchange.send(200, render(self._service.pages), METRICS_TYPE)

    def _models(self, exchange: Exchange, _: str, __: str | None) -> None:
        found: dict[str, Any] = {"models": sorted(self._service.models)}
        if prompts := [n for n, s in sorted(self._service.models.items()) if s.model.remote is not None]:
            found |= {"object": "list", "data": [{"id": n, "object": "model", "created": 0, "owned_by": "sluice"} for n in prompts]}
        exchange.send_json(200, found)

    def _openapi(self, exchange: Exchange, _: str, __: str | None) -> None:
        changes, feedback = bool(self._settings.allow_load), self._service.predictions is not None
        exchange.send_json(
            200,
            openapi.document(
                self._service.models,
                changes=changes,
                feedback=self._settings.outcomes if feedback else None,
                user_header=self._settings.user_header,
            ),
        )

    def _feedback(self, exchange: Exchange, name: str, version: str | None) -> None:
        predictions = self._service.predictions
        assert predictions is not None
        outside.check_feedback(exchange.headers, self._settings.feedback_token)
        served = self._service.served(name, version)
        items = feedback_items(served.model, exchange.body, self._settings.outcomes, self._settings.answers)
        of = users.known(exchange.headers.get(self._user_header), exchange.headers.get(b"cookie"))
        groups = [item.pop("group", of) for item in items]
        if not predictions.feedback(name, items):
            raise Overloaded("the prediction log is full", retry_after=1)
        for item, group in zip(items, groups, strict=True):
            if "outcome" in item:
                served.counters.outcome(item["outcome"], group)
        exchange.send_json(202, {"accepted": len(items)})

    def sweep(self) -> None:
        """Now and then: forget old results."""
        if self._jobs is not None:
            self._jobs.sweep()

    # one model
    def _model(self, exchange: Exchange, name: str, version: str | None) -> None:
        served = self._service.served(name, version)
        exchange.send_json(200, {**served.metadata, "parameters": served.details}, served.model.head)

    def _model_ready(self, exchange: Exchange, name: str, version: str | None) -> None:
        served = self._service.served(name, version)
        if not self._service.ready:
            raise Unavailable("the server is shutting down", retry_after=1)
        exchange.send_json(200, {"name": name, "ready": True}, served.model.head)

    def _model_v1(self, exchange: Exchange, name: str, version: str | None) -> None:
        served = self._service.served(name, version)
        exchange.send_json(200 if self._service.ready else 503, {"name": name, "ready": self._service.ready}, served.model.head)

    # inference
    def _predict(self, exchange: Exchange, name: str, version: str | None) -> None:
        service, settings = self._service, self._settings
        served = service.served(name, version)
        model = served.model

        def done(error: BaseException | None) -> int:
            if error is not None:
                exchange.fail(error, head)
            else:
                exchange.send(200, v1.render(model, call.outputs, call.best), extra=head + _receipt(call))
            return 499 if exchange.gone else exchange.status

        call, head = self._call(exchange, served, done)
        try:
            units, order, raw = v1.parse(model, exchange.body, settings.max_batch, settings.max_rows)
            call.ask(units, order, raw)
        except Exception as e:
            self._failed(call, e)

    def _explain(self, exchange: Exchange, name: str, version: str | None) -> None:
        """Counted by no series that a rollout judges: it takes as long as thousands of answers."""
        service = self._service
        served = service.served(name, version)

        def done(found: list[dict[str, Any]] | None, error: BaseException | None) -> None:
            service.calls -= 1
            served.calls -= 1
            if error is not None:
                if status_of(error) >= 500:
                    log.error("an explanation by %s failed", name, exc_info=error)
                exchange.fail(error, served.model.head)
            else:
                exchange.send_json(200, {"explanations": found}, served.model.head)

        service.explanations.ask(served.model, exchange.body, done)
        service.calls += 1
        served.calls += 1

    def _infer(self, exchange: Exchange, name: str, version: str | None) -> None:
        service, settings = self._service, self._settings
        served = service.served(name, version)
        model = served.model
        wanted = v2.Wanted()

        def done(error: BaseException | None) -> int:
            if error is not None:
                exchange.fail(error, head)
            else:
                body, json_length = v2.render(model, call.outputs, call.best, wanted)
                if json_length is None:
                    exchange.send(200, body, extra=head + _receipt(call))
                else:
                    exchange.send(
                        200,
                        body,
                        b"application/octet-stream",
                        b"%b%binference-header-content-length: %d\r\n" % (head, _receipt(call), json_length),
                    )
            return 499 if exchange.gone else exchange.status

        call, head = self._call(exchange, served, done)
        try:
            length = exchange.headers.get(b"inference-header-content-length")
            question = v2.parse(model, exchange.body, length, settings.max_batch, settings.max_rows)
            wanted = question.wanted
            call.ask(question.units, question.order, question.raw)
        except Exception as e:
            self._failed(call, e)

    def _chat(self, exchange: Exchange, _: str, __: str | None) -> None:
        """OpenAI's chat protocol: a served prompt, filled in by what the client says."""
        service = self._service
        if service.prompts is None:
            raise NotFound("no such path", field="path", value=exchange.path.decode("latin-1"), fix="no prompt is served here")
        from serving.runtime.prompts import chat

        try:
            doc = chat.parse(exchange.body)
            served = service.served(chat.model_of(doc, service.models))
            answer: chat.Streamed | None = None

            def done(error: BaseException | None) -> int:
                if answer is not None:
                    answer.fail(error) if error is not None else answer.end(call.told[0], asked.usage)
                elif error is not None:
                    chat.fail(exchange, error, head)
                else:
                    exchange.send(200, chat.render(call, call.told[0]), extra=head + _receipt(call))
                return 499 if exchange.gone else exchange.status if error is None else status_of(error)

            call, head = self._call(exchange, served, done)
        except Exception as e:
            self._unexplained(exchange.path.decode("latin-1"), e)
            chat.fail(exchange, e)
            return
        try:
            asked = chat.Asked(served.model.remote, doc)
            if asked.stream:
                answer = chat.Streamed(exchange, head)
                answer.call = call
            units, order = units_of_rows(served.model, [asked.values], 1)
            call.ask(units, order, [asked.values], asked.chat(answer))
        except Exception as e:
            self._failed(call, e)

    def _call(self, exchange: Exchange, served: Any, done: Callable[[BaseException | None], int]) -> tuple[Call, bytes]:
        """The call, and the header lines of its answer."""
        head: bytes = served.model.head
        group = users.known(exchange.headers.get(self._user_header), exchange.headers.get(b"cookie"))
        if group is None and (group := users.drawn(exchange.headers)) is not None:
            head += users.cookie(group)
        fresh = b"no-" in exchange.headers.get(b"cache-control", b"")
        deadline = self._service.deadline(deadline_of(exchange.headers))
        trace = exchange.trace
        call = Call(
            self._service, served, done, exchange.arrived, deadline, lambda: exchange.request_id, trace[0] if trace else None, fresh, group
        )
        exchange.model = served.model
        exchange.on_gone = call.cancel
        return call, head

    def _failed(self, call: Call, error: Exception) -> None:
        self._unexplained(f"a request to model {call.served.model.name}", error)
        call.fail(error)

    def _unexplained(self, what: str, error: Exception) -> None:
        if status_of(error) >= 500 and not isinstance(error, SluiceError):
            log.exception("%s failed", what)


def _inside(handler: Handler) -> Handler:
    """For those alone who ask the server itself."""

    def checked(exchange: Exchange, name: str, version: str | None) -> None:
        outside.keep_inside(exchange.headers, exchange.path.decode("latin-1"))
        handler(exchange, name, version)

    return checked


def _receipt(call: Call) -> bytes:
    """The header line by which feedback of this answer is known for good."""
    found = call.receipt()
    return b"x-sluice-receipt: %b\r\n" % found if found else b""


def deadline_of(headers: dict[bytes, bytes]) -> float | None:
    """Milliseconds left to a request: ``x-sluice-deadline-ms``, or what Envoy says it waits.

    Raises:
        RequestError: no number of milliseconds.
    """
    raw = headers.get(b"x-sluice-deadline-ms") or headers.get(b"x-envoy-expected-rq-timeout-ms")
    if raw is None:
        return None
    try:
        value = float(raw)
    except ValueError:
        value = -1.0
    if not 0 < value <= _LIMIT_DEADLINE:
        raise RequestError(
            "must be a number of milliseconds above 0", field="x-sluice-deadline-ms", value=raw.decode("latin-1"), fix="for example 250"
        )
    return value
