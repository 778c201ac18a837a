"""Refused requests, each with its HTTP status."""

from __future__ import annotations

from typing import Any

from sluice.core.errors import InputError, SluiceError


class RequestError(SluiceError):
    """A request that gets no answer from the model: `status` says whose fault it is and what to do."""

    status = 400

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None, **where: Any):
        super().__init__(message, **where)
        if status is not None:
            self.status = status
        self.retry_after = retry_after


class NotFound(RequestError):
    """No such path, model, version or result (404)."""

    status = 404


class Overloaded(RequestError):
    """The queue is full (429): come back after `retry_after` seconds."""

    status = 429


class Expired(RequestError):
    """The request's deadline passed before the model was asked (504)."""

    status = 504


class TooLarge(RequestError):
    """A body or a number of rows beyond the limit (413)."""

    status = 413


class Unavailable(RequestError):
    """Starting, draining, or the model is not loaded (503)."""

    status = 503


class ModelFault(RequestError):
    """The model failed on an input the contract allows, or gave numbers that are none (500)."""

    status = 500


def status_of(error: BaseException) -> int:
    """The HTTP status of an error: 400 for a client's bad input, 500 for what nobody foresaw."""
    if isinstance(error, RequestError):
        return error.status
    return 400 if isinstance(error, InputError) else 500


def body_of(error: BaseException) -> dict[str, Any]:
    """The JSON a client gets: V2's ``error`` text, and the field, value and fix beside it.

    An unforeseen error tells its type only: its text may hold another's data.
    """
    if not isinstance(error, SluiceError):
        return {"error": f"internal error ({type(error).__name__})"}
    head = f"{error.field}: {error.message}" if error.field else error.message
    body: dict[str, Any] = {"error": head}
    if error.has_value:
        shown = repr(error.value)
        body["value"] = shown if len(shown) <= 200 else shown[:197] + "..."
    if error.fix:
        body["fix"] = error.fix
    return body
