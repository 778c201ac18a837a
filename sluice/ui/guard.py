"""What stands before every page: who may ask under which name, how much, and what a browser may do with the answer.

An address of this machine is open to every page that a browser here has open. So the name it is asked under has to be its own (a foreign name
that was pointed at this machine is refused: DNS rebinding), and what changes something has to come from a page of ours (see `session`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice.core.errors import SluiceError

#: Bytes of an address with its query, of all headers, and of a form; its fields, and characters of one.
ADDRESS, HEADERS, FORM, FIELDS, VALUE = 4096, 16 << 10, 64 << 10, 20, 4000
#: Names by which this machine calls itself.
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: a browser then says `Origin: null` of our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Refused(SluiceError):
    """A request that is not answered.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, message: str, status: int, **kwargs: object):
        super().__init__(message, **kwargs)  # type: ignore[arg-type]
        self.status = status


class Guard:
    """ASGI middleware: refuses foreign names, other methods and long addresses; puts the headers of every answer.

    Args:
        app: what answers. hosts: values of ``Host`` that are its own, small letters.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]):
        self.app, self.hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(18)
        scope.setdefault("state", {})["nonce"] = nonce

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
                headers.setdefault("content-security-policy", _POLICY.format(nonce))
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if refused := self._refused(scope):
            status, said = refused
            await PlainTextResponse(said + "\n", status, {"allow": "GET, HEAD, POST"} if status == 405 else None)(scope, receive, answer)
            return
        await self.app(scope, receive, answer)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.getlist("host")
        if len(host) != 1 or host[0].lower() not in self.hosts:
            return 421, "This name is not one of this page's own. Open it as it was printed when it started, or start it with --name HOST."
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "Only GET, HEAD and POST are answered."
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > ADDRESS:
            return 414, f"An address here has at most {ADDRESS} bytes."
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADERS:
            return 431, f"The headers of a request have at most {HEADERS} bytes here."
        return None


def hosts_of(host: str, port: int, names: Iterable[str] = ()) -> list[str]:
    """Values of ``Host`` under which a server at `host` and `port` is asked; `names` are others, with or without a port."""
    own = [*LOOPBACK, *([f"[{host}]" if ":" in host else host] if host not in ("0.0.0.0", "::") else [])]
    found = [f"{name}:{port}" for name in own] + (own if port == 80 else [])
    return [*found, *(name.lower() for name in names)]


def checked_origin(request: Request, *, needed: bool) -> None:
    """Raises `Refused` unless what a browser says of the page that sent this is ours; `needed`: it has to say so."""
    origins = request.headers.getlist("origin")
    own = {f"{scheme}://{request.headers['host'].lower()}" for scheme in ("http", "https")}
    if origins:
        if len(origins) != 1 or origins[0].lower() not in own:
            raise Refused("comes from another page", 403, field="Origin", value=origins[0][:200], fix="use the buttons of this page")
    elif needed:
        raise Refused("does not say which page it comes from", 403, field="Origin", fix="use the buttons of this page")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Refused("comes from another page", 403, field="Sec-Fetch-Site", fix="use the buttons of this page")


async def form(request: Request) -> dict[str, str]:
    """The fields of a form that was sent. Raises `Refused`: of another kind, too long, or a field twice."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > FORM:
            raise Refused(f"is longer than {FORM} bytes", 413, field="form")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/x-www-form-urlencoded":
        raise Refused("is not a form", 415, field="Content-Type", value=kind[:100], fix="application/x-www-form-urlencoded")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError as e:
        raise Refused(f"cannot be read: {e}", 400, field="form") from e
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("names a field twice", 400, field="form")
    for name, value in pairs:
        if len(value) > VALUE:
            raise Refused(f"is longer than {VALUE} characters", 413, field=name[:100])
    return found
