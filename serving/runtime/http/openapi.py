"""The server's OpenAPI 3.1 document, with the models it serves."""

from __future__ import annotations

from typing import Any

from serving.runtime.process.service import Served
from serving.runtime.protocols.tensors import DATATYPES
from sluice import __version__

_TENSOR_PARAMETERS = {"type": "object"}
_SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}, "value": {"type": "string"}, "fix": {"type": "string"}},
    },
    "InputTensor": {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"enum": list(DATATYPES)},
            "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer", "minimum": 0}}},
            "data": {"type": "array"},
        },
    },
    "OutputTensor": {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"enum": list(DATATYPES)},
            "parameters": _TENSOR_PARAMETERS,
            "data": {"type": "array"},
        },
    },
    "InferRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "maxLength": 1024},
            "parameters": {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
            "inputs": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/InputTensor"}},
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string"},
                        "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
                    },
                },
            },
        },
    },
    "InferResponse": {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/OutputTensor"}},
        },
    },
    "PredictRequest": {"type": "object", "required": ["instances"], "properties": {"instances": {"type": "array", "minItems": 1}}},
    "PredictResponse": {"type": "object", "required": ["predictions"], "properties": {"predictions": {}}},
    "ModelMetadata": {
        "type": "object",
        "required": ["name", "versions", "platform", "inputs", "outputs"],
        "properties": {
            "name": {"type": "string"},
            "versions": {"type": "array", "items": {"type": "string"}},
            "platform": {"type": "string"},
            "inputs": {"type": "array"},
            "outputs": {"type": "array"},
            "parameters": {"type": "object"},
        },
    },
    "Feedback": {
        "type": "object",
        "required": ["request_id"],
        "properties": {
            "request_id": {"type": "string", "minLength": 1, "maxLength": 128},
            "row": {"type": "integer", "minimum": 0, "maximum": 2147483647},
            "label": {},
            "receipt": {"type": "string", "maxLength": 128},
            "outcome": {"type": "number"},
            "user": {"type": "string", "minLength": 1, "maxLength": 1024},
        },
    },
    "Accepted": {
        "type": "object",
        "required": ["id", "state", "href"],
        "properties": {"id": {"type": "string"}, "state": {"type": "string"}, "href": {"type": "string"}},
    },
}
_REASONS = {
    400: "the request is wrong",
    401: "the token of feedback is missing or another",
    403: "not allowed on this server",
    404: "no such model, version or result",
    405: "another method is needed",
    413: "larger than the limit",
    415: "a content encoding that is not taken",
    422: "the package is refused; the old one serves on",
    429: "too much waits; Retry-After says when",
    431: "headers too large",
    500: "the model failed",
    503: "starting or shutting down",
    504: "the deadline passed",
}


def _json(schema: str | dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema}}


def _answers(ok: Any, *codes: int, status: int = 200) -> dict[str, Any]:
    out: dict[str, Any] = {str(status): {"description": "done", **({"content": ok} if ok else {})}}
    return out | {str(c): {"description": _REASONS[c], "content": _json("Error")} for c in codes}


_INFER = (400, 404, 413, 415, 429, 431, 500, 503, 504)
_PLAIN = {"type": "object"}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
_JOB = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_HEADERS: tuple[dict[str, Any], ...] = (
    {"name": "x-request-id", "in": "header", "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:/+=-]{1,128}$"}},
    {"name": "x-sluice-deadline-ms", "in": "header", "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 86400000}},
    {"name": "cache-control", "in": "header", "schema": {"enum": ["no-cache", "no-store"]}},
    {"name": "prefer", "in": "header", "schema": {"enum": ["respond-async"]}},
    {"name": "traceparent", "in": "header", "schema": {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"}},
)


def _get(about: str, ok: Any, *codes: int, parameters: list[Any] | None = None) -> dict[str, Any]:
    return {"get": {"summary": about, **({"parameters": parameters} if parameters else {}), "responses": _answers(ok, *codes)}}


def _post(
    about: str, body: str, ok: Any, parameters: list[Any], codes: tuple[int, ...] = _INFER, *, status: int = 200, later: bool = False
) -> dict[str, Any]:
    answers = _answers(ok, *codes, status=status)
    if later:
        answers["202"] = {"description": "accepted; the result is at href", "content": _json("Accepted")}
    return {
        "post": {
            "summary": about,
            "parameters": parameters,
            "requestBody": {"required": True, "content": _json(body)},
            "responses": answers,
        }
    }


def document(
    models: dict[str, Served], *, changes: bool, feedback: tuple[float, float] | None, user_header: str = "x-sluice-user"
) -> dict[str, Any]:
    """The document. `changes`: models may be loaded over the network. `feedback`: the smallest and largest outcome it may tell; None: it is not kept."""
    names = sorted(models)
    model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", **({"enum": names} if names else {})}}
    user = {"name": user_header, "in": "header", "schema": {"type": "string"}}
    paths = _of_server() | _of_models(model, [*_HEADERS, user]) | _of_results()
    schemas = dict(_SCHEMAS)
    if feedback:
        outcome = {"type": "number", "minimum": feedback[0], "maximum": feedback[1]}
        schemas["Feedback"] = {**_SCHEMAS["Feedback"], "properties": {**_SCHEMAS["Feedback"]["properties"], "outcome": outcome}}
        paths |= _of_feedback(model, user)
    if changes:
        paths |= _of_changes(model)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sluice model server", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _of_server() -> dict[str, Any]:
    return {
        "/v2": _get("the server", _json(_PLAIN)),
        "/v2/health/live": _get("whether the process lives", _json(_PLAIN)),
        "/v2/health/ready": _get("whether requests should be sent here", _json(_PLAIN), 503),
        "/v2/models": _get("names of the models", _json(_PLAIN)),
        "/v1/models": _get("names of the models", _json(_PLAIN)),
        "/v2/repository/index": {
            "post": {"summary": "the models and their versions", "responses": _answers(_json({"type": "array"}), 413)}
        },
        "/metrics": _get("Prometheus metrics of all workers", {"text/plain": {"schema": {"type": "string"}}}),
        "/openapi.json": _get("this document", _json(_PLAIN)),
    }


def _of_models(model: dict[str, Any], headers: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for below, parameters, what in (("", [model], "model"), ("/versions/{version}", [model, _VERSION], "version")):
        path = f"/v2/models/{{model}}{below}"
        found[path] = _get(f"what a {what} takes and gives", _json("ModelMetadata"), 404, 503, parameters=parameters)
        found[f"{path}/ready"] = _get(f"whether a {what} answers", _json(_PLAIN), 404, 503, parameters=parameters)
        about = f"ask a {what}" + ("" if below else " (Open Inference Protocol)")
        found[f"{path}/infer"] = _post(about, "InferRequest", _json("InferResponse"), [*parameters, *headers], later=True)
    return found | {
        "/v1/models/{model}": _get("whether a model answers", _json(_PLAIN), 404, 503, parameters=[model]),
        "/v1/models/{model}:predict": _post(
            "ask a model (KServe V1)", "PredictRequest", _json("PredictResponse"), [model, *headers], later=True
        ),
        "/v1/models/{model}:explain": _post(
            "what each column of a row adds to its answer (KServe V1)", "PredictRequest", _json(_PLAIN), [model, headers[0]]
        ),
    }


def _of_results() -> dict[str, Any]:
    asked = _get("an asynchronous request's answer, whatever its status", _json(_PLAIN), *_INFER, parameters=[_JOB])
    asked["get"]["responses"]["202"] = {"description": "not yet", "content": _json("Accepted")}
    forget = {"summary": "forget a result", "parameters": [_JOB], "responses": _answers(_json(_PLAIN), 404)}
    return {"/v2/results/{id}": {**asked, "delete": forget}}


def _of_feedback(model: dict[str, Any], user: dict[str, Any]) -> dict[str, Any]:
    token = {"name": "authorization", "in": "header", "schema": {"type": "string"}}
    codes = (400, 401, 403, 404, 413, 415, 429, 431, 503)
    about = "the true label, or an outcome, of an answered request"
    return {"/v2/models/{model}/feedback": _post(about, "Feedback", _json(_PLAIN), [model, user, token], codes, status=202)}


def _of_changes(model: dict[str, Any]) -> dict[str, Any]:
    given = {"type": "object", "properties": {"uri": {"type": "string"}, "digest": {"type": "string"}}}
    load = {"type": "object", "properties": {"parameters": given}}
    return {
        f"/v2/repository/models/{{model}}/{action}": {
            "post": {
                "summary": about,
                "parameters": [model],
                "requestBody": {"content": _json(load)},
                "responses": _answers(_json(_PLAIN), 400, 403, 404, 413, 415, 422, 429, 431, 503),
            }
        }
        for action, about in (("load", "load a package in a model's place"), ("unload", "stop serving a model"))
    }
