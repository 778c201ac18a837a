"""The application: addresses and what answers them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from sluice.core.errors import SluiceError
from sluice.report.page import POLICY
from sluice.ui import live
from sluice.ui.actions import Actions
from sluice.ui.guard import Guard, Refused, checked_origin, form
from sluice.ui.models import environments_of, viewed
from sluice.ui.page import FOLDER, Pages, part, templates
from sluice.ui.session import Sessions
from sluice.ui.shape import Missing, Place

_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
#: A report is a page of its own, which runs nothing; it is shown in no frame of others.
_REPORT = f"{POLICY}; frame-ancestors 'none'; sandbox allow-popups"
#: Where somebody may be sent after signing in: a path of ours.
_PATH = re.compile(r"/(?!/)[A-Za-z0-9._~%/-]*(\?[A-Za-z0-9._~%&=+@-]*)?")
#: Seconds a wrong token waits for its answer.
_WRONG = 0.5


class Ui:
    """Answers requests about one place."""

    def __init__(self, place: Place, sessions: Sessions, *, private: bool = False):
        self.place, self.sessions, self.private = place, sessions, private
        self.pages, self.hub = Pages(place, sessions), live.Hub()

    # -- looking

    def runs(self, request: Request) -> Response:
        """The list of runs."""
        asked = request.query_params
        project, outcome = asked.get("project", "")[:200], asked.get("outcome", "")[:40]
        found = self.place.runs(_number(asked.get("page")), project, outcome)
        return self.pages.draw(
            request,
            "runs.html",
            "Runs",
            page=found,
            project=project,
            outcome=outcome,
            projects=self.place.projects(),
            outcomes=self.place.outcomes,
        )

    def run(self, request: Request) -> Response:
        """One run."""
        found = self.place.run(request.path_params["name"])
        return self.pages.draw(request, "run.html", found.line.id, run=found)

    def report(self, request: Request) -> Response:
        """A run's report, as it was drawn."""
        return HTMLResponse(self.place.report(request.path_params["name"]), headers={"content-security-policy": _REPORT})

    def models(self, request: Request) -> Response:
        """The registered models."""
        return self.pages.draw(request, "models.html", "Models", models=self.place.models())

    def model(self, request: Request) -> Response:
        """One model: its versions, where they stand, what they were made of."""
        name = request.path_params["name"]
        found = self.place.model(name)
        environments = environments_of(found.versions)
        return self.pages.draw(
            request, "model.html", name, model=found, environments=environments, versions=[viewed(v, environments) for v in found.versions]
        )

    def compare(self, request: Request) -> Response:
        """Two versions side by side; without them, what may be chosen."""
        a, b = (request.query_params.get(k, "")[:300] for k in ("a", "b"))
        found = self.place.compare(a, b) if a and b else None
        return self.pages.draw(request, "compare.html", "Compare two versions", models=self.place.models(), a=a, b=b, found=found)

    def rollouts(self, request: Request) -> Response:
        """The rollouts."""
        return self.pages.draw(request, "rollouts.html", "Rollouts", rollouts=self.place.rollouts())

    def rollout(self, request: Request) -> Response:
        """One rollout, live while it runs."""
        name = request.path_params["name"]
        return self.pages.draw(request, "rollout.html", f"Rollout of {name}", found=self.place.rollout(name))

    def monitors(self, request: Request) -> Response:
        """The models that are watched."""
        return self.pages.draw(request, "monitors.html", "Monitors", monitors=self.place.monitors())

    def audit(self, request: Request) -> Response:
        """The audit log."""
        asked = request.query_params
        model = asked.get("model", "")[:200]
        return self.pages.draw(request, "audit.html", "Audit trail", trail=self.place.audit(_number(asked.get("page")), model), model=model)

    async def events(self, request: Request) -> Response:
        """A rollout's events, as they come."""
        name = request.path_params["name"]
        first = await run_in_threadpool(self.place.rollout, name)

        async def look() -> tuple[str, bool]:
            found = await run_in_threadpool(self.place.rollout, name)
            return await run_in_threadpool(_fragment, found), not found["running"]

        async def changed() -> Any:
            return await run_in_threadpool(self.place.changed, name)

        every = live.CLUSTER if self.place.cluster else live.HERE
        stream = await self.hub.stream(first["name"], lambda: live.Watched(look, None if self.place.cluster else changed, every))
        return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    # -- signing in

    async def sign_in(self, request: Request) -> Response:
        """The form for the token, and what comes of it."""
        if request.method != "POST":
            return self.pages.draw(request, "signin.html", "Sign in", next=_path(request.query_params.get("next", "/")), wrong=False)
        checked_origin(request, needed=True)
        fields = await form(request)
        if not self.sessions.actions and not self.private:
            raise Refused("this page is read-only", 403, fix="start it with `sluice ui --actions`")
        if not self.sessions.is_token(fields.get("token", "")):
            await asyncio.sleep(_WRONG)
            return self.pages.draw(request, "signin.html", "Sign in", status=403, next=_path(fields.get("next", "/")), wrong=True)
        answer = RedirectResponse(_path(fields.get("next", "/")), 303)
        self.sessions.begin(answer)
        return answer

    async def sign_out(self, request: Request) -> Response:
        """The end of a session."""
        self.sessions.may(request, await form(request))
        answer = RedirectResponse("/", 303)
        self.sessions.end(request, answer)
        return answer

    # -- what went wrong

    async def explained(self, request: Request, error: Exception) -> Response:
        """An error that is explained."""
        assert isinstance(error, SluiceError)
        if isinstance(error, Refused) and error.status == 401 and request.method == "GET":
            return RedirectResponse(f"/signin?next={part(request.url.path)}", 303)
        status = error.status if isinstance(error, Refused) else None
        return await run_in_threadpool(self.pages.failure, request, error, status)

    async def http(self, request: Request, error: Exception) -> Response:
        """No such address."""
        assert isinstance(error, HTTPException)
        said = Missing("is no address of this page", field="address", value=request.url.path[:200], fix="go by the links above")
        return await run_in_threadpool(self.pages.failure, request, said, error.status_code)

    async def fault(self, request: Request, error: Exception) -> Response:
        """Something of ours is broken: it is in the log, not on the page."""
        said = SluiceError("this page could not be drawn", fix="what went wrong is in the log of `sluice ui`")
        return await run_in_threadpool(self.pages.failure, request, said, 500)

    def static(self, request: Request) -> Response:
        """A file of ours."""
        return _static(request.path_params["file"])

    def looking(self, see: Callable[[Request], Any]) -> Callable[[Request], Any]:
        """A page that only who is signed in sees, where the whole is private."""
        if not self.private:
            return see

        async def seen(request: Request) -> Response:
            if self.sessions.of(request) is None:
                raise Refused("nobody is signed in", 401, fix="sign in with the token")
            if asyncio.iscoroutinefunction(see):
                found: Response = await see(request)
            else:
                found = await run_in_threadpool(see, request)
            return found

        return seen


def application(place: Place, sessions: Sessions, hosts: Iterable[str], *, private: bool = False) -> ASGIApp:
    """The whole of it.

    Args:
        place: what is looked at. sessions: who may act. hosts: values of ``Host`` it answers to. private: also looking needs the token.
    """
    ui = Ui(place, sessions, private=private)
    see, acts, both = ui.looking, Actions(place, ui.pages), ["GET", "POST"]
    routes = [
        Route("/", see(ui.runs)),
        Route("/runs/{name}", see(ui.run)),
        Route("/runs/{name}/report", see(ui.report)),
        # As reports name each other, seen from one.
        Route("/runs/{name}/index.html", see(ui.report)),
        Route("/models", see(ui.models)),
        Route("/models/{name}", see(ui.model)),
        Route("/compare", see(ui.compare)),
        Route("/rollouts", see(ui.rollouts)),
        Route("/rollouts/{name}", see(ui.rollout)),
        Route("/rollouts/{name}/events", see(ui.events)),
        Route("/monitors", see(ui.monitors)),
        Route("/audit", see(ui.audit)),
        Route("/rollouts/{name}/{command}", acts.rollout, methods=both),
        Route("/models/{name}/promote", acts.promote, methods=both),
        Route("/models/{name}/rollback", acts.rollback, methods=both),
        Route("/signin", ui.sign_in, methods=["GET", "POST"]),
        Route("/signout", ui.sign_out, methods=["POST"]),
        Route("/static/{file}", ui.static),
        Route("/healthz", lambda request: PlainTextResponse("ok\n")),
    ]
    handlers: dict[Any, Any] = {SluiceError: ui.explained, HTTPException: ui.http, Exception: ui.fault}
    # Outside all of it, so that also the page of a fault has its headers.
    return Guard(Starlette(routes=routes, exception_handlers=handlers), hosts)


def _fragment(found: Any) -> str:
    return templates().get_template("_rollout.html").render(found=found)


def _static(name: str) -> Response:
    path = FOLDER / "static" / name
    if path.parent != FOLDER / "static" or path.suffix not in _KINDS or not path.is_file():
        raise Missing("is no file of this page", field="address", value=name[:200])
    return Response(path.read_bytes(), media_type=_KINDS[path.suffix], headers={"cache-control": "max-age=86400"})


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 6 and int(text) > 0 else 1


def _path(text: str) -> str:
    return text if _PATH.fullmatch(text) else "/"
