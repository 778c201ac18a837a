"""What to do about a schedule's recurring runs: a pure function, asked again after every step it names.

Kubeflow Pipelines cannot change a recurring run. So a changed schedule becomes a new one, made
disabled; then the old one is disabled, the new one enabled, and the old one deleted once none of its
runs goes on. Killed between any two of these, the next time goes on from what it finds: no tick is
run twice, and the only recurring run is never deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sluice.core.cron import parse_six

#: A tick's run is waited for this long before a hand-over (a busy scheduler is half a minute late), and none begins so near before a tick.
LAG, LEAD = 60.0, 5.0

#: A pipeline run's end, in the words of the API.
ENDED = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})


@dataclass(frozen=True)
class Recurring:
    """A recurring run as Kubeflow Pipelines has it.

    Attributes:
        id: its key. hash: of what it was made from. cron: six fields, in the pipelines' time zone.
        created, start: seconds since the epoch; ticks at or before `start` are not its.
        active: how many of its runs go on. last_run: when its last run was made.
    """

    id: str
    hash: str
    enabled: bool
    cron: str
    created: float
    start: float
    active: int = 0
    last_run: float = 0.0

    @property
    def due(self) -> float | None:
        """The first tick that no run of it is seen for."""
        cron = parse_six(self.cron)
        return cron.after(max(self.start, self.last_run)) if cron else None

    def missed(self, now: float) -> bool:
        """Whether enabling it now would start a run for a tick that is past."""
        return self.due is not None and self.due <= now

    def quiet(self, now: float) -> bool:
        """Whether the scheduler is not at a tick of it: the last one's run is seen, or is not to be expected any more."""
        due = self.due
        return far(self.cron, now) and (due is None or due > now or due < now - LAG)


@dataclass(frozen=True)
class Wanted:
    """What a schedule asks for.

    Attributes:
        hash: of everything a recurring run is made from. cron: six fields. tick: the next one, seconds since the epoch.
    """

    hash: str
    cron: str
    tick: float
    suspended: bool = False
    catch_up: bool = False


@dataclass(frozen=True)
class Action:
    """One call: ``create`` (disabled, with `start`), ``disable``, ``enable``, ``delete`` a recurring run; ``terminate``,
    ``archive``, ``remove`` a run; ``wait`` for a moment that is no tick's."""

    kind: Literal["create", "disable", "enable", "delete", "terminate", "archive", "remove", "wait"]
    id: str = ""
    start: float = 0.0


def reconcile(wanted: Wanted, found: Sequence[Recurring], now: float) -> tuple[Action, ...]:
    """The next calls towards the one enabled recurring run that is wanted; nothing when it is there.

    Any of them may be done twice, or be lost; what they led to is read before this is asked again.
    """
    if wanted.suspended:
        return tuple(Action("disable", r.id) for r in found if r.enabled)
    running = any(r.enabled for r in found)

    def usable(r: Recurring) -> bool:
        # An idle one whose tick has passed would run it on being enabled: again, if another one ran it, and
        # unasked, if there is no catching up.
        return r.hash == wanted.hash and (r.enabled or not ((running or not wanted.catch_up) and r.missed(now)))

    # The latest start never runs a tick twice.
    fit = sorted((r for r in found if usable(r)), key=lambda r: (not r.enabled, -r.start, r.created, r.id))
    if not fit:
        return (Action("create", start=wanted.tick - 1),)
    keeper, others = fit[0], [r for r in found if r.id != fit[0].id]
    still = [r for r in others if r.enabled]
    if not keeper.enabled and still and not (far(wanted.cron, now) and all(r.quiet(now) for r in still)):
        return (Action("wait"),)
    if still:
        return tuple(Action("disable", r.id) for r in still)
    if not keeper.enabled:
        return (Action("enable", keeper.id),)
    return tuple(Action("delete", r.id) for r in others if not r.active)


def leave(found: Sequence[Recurring], runs: Sequence[Run]) -> tuple[Action, ...]:
    """The next calls towards nothing left that fires or runs, when the schedule is deleted."""
    if any(r.enabled for r in found):
        return tuple(Action("disable", r.id) for r in found if r.enabled)
    going = [r for r in runs if r.active]
    if going:
        return tuple(Action("terminate", r.id) for r in going if r.state != "CANCELING") or (Action("wait"),)
    return tuple(Action("delete", r.id) for r in found)


def far(six: str, now: float) -> bool:
    """Whether the next tick is not at hand."""
    cron = parse_six(six)
    tick = cron.after(now) if cron else None
    return tick is None or tick > now + LEAD


@dataclass(frozen=True)
class Run:
    """A run a schedule started. `created` is in seconds since the epoch; `state` in the words of the API."""

    id: str
    state: str
    created: float
    name: str = ""
    recurring: str = ""
    archived: bool = False

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.state not in ENDED


def tidy(runs: Sequence[Run], *, replace: bool, succeeded: int, failed: int, remove: bool) -> tuple[Action, ...]:
    """What Kubeflow Pipelines does not do itself: let a new run take the place of the one before, and forget old ones.

    Args:
        runs: all of the schedule's. replace: end every active run but the newest.
        succeeded, failed: how many ended runs of each kind stay. remove: delete the others instead of archiving them.
    """
    newest = sorted(runs, key=lambda r: (r.created, r.id), reverse=True)
    actions = [Action("terminate", r.id) for r in [r for r in newest if r.active][1:] if replace and r.state != "CANCELING"]
    ended = [r for r in newest if not r.active and not r.archived]
    good = [r for r in ended if r.state in ("SUCCEEDED", "SKIPPED")]
    bad = [r for r in ended if r.state not in ("SUCCEEDED", "SKIPPED")]
    actions += [Action("remove" if remove else "archive", r.id) for r in (*good[succeeded:], *bad[failed:])]
    return tuple(actions)
