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
    from sluice.ui.trail import Trail

#: Lines of a page.
PAGE = 50


class Missing(SluiceError):
    """There is no such thing here."""

    exit_code = 2


@dataclasses.dataclass(frozen=True)
class RunLine:
    """A run in a list.

    Attributes:
        id, project: of it. outcome: as of `sluice run`, or ``running``, ``interrupted``, ``unreadable``. when: seconds since 1970, its end.
        seconds: it took. version, digest: it registered. metric, limits, verdict: of its evaluation. why: in words.
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
        report: there is one to open. settings: the project's text, "" where it is not known. elsewhere: its page in KFP, or "".
    """

    line: RunLine
    steps: Sequence[StepLine] = ()
    reasons: Sequence[str] = ()
    cautions: Sequence[str] = ()
    error: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    report: bool = False
    settings: str = ""
    elsewhere: str = ""


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

    def runs(self, number: int, project: str, outcome: str) -> Page: ...
    def projects(self) -> Sequence[str]: ...
    def run(self, name: str) -> RunView: ...
    def report(self, name: str) -> bytes: ...
    def models(self) -> Sequence[ModelLine]: ...
    def compare(self, a: str, b: str) -> Compared: ...
    def rollouts(self) -> Sequence[Mapping[str, Any]]: ...
    def rollout(self, name: str) -> Mapping[str, Any]: ...
    def changed(self, name: str) -> Any: ...
    def audit(self, number: int, model: str) -> Trail: ...
    def environments(self) -> Sequence[str]: ...
    def command(self, name: str, command: str, reason: str) -> None: ...
    def promote(self, reference: str, target: str, reason: str, override: bool, dry_run: bool) -> Promoted: ...
    def rollback(self, model: str, environment: str, reason: str, dry_run: bool) -> Back: ...
