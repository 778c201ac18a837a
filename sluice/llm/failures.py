"""Why a call of a model endpoint gave no answer: one class a reason, none of which ever holds a key."""

from __future__ import annotations

from typing import Any

from sluice.core.errors import SluiceError
from sluice.llm.http1 import Malformed


class EndpointError(SluiceError):
    """A call that gave no answer.

    Attributes:
        kind: the reason in one word, for counters and reports.
        again: whether the same call may be tried again.
        fault: whether it speaks against the endpoint (counted by the circuit breaker).
        billed: whether it may have been billed although no answer came.
        status: the endpoint's HTTP status, 0 where it gave none.
        retry_after: seconds the endpoint asked to wait, None where it did not ask.
        attempts: how often the call was sent before it was given up.
    """

    kind, again, fault, billed = "error", False, False, False

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None, **where: Any):
        super().__init__(message, **where)
        self.status, self.retry_after, self.attempts = status, retry_after, 0


class Unreachable(EndpointError):
    """No connection: refused, no such host, no TLS."""

    kind, again, fault = "unreachable", True, True


class TimedOut(EndpointError):
    """The deadline passed, or the endpoint was silent for longer than it may be."""

    kind, again, fault, billed = "timeout", True, True, True


class Limited(EndpointError):
    """The endpoint refuses for now (429)."""

    kind, again = "limited", True


class ServerFault(EndpointError):
    """The endpoint failed (5xx, or an error in the middle of a stream)."""

    kind, again, fault = "server_error", True, True


class Cut(EndpointError):
    """The connection ended before the answer did."""

    kind, again, fault, billed = "cut", True, True, True


class BadAnswer(EndpointError):
    """An answer that is none: no JSON, not of the protocol, or larger than is read."""

    kind, again, fault, billed = "bad_answer", True, True, True


class Refused(EndpointError):
    """The endpoint does not take the call (4xx): the key, the model's name, a parameter."""

    kind = "refused"


class BreakerOpen(EndpointError):
    """The endpoint failed so often that it is left alone for a while."""

    kind = "breaker_open"


class BudgetSpent(EndpointError):
    """The call could cost more than is left of the budget."""

    kind = "budget"


#: What to do about an answer that is not OpenAI's.
LOOK = "see that endpoint.url is the base of an OpenAI-compatible API (http://HOST:PORT/v1)"
_AGAIN = "see what its log says, or try again"


def explained(error: BaseException, authority: str) -> EndpointError:
    """What was met while an endpoint was asked, as an error that names the endpoint and says what to do.

    Args:
        error: an `EndpointError`, or what the connection raised.
        authority: of the endpoint's address.
    """
    where: dict[str, Any] = {"field": f"endpoint {authority}"}
    if isinstance(error, BadAnswer | ServerFault | Cut):
        if not (error.field or "").startswith("endpoint "):
            error.field = f"endpoint {authority}" + (f": {error.field}" if error.field else "")
        error.fix = error.fix or (LOOK if isinstance(error, BadAnswer) else _AGAIN)
        error.args = (error.describe(),)
    if isinstance(error, EndpointError):
        return error
    if isinstance(error, TimeoutError):
        return TimedOut("did not answer in time", fix="raise the deadline, or endpoint.timeouts", **where)
    if isinstance(error, EOFError | ConnectionResetError | BrokenPipeError):
        return Cut("ended the connection before the answer was whole", fix=_AGAIN, **where)
    if isinstance(error, Malformed):
        return BadAnswer(str(error), fix=LOOK, **where)
    return Unreachable(f"cannot be reached: {error.__class__.__name__}", fix="look at endpoint.url, and whether it is up", **where)
