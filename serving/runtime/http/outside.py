"""What is not for everybody: counters, the repository and feedback, where a request came in through a gateway.

A gateway says so by headers that it writes itself, whatever its client sent, and that nobody inside sends: a client who writes them shuts
itself out and nobody in. So the rule holds behind every route, KServe's own too, and beside what a route lets through.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from serving.runtime.errors import NotFound, RequestError

#: Each is written by Envoy, nginx, HAProxy or a cloud's load balancer for what they forward.
FORWARDED = (
    b"x-forwarded-for",
    b"forwarded",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-real-ip",
    b"x-envoy-external-address",
    b"x-envoy-internal",
    b"x-envoy-expected-rq-timeout-ms",
    b"via",
)


def came_from_outside(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a gateway or proxy forwarded the request."""
    return any(name in headers for name in FORWARDED)


def keep_inside(headers: Mapping[bytes, bytes], path: str) -> None:
    """Raises `NotFound` for a request from outside: there is no such path for it."""
    if came_from_outside(headers):
        raise NotFound("no such path", field="path", value=path, fix="ask the server itself: this is not served through a gateway")


def check_feedback(headers: Mapping[bytes, bytes], token: str | None) -> None:
    """Who may tell feedback: anybody inside where the server has no token, else who has it.

    Raises:
        RequestError: 401 without the token, 403 from outside of a server that has none.
    """
    if token is not None:
        given = headers.get(b"authorization", b"")
        scheme, _, secret = given.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(secret.strip(), token.encode()):
            raise RequestError(
                "is not the server's token",
                field="authorization",
                status=401,
                fix="send authorization: Bearer TOKEN (SLUICE_FEEDBACK_TOKEN)",
            )
    elif came_from_outside(headers):
        raise RequestError(
            "is taken through a gateway from those alone who have a token, and this server has none",
            field="feedback",
            status=403,
            fix="start it with SLUICE_FEEDBACK_TOKEN (on a cluster the Secret sluice-feedback), or tell it inside",
        )
