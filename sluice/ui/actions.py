"""What a person may do here: a page that says what will happen and asks for a word, then the deed. The same code as the command line's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sluice.core.errors import ProjectError, SluiceError
from sluice.promotion.promote import Promoted
from sluice.promotion.rollback import Back
from sluice.registry.environments import DEV
from sluice.ui.guard import Refused, form
from sluice.ui.page import Pages, part
from sluice.ui.shape import Missing, Place

#: Commands of a rollout: words of the button, what will happen, whether a reason has to be given.
COMMANDS = {
    "pause": ("Pause", "The weights stay as they are until somebody resumes it. Requests go on being answered by both models.", False),
    "resume": ("Resume", "It goes on where it was paused, and gathers the evidence of its step anew.", False),
    "abort": ("Abort", "The candidate gets no traffic any more and is rejected. The stable model goes on with all of it.", True),
    "promote": ("Promote now", "The candidate gets all traffic without the evidence that its steps would still gather.", True),
    "retry": ("Try again", "The rejected model is rolled out again, with the same plan; nothing is trained.", False),
}
#: Characters of a reason.
_REASON = 1000


@dataclasses.dataclass(frozen=True)
class Told:
    """What came of it, or would. Attributes: title; outcome; lines; conditions (answer, name, words); back: where to go on."""

    title: str
    outcome: str
    lines: Sequence[str]
    conditions: Sequence[tuple[str, str, str]] = ()
    back: str = "/"


class Actions:
    """Answers requests that change something.

    Args:
        place: what is changed. pages: how it is told.
    """

    def __init__(self, place: Place, pages: Pages):
        self.place, self.pages, self.sessions = place, pages, pages.sessions

    # -- a rollout

    async def rollout(self, request: Request) -> Response:
        """Steer a rollout."""
        name, command = request.path_params["name"], request.path_params["command"]
        if command not in COMMANDS:
            raise Missing("is not a command", field="address", value=command[:100], fix="one of " + ", ".join(COMMANDS))
        words, happens, needs = COMMANDS[command]
        if request.method != "POST":
            self._signed_in(request)
            found = await run_in_threadpool(self.place.rollout, name)
            title = f"{words}: rollout of {found['name']}"
            return self.pages.draw(
                request,
                "confirm.html",
                title,
                happens=happens,
                words=words,
                needs=needs,
                back=_rollout(name),
                preview=None,
                hidden={},
                override=False,
            )
        fields = await form(request)
        self.sessions.may(request, fields)
        reason = _reason(fields, needs)
        try:
            await run_in_threadpool(self.place.command, name, command, reason)
        except SluiceError as e:
            return self.pages.failure(request, e, 404 if isinstance(e, Missing) else 409 if e.exit_code == 2 else None)
        return RedirectResponse(_rollout(name), 303)

    # -- a model

    async def promote(self, request: Request) -> Response:
        """Put a version into an environment, if its conditions hold."""
        return await self._moved(request, "Promote", self._promote, False)

    async def rollback(self, request: Request) -> Response:
        """Put back what served before."""
        return await self._moved(request, "Roll back", self._rollback, True)

    async def _moved(self, request: Request, words: str, do: Any, needs: bool) -> Response:
        name = request.path_params["name"]
        if request.method != "POST":
            self._signed_in(request)
            asked = {k: request.query_params.get(k, "")[:100] for k in ("version", "to", "environment")}
            known = await run_in_threadpool(self.place.environments)
            if needs:
                asked["environment"] = asked["environment"] or DEV
            elif not asked["to"]:
                return self.pages.draw(request, "choose.html", f"{words} {name}", asked=asked, environments=[e for e in known if e != DEV])
            preview = await run_in_threadpool(do, name, asked, "-", False, True)
            return self.pages.draw(
                request,
                "confirm.html",
                f"{words}: {name}",
                happens="",
                words=words,
                needs=needs,
                back=_model(name),
                preview=preview,
                hidden={k: v for k, v in asked.items() if v},
                override=not needs and preview.outcome == "would refuse",
            )
        fields = await form(request)
        self.sessions.may(request, fields)
        override = fields.get("override") == "yes"
        reason = _reason(fields, needs or override)
        try:
            told = await run_in_threadpool(do, name, fields, reason, override, False)
        except SluiceError as e:
            return self.pages.failure(request, e, 409 if e.exit_code == 2 else None)
        return self.pages.draw(request, "told.html", told.title, status=409 if told.outcome == "refused" else 200, told=told)

    def _promote(self, name: str, asked: Mapping[str, str], reason: str, override: bool, dry_run: bool) -> Told:
        version, target = asked.get("version", ""), asked.get("to", "")
        done: Promoted = self.place.promote(f"{name}@{version}" if version else name, target, reason, override, dry_run)
        gone = f", in the place of version {done.replaced.number}" if done.replaced else ""
        lines = [f"version {done.version.number} (sha256:{done.version.digest[:12]}) from {done.source} to {done.target}{gone}"]
        if done.where:
            lines.append(f"by {done.where}")
        conditions = [(c.answer, c.name, c.said + (" (overridden)" if c.name in done.overridden else "")) for c in done.conditions]
        return Told(f"{done.outcome.capitalize()}: {name}", done.outcome, lines, conditions, _model(name))

    def _rollback(self, name: str, asked: Mapping[str, str], reason: str, _override: bool, dry_run: bool) -> Told:
        environment = asked.get("environment") or DEV
        done: Back = self.place.rollback(name, environment, reason, dry_run)
        lines = []
        if done.gone:
            lines.append(f"sha256:{done.gone[:12]} goes from {environment}, sha256:{done.serves[:12] or 'nothing'} serves")
        lines += [r for r in done.reasons if r != "-"]
        if done.warning:
            lines.append(done.warning)
        return Told(f"{done.outcome.capitalize()}: {name} in {environment}", done.outcome, lines, (), _model(name))

    def _signed_in(self, request: Request) -> None:
        if not self.sessions.actions:
            raise Refused("this page is read-only", 403, fix="start it with `sluice ui --actions`")
        if self.sessions.of(request) is None:
            raise Refused("nobody is signed in", 401, fix="sign in with the token that was printed when this page started")


def _reason(fields: Mapping[str, str], needed: bool) -> str:
    reason = " ".join(fields.get("reason", "").split())
    if len(reason) > _REASON:
        raise ProjectError(f"has more than {_REASON} characters", field="reason", fix="say it in fewer")
    if needed and not reason:
        raise Refused("needs to say why", 400, field="reason", fix="a sentence; it is kept with the name of who runs this page")
    return f"{reason} (in sluice ui)" if reason else "in sluice ui"


def _rollout(name: str) -> str:
    return f"/rollouts/{part(name)}"


def _model(name: str) -> str:
    return f"/models/{part(name)}"
