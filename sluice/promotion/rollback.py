"""The way back: what served before serves again, in seconds; the reason is kept, and what was rejected stays so."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

from sluice.audit.log import ANCHOR, AuditError, AuditLog, anchor
from sluice.audit.record import Entry, user
from sluice.core.errors import DeadlineError, ProjectError, RolloutError, SluiceError
from sluice.core.home import Home
from sluice.kube.objects import Objects
from sluice.promotion import cluster
from sluice.promotion.config import Environment
from sluice.registry.environments import DEV, Tags, before, moving, put_back, rejected, standing
from sluice.registry.versions import Registry, Version
from sluice.rollouts import control
from sluice.rollouts.state import TERMINAL
from sluice.rollouts.store import STATE, Store

#: Seconds for a rollout on this machine to stop, and for a cluster to have the old model serve: one that is not kept any more is fetched anew.
_HERE, _THERE = 60.0, 600.0
_EVERY = 0.5


@dataclasses.dataclass(frozen=True)
class Back:
    """What came of it.

    Attributes:
        outcome: ``rolled back``, ``would roll back``, or ``refused``.
        gone, serves, previous: digests, or "": what was taken back, what serves now, and what would come next. reasons: in words.
        seconds: it took. where: the ModelRollout, or "".
        warning: what a person has to hear beside it.
    """

    outcome: str
    gone: str = ""
    serves: str = ""
    previous: str = ""
    reasons: Sequence[str] = ()
    seconds: float = 0.0
    where: str = ""
    warning: str = ""

    @property
    def exit_code(self) -> int:
        """As of the command line: done is 0, also on a second asking."""
        return 3 if self.outcome == "refused" else 0


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a person asked for.

    Attributes:
        model: its name. environment: where. rules: of it. reason: why. to: a version's number, in the place of `previous`.
        again: take back also one that a rollback put there. dry_run: say what would be done.
    """

    model: str
    environment: str
    rules: Environment
    reason: str
    to: str | None = None
    again: bool = False
    dry_run: bool = False


def roll_back(asked: Asked, home: Home, registry: Registry | None, log: AuditLog, *, kube: Objects | None = None) -> Back:
    """Do it, on the cluster where the environment is one, else here.

    Raises:
        ProjectError: no such model, or nothing before it. RolloutError: the cluster has no such rollout, or refuses.
        SluiceError: something did not answer.
    """
    if asked.rules.namespace:
        return _there(asked, log, kube or cluster.objects(asked.rules.context))
    if registry is None:
        raise ProjectError(
            "has no registry here", field="NAME", value=asked.model, fix="`sluice run` first, or --namespace for a cluster's"
        )
    if asked.environment == DEV and _driven(home, asked.model) and not asked.dry_run:
        return _stop(asked, home, log)
    with moving(home, asked.model):
        return _here(asked, registry, log)


def _keep(log: AuditLog, entry: Entry) -> tuple[str, str]:
    """The record's tag, and a warning where the log cannot be written: nobody waits for it to have a bad model taken back."""
    try:
        return anchor(log, log.append(entry)), ""
    except AuditError as e:
        return "", f"it is not in the audit log: {e.message}"


# -- here -------------------------------------------------------------------------------------------


def _here(asked: Asked, registry: Registry, log: AuditLog) -> Back:
    began = time.monotonic()
    versions = registry.versions(asked.model)
    now, tags = standing(versions, asked.environment), Tags.of(asked.environment)
    if now.champion is None:
        there = ", ".join(registry.models()) or "none"
        raise ProjectError(f"has no champion in {asked.environment}", field="NAME", value=asked.model, fix=f"models here: {there}")
    bad = now.champion
    good = _target(asked, versions, bad, now.previous)
    put = bad.tags.get(tags.put_back, "")
    if put and not asked.again and asked.to is None:
        return _once(asked, bad, put, good, versions)
    if good is None:
        raise ProjectError(
            f"there is no version before the champion {bad.number} that was not rolled back itself",
            field="NAME",
            value=asked.model,
            fix="`sluice models` lists versions; --to VERSION names one",
        )
    if rejected(good, asked.environment):
        why = good.tags.get(tags.reason, "")
        return Back("refused", bad.digest, "", "", [f"version {good.number} was rolled back in {asked.environment} itself: {why}"])
    earlier = before(versions, good, asked.environment)
    done = Back("would roll back", bad.digest, good.digest, earlier.digest if earlier else "", [asked.reason])
    if asked.dry_run:
        return done
    data = {
        "version": bad.number,
        "versions": [bad.number, good.number],
        "replaced": bad.digest,
        "serves": good.digest,
        "put_back": good.number,
    }
    tag, warning = _keep(log, Entry("rollback", asked.model, bad.digest, asked.environment, asked.reason, data))
    put_back(registry, bad, good, asked.environment, f"{asked.reason} ({user()})")
    if tag:
        registry.tag(asked.model, good.number, {ANCHOR: tag})
    return dataclasses.replace(done, outcome="rolled back", seconds=round(time.monotonic() - began, 2), warning=warning)


def _target(asked: Asked, versions: Sequence[Version], bad: Version, previous: Version | None) -> Version | None:
    if asked.to is not None:
        found = next((v for v in versions if v.number == asked.to), None)
        if found is None or found.number == bad.number:
            there = ", ".join(v.number for v in versions if v.number != bad.number)
            raise ProjectError("is no version to go back to", field="--to", value=asked.to, fix=f"one of {there}")
        return found
    if previous is not None and previous.number != bad.number and not rejected(previous, asked.environment):
        return previous
    return before(versions, bad, asked.environment)


def _once(asked: Asked, bad: Version, put: str, good: Version | None, versions: Sequence[Version]) -> Back:
    """One that a rollback put there is not taken back by the next without a word: two who ask at once would undo each other's."""
    went = next((v for v in versions if v.number == put), None)
    why = went.tags.get(Tags.of(asked.environment).reason, "") if went else ""
    further = f"--again would put version {good.number} ({good.digest[:12]}) there" if good else "there is no version before it"
    said = f"version {put} was rolled back already, and version {bad.number} ({bad.digest[:12]}) serves: {why}; {further}"
    return Back("refused", "", bad.digest, good.digest if good else "", [said])


def _driven(home: Home, model: str) -> bool:
    store = Store(home.root, model)
    return (store.root / STATE).exists() and store.driven()


def _stop(asked: Asked, home: Home, log: AuditLog) -> Back:
    """A rollout runs: its candidate goes, and the model that serves goes on, with all traffic."""
    began, found = time.monotonic(), control.status(home.root, asked.model)
    candidate, stable = str(found.get("candidate") or ""), str(found.get("stable") or "")
    _, warning = _keep(
        log, Entry("rollback", asked.model, candidate, asked.environment, asked.reason, {"serves": stable, "what": "of a rollout"})
    )
    control.request(home.root, asked.model, "rollback", f"{asked.reason} ({user()})")
    while time.monotonic() - began < _HERE:
        found = control.status(home.root, asked.model)
        if found["phase"] in TERMINAL or not found["running"]:
            outcome = "rolled back" if found["phase"] == "RolledBack" else "refused"
            reasons = found["reasons"] or [f"the rollout ended as {found['phase']}"]
            return Back(outcome, candidate, stable, "", reasons, round(time.monotonic() - began, 2), warning=warning)
        time.sleep(_EVERY)
    raise DeadlineError(
        f"the rollout did not stop within {_HERE:g} s", field="NAME", value=asked.model, fix=f"`sluice rollout watch {asked.model}`"
    )


# -- on a cluster -----------------------------------------------------------------------------------


def _there(asked: Asked, log: AuditLog, kube: Objects, sleep: Callable[[float], None] = time.sleep) -> Back:
    space, name = asked.rules.namespace or "", asked.rules.rollout or asked.model
    began, where = time.monotonic(), f"ModelRollout {space}/{name}"
    if asked.to is not None:
        raise RolloutError(
            "is for environments without a cluster", field="--to", value=asked.to, fix=f"`sluice promote {asked.model}@{asked.to}`"
        )
    raw = cluster.read(kube, space, name)
    state = cluster.state_of(raw)
    phase, bad = str(state.get("phase") or ""), _going(state)
    good = _next(state, bad)
    if not bad:
        raise RolloutError("nothing serves, and nothing is on its way", field=where, fix=f"`sluice rollout status {name} -n {space}`")
    if phase == "RolledBack" and not asked.again:
        gone, further = (
            (state.get("rejected") or ["?"])[-1][:12],
            f"--again would put {good[:12]} there" if good else "there is none before it",
        )
        why = "; ".join(state.get("reasons") or ())
        return Back("refused", "", bad, good, [f"{gone} was rolled back already, and {bad[:12]} serves: {why}; {further}"], where=where)
    if not good:
        raise RolloutError(
            "there is no model before it that was not rolled back itself",
            field=where,
            value=bad[:12],
            fix="roll out another: `sluice promote`",
        )
    if asked.dry_run:
        return Back("would roll back", bad, good, "", [asked.reason], where=where)
    _, warning = _keep(
        log,
        Entry(
            "rollback", asked.model, bad, asked.environment, asked.reason, {"serves": good, "replaced": bad, "rollout": f"{space}/{name}"}
        ),
    )
    # Which digest is to go is said: of two who ask at once, the second takes nothing more back.
    ident = f"rollback:{bad[:12]}#{time.time_ns()}"
    cluster.patch(kube, space, name, {"metadata": {"annotations": {cluster.COMMAND: ident, **cluster.said(asked.reason)}}})
    while time.monotonic() - began < _THERE:
        raw = cluster.read(kube, space, name)
        done = _over(cluster.state_of(raw), raw, ident, bad)
        if done is not None:
            return dataclasses.replace(done, seconds=round(time.monotonic() - began, 2), where=where, warning=warning)
        sleep(_EVERY)
    raise DeadlineError(
        f"{bad[:12]} was not taken back within {_THERE:g} s", field=where, fix=f"`sluice rollout explain {name} -n {space}`"
    )


def _going(state: dict[str, Any]) -> str:
    """The digest that is to go: the candidate of a rollout that runs, else what serves."""
    running = state.get("phase") not in TERMINAL and state.get("candidate")
    return str((state["candidate"] if running else state.get("stable")) or "")


def _next(state: dict[str, Any], bad: str) -> str:
    """What serves when `bad` is gone."""
    if bad != state.get("stable"):
        return str(state.get("stable") or "")
    rejected_ = state.get("rejected") or ()
    ways = (state.get("previous"), *reversed(state.get("past") or ()))
    return next((d for d in ways if d and d not in rejected_ and d != bad), "")


def _over(state: dict[str, Any], raw: dict[str, Any], ident: str, bad: str) -> Back | None:
    if ident not in (state.get("handled") or ()):
        return None
    reasons = list(state.get("reasons") or ())
    if state.get("phase") == "RolledBack" and bad in (state.get("rejected") or ()):
        return Back("rolled back", bad, str(state.get("stable") or ""), _next(state, str(state.get("stable") or "")), reasons)
    said = [h["message"] for h in (raw.get("status") or {}).get("history") or [] if h.get("kind") == "command"]
    if said and said[-1].startswith("rollback: refused"):
        return Back("refused", "", str(state.get("stable") or ""), "", [said[-1]])
    if state.get("phase") == "Failed":
        raise SluiceError("; ".join(reasons) or "could not be put back", field="rollback", fix="`sluice rollout explain`")
    return None
