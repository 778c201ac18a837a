"""What the pages show, whatever it was read from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sluice.core.errors import SluiceError
from sluice.registry.versions import CHAMPION, Version

if TYPE_CHECKING:
    from sluice.promotion.promote import Promoted
    from sluice.promotion.rollback import Back
    from sluice.ui.monitors import Monitor
    from sluice.ui.trail import Trail

#: Lines of a page.
PAGE = 50


class Missing(SluiceError):
    """There is no such thing here."""

    exit_code = 2


class Forbidden(SluiceError):
    """Whoever runs the page has no right to it."""


@dataclasses.dataclass(frozen=True)
class RunLine:
    """A run in a list.

    Attributes:
        id, project: of it. outcome: as of `sluice run`, or ``running``, ``interrupted``, ``unreadable``. when: seconds since 1970, its end.
        seconds: it took. version, digest: it registered. metric, limits, verdict: of its evaluation. why: in words. name: where it is not the id.
    """

    id: str
    project: str
    outcome: str
    when: float
    seconds: float | None = None
    version: str = ""
    digest: str = ""
    metric: str = ""
    limits: str = ""
    verdict: str = ""
    why: str = ""
    name: str = ""


@dataclasses.dataclass(frozen=True)
class StepLine:
    """A step of a run. Attributes: name, title; decision, or what else is known of it; seconds it took; reasons in words."""

    name: str
    title: str
    decision: str
    seconds: float | None = None
    reasons: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class RunView:
    """A run's page.

    Attributes:
        line: as in the list. steps: in order. reasons, cautions: of its outcome. error: message, field, value, fix; empty where there was none.
        then: what can be done. report: there is one to open. settings: the project's text, "" where it is not known. elsewhere: its page in KFP, or "".
    """

    line: RunLine
    steps: Sequence[StepLine] = ()
    reasons: Sequence[str] = ()
    cautions: Sequence[str] = ()
    error: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    report: bool = False
    settings: str = ""
    elsewhere: str = ""
    then: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Page:
    """A part of a list. Attributes: items; number of it from 1; more: whether another follows; total, None where nobody counted."""

    items: Sequence[Any]
    number: int = 1
    more: bool = False
    total: int | None = None


@dataclasses.dataclass(frozen=True)
class ModelLine:
    """A registered model. Attributes: its name; versions newest first."""

    name: str
    versions: Sequence[Version]

    @property
    def champion(self) -> Version | None:
        """The one that serves where `sluice run` promotes to."""
        return next((v for v in self.versions if CHAMPION in v.aliases), None)


@dataclasses.dataclass(frozen=True)
class Compared:
    """Two versions side by side.

    Attributes:
        a, b: they. settings: those that differ, (A's, B's); None where one's are not known. metrics: name, A's, B's, difference.
        made: what they were made of, (words, A's, B's).
    """

    a: Version
    b: Version
    settings: Mapping[str, tuple[str, str]] | None
    metrics: Sequence[tuple[str, float | None, float | None, float | None]]
    made: Sequence[tuple[str, str, str]]


class Place(Protocol):
    """What is looked at. All methods may take a moment and raise `SluiceError`; `Missing` where there is no such thing."""

    #: Where it is, for a person; and whether it is a cluster.
    where: str
    cluster: bool
    #: What a run may have come to.
    outcomes: Sequence[str]

    def runs(self, number: int, project: str, outcome: str) -> Page: ...
    def projects(self) -> Sequence[str]: ...
    def run(self, name: str) -> RunView: ...
    def report(self, name: str) -> bytes: ...
    def models(self) -> Sequence[ModelLine]: ...
    def model(self, name: str) -> ModelLine: ...
    def compare(self, a: str, b: str) -> Compared: ...
    def rollouts(self) -> Sequence[Mapping[str, Any]]: ...
    def rollout(self, name: str) -> Mapping[str, Any]: ...
    def changed(self, name: str) -> Any: ...
    def monitors(self) -> Sequence[Monitor]: ...
    def audit(self, number: int, model: str) -> Trail: ...
    def environments(self) -> Sequence[str]: ...
    def command(self, name: str, command: str, reason: str) -> None: ...
    def promote(self, reference: str, target: str, reason: str, override: bool, dry_run: bool) -> Promoted: ...
    def rollback(self, model: str, environment: str, reason: str, dry_run: bool) -> Back: ...


def rollout_of(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same `status` of a rollout. Raises `Missing` where a part of it is of another kind than a page draws: it is read from files and resources."""
    number, load = (int, float), found["load"] or {}
    fine = (
        all(isinstance(found[k], str) for k in ("name", "phase", "stage"))
        and all(isinstance(found[k], number) for k in ("step", "weight", "updated"))
        and all(isinstance(found[k], list) for k in ("steps", "reasons", "tests", "events"))
        and all(isinstance(found[k], str | None) for k in ("stable", "candidate"))
        and all(isinstance(t, dict) and all(isinstance(t.get(arm), dict | None) for arm in ("stable", "candidate")) for t in found["tests"])
        and all(isinstance(e, dict) and isinstance(e.get("time"), number) and isinstance(e.get("message"), str) for e in found["events"])
        and isinstance(load, dict)
        and all(isinstance(load.get(k, 0), number) for k in ("sent", "failed"))
    )
    if not fine:
        raise Missing(
            "what is kept of it is of another kind", field="rollout", value=str(found["name"])[:200], fix="`sluice run` begins the next one"
        )
    return found
