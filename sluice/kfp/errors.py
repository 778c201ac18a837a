"""What can go wrong with a Kubeflow Pipelines endpoint, each its own type."""

from __future__ import annotations

from sluice.core.errors import SluiceError


class EndpointError(SluiceError):
    """The endpoint cannot be used as asked."""


class Unreachable(EndpointError):
    """Nothing answers there: refused, timed out, no such host, no TLS that can be trusted."""


class Unauthorised(EndpointError):
    """The endpoint does not know who asks (401), or does not let them (403)."""

    exit_code = 2


class NotFound(EndpointError):
    """There is no such thing, or no such path (404)."""

    exit_code = 2


class Conflict(EndpointError):
    """There is one of that name already (409)."""

    exit_code = 2


class Rejected(EndpointError):
    """The endpoint finds the request wrong (other 4xx)."""

    exit_code = 2


class EndpointFault(EndpointError):
    """The endpoint failed (5xx), or answered something that is not its API."""
