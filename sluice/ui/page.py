"""Pages out of templates: every text is escaped, and every page says its nonce to the browser."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from sluice import __version__
from sluice.core.errors import SluiceError
from sluice.kfp.errors import Unauthorised
from sluice.report.svg import number
from sluice.report.words import coded
from sluice.ui.session import Sessions
from sluice.ui.shape import Forbidden, Missing, Place

log = logging.getLogger(__name__)

_FAILURE = "failure.html"
FOLDER = Path(__file__).parent
#: Outcomes, decisions, phases and verdicts, by the colour they have.
_COLOURS = {
    "good": ("promoted", "succeeded", "quiet", "would promote", "pass", "Succeeded", "ok", "whole", "champion"),
    "bad": (
        "refused",
        "would refuse",
        "refuse",
        "rolled_back",
        "failed",
        "fail",
        "RolledBack",
        "RollingBack",
        "Failed",
        "alarm",
        "changed",
        "unreadable",
    ),
    "warn": ("inconclusive", "would roll back", "rolled back", "warn", "wait", "Paused", "interrupted", "caution", "Superseded"),
    "live": ("running", "Pending", "Shadow", "Warmup", "Step", "Promoting", "Verifying", "candidate"),
}


def colour(word: Any) -> str:
    """The class of a badge."""
    return next((c for c, words in _COLOURS.items() if str(word) in words), "plain")


def when(seconds: Any, form: str = "%Y-%m-%d %H:%M") -> str:
    """A moment, UTC."""
    try:
        return datetime.fromtimestamp(float(seconds), UTC).strftime(form)
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def took(seconds: Any) -> str:
    """How long, for a person."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def figure(value: Any) -> str:
    """A number, or what stands in the place of one."""
    return (
        number(float(value))
        if isinstance(value, int | float) and not isinstance(value, bool)
        else "–"
        if value is None
        else str(value)[:100]
    )


def part(text: Any) -> str:
    """A text as one part of an address."""
    return quote(str(text), safe="")


def query(**what: Any) -> str:
    """The query of an address, without what is empty."""
    found = urlencode({k: v for k, v in what.items() if v not in ("", None)})
    return f"?{found}" if found else ""


@cache
def static(name: str) -> str:
    """The address of a file of ours, which changes with it."""
    return f"/static/{name}?v={hashlib.sha256((FOLDER / 'static' / name).read_bytes()).hexdigest()[:12]}"


@cache
def templates() -> Environment:
    """The templates."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {
        "when": when,
        "took": took,
        "figure": figure,
        "part": part,
        "colour": colour,
        "coded": lambda text: Markup(coded(str(text))),
    }
    made.globals |= {"static": static, "query": query, "version": __version__}
    return made


class Pages:
    """Draws pages for one place.

    Args:
        place: what is looked at. sessions: who may act.
    """

    def __init__(self, place: Place, sessions: Sessions):
        self.place, self.sessions = place, sessions

    def draw(self, request: Request, name: str, title: str, *, status: int = 200, **what: Any) -> HTMLResponse:
        """One page, HTML."""
        session = self.sessions.of(request)
        around = {
            "title": title,
            "nonce": request.state.nonce,
            "place": self.place,
            "at": request.url.path,
            "actions": self.sessions.actions,
            "signed_in": session is not None,
            "csrf": self.sessions.word(session) if session else "",
        }
        try:
            text = templates().get_template(name).render(**around, **what)
        except (UndefinedError, TypeError, ValueError, KeyError, AttributeError) as e:
            if name == _FAILURE:
                raise
            log.warning("%s was not drawn", request.url.path, exc_info=e)
            return self.failure(
                request, SluiceError("what is kept of it is of another kind", fix="what was odd is in the log of `sluice ui`")
            )
        return HTMLResponse(text, status)

    def failure(self, request: Request, error: SluiceError, status: int | None = None) -> HTMLResponse:
        """The page of something that did not work: what, where, what to do."""
        code = status or status_of(error)
        title = _TITLES.get(code, "This did not work")
        return self.draw(request, _FAILURE, title, status=code, error=_told(error))


_TITLES = {
    400: "This cannot be read",
    401: "Sign in first",
    403: "This may not be done here",
    404: "There is no such thing here",
    409: "Nothing was changed",
    502: "Something did not answer",
}


def status_of(error: SluiceError) -> int:
    """Of HTTP: not there, asked wrongly, or something else's fault."""
    if isinstance(error, Missing):
        return 404
    if isinstance(error, Forbidden | Unauthorised):
        return 403
    return 502 if error.exit_code == 1 else 404


def _told(error: SluiceError) -> Mapping[str, Any]:
    return {k: "" if v is None else str(v)[:2000] for k, v in error.to_dict().items()}
