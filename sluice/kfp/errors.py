"""What can go wrong with a Kubeflow Pipelines endpoint, each its own type."""

from __future__ import annotations

from sluice.core.errors import SluiceError


class EndpointError(SluiceError):
    """The endpoint cannot be used as asked.

    Attributes:
        status: the HTTP status; 0 when there was no answer.
        reason: one word for conditions and events.
    """

    status = 0
    reason = "PipelinesFault"


class Unreachable(EndpointError):
    """Nothing answers there: refused, timed out, no such host, no TLS that can be trusted; or a proxy's answer (429, 502 to 504) that no backend stands behind."""

    reason = "PipelinesUnreachable"


class Unauthorised(EndpointError):
    """The endpoint does not know who asks (401), or does not let them (403)."""

    exit_code = 2
    reason = "PipelinesUnauthorized"


class NotFound(EndpointError):
    """There is no such thing, or no such path (404)."""

    exit_code = 2
    reason = "NotFound"


class Conflict(EndpointError):
    """There is one of that name already, or someone was faster (409)."""

    exit_code = 2
    reason = "Conflict"


class Rejected(EndpointError):
    """The endpoint finds the request wrong (other 4xx): a parameter the pipeline does not have, for example."""

    exit_code = 2
    reason = "Rejected"


class EndpointFault(EndpointError):
    """The endpoint failed (5xx), or answered something that is not its API."""

    reason = "PipelinesBroken"
