"""Who may act: whoever showed the token. A session is a cookie that no script reads; every form of it carries a word made from it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from sluice.core.errors import ProjectError
from sluice.ui.guard import Refused, checked_origin

#: Characters of a token at least. Seconds a session lasts, and how many there are at most.
SHORTEST, LASTS, MOST = 16, 12 * 3600.0, 100


class Sessions:
    """The token, and who has shown it.

    Args:
        token: what opens a session; None: nobody may act. port: this server's, by which its cookie is told from those of others here.

    Raises:
        ProjectError: a token that can be guessed.
    """

    def __init__(self, token: str | None, port: int, clock: Callable[[], float] = time.monotonic):
        if token is not None and len(token) < SHORTEST:
            raise ProjectError(
                f"has fewer than {SHORTEST} characters",
                field="--token-file",
                fix="python -c 'import secrets; print(secrets.token_urlsafe())'",
            )
        self.token, self.cookie, self.clock = token, f"sluice-ui-{port}", clock
        self._key, self._open = secrets.token_bytes(32), dict[str, float]()

    @property
    def actions(self) -> bool:
        """Whether anybody may act here."""
        return self.token is not None

    def is_token(self, given: str) -> bool:
        """Whether it is the token, in a time that does not tell how much of it is right."""
        if self.token is None:
            return False
        return hmac.compare_digest(*(hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest() for t in (given.strip(), self.token)))

    def begin(self, response: Response) -> None:
        """Open a session in the browser that gets this answer."""
        now = self.clock()
        self._open = {k: end for k, end in list(self._open.items())[-MOST + 1 :] if end > now}
        key = secrets.token_urlsafe(32)
        self._open[key] = now + LASTS
        response.set_cookie(self.cookie, key, httponly=True, samesite="strict", path="/", max_age=int(LASTS))

    def end(self, request: Request, response: Response) -> None:
        """Close it."""
        self._open.pop(request.cookies.get(self.cookie, ""), None)
        response.delete_cookie(self.cookie, path="/", httponly=True, samesite="strict")

    def of(self, request: Request) -> str | None:
        """The session of a request, None where it has none."""
        key = request.cookies.get(self.cookie, "")
        return key if self._open.get(key, 0.0) > self.clock() else None

    def word(self, session: str) -> str:
        """What every form of a session carries, which no other page can know."""
        return hmac.new(self._key, session.encode(), "sha256").hexdigest()

    def may(self, request: Request, fields: dict[str, str]) -> None:
        """Raises `Refused` unless this request may change something: a form of ours in a session, or a program that shows the token."""
        if self.token is None:
            raise Refused("this page is read-only", 403, fix="start it with `sluice ui --actions`")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme:
            checked_origin(request, needed=False)
            if scheme.lower() != "bearer" or not self.is_token(given):
                raise Refused("the token is not right", 401, field="Authorization", fix="Bearer TOKEN, as printed when this started")
            return
        checked_origin(request, needed=True)
        session = self.of(request)
        if session is None:
            raise Refused("nobody is signed in", 401, fix="sign in with the token that was printed when this page started")
        if not hmac.compare_digest(fields.get("csrf", "").encode("utf-8", "surrogatepass"), self.word(session).encode()):
            raise Refused("the form is not of this session", 403, field="csrf", fix="open the page again and press its button")
