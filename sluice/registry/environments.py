"""Aliases by environment: which version is candidate, champion, previous in dev, staging, production; how they move, forward and back."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sluice.core.errors import ProjectError, SluiceError
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.registry.prompts import point
from sluice.registry.versions import CANDIDATE, CHAMPION, PREVIOUS, Registry, Version

#: Where `sluice run` promotes to: its aliases have no prefix, as ever.
DEV = "dev"
#: In the order in which models go through them, where nothing else is said.
ENVIRONMENTS = (DEV, "staging", "production")
ROLES = (CANDIDATE, CHAMPION, PREVIOUS)
#: A version's tag: what each step before its registration decided, JSON.
GATES = "sluice.gates"
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_REASON = 4000
#: Seconds that others on this machine may take to move an alias.
_WAIT = 60.0


def alias(role: str, environment: str = DEV) -> str:
    """``champion`` in dev, ``production-champion`` in production."""
    return role if environment == DEV else f"{environment}-{role}"


def known(environment: str, field: str = "--to") -> str:
    """The same name. Raises `ProjectError` for what cannot be an environment's."""
    if not _NAME.fullmatch(environment):
        raise ProjectError("is no name of an environment", field=field, value=environment, fix="small letters, digits and -, as production")
    return environment


@dataclass(frozen=True)
class Tags:
    """What a version's tags say of it in an environment.

    Attributes:
        outcome: ``promoted`` or ``rolled_back``. reason: why. replaced_by: the number of the version that took its place.
        before: the number of the one whose place it took. put_back: of the one that was rolled back to it; empty after it was promoted.
    """

    outcome: str
    reason: str
    replaced_by: str
    before: str
    put_back: str

    @classmethod
    def of(cls, environment: str = DEV) -> Tags:
        """Their names."""
        more = "" if environment == DEV else f".{environment}"
        return cls(*(f"sluice{more}.{name}" for name in ("rollout", "rollout.reason", "replaced_by", "before", "put_back")))


@dataclass(frozen=True)
class Standing:
    """Who stands where in one environment. Each None where there is none."""

    candidate: Version | None
    champion: Version | None
    previous: Version | None


def standing(versions: Sequence[Version], environment: str = DEV) -> Standing:
    """By the aliases of a model's versions."""
    found = {role: next((v for v in versions if alias(role, environment) in v.aliases), None) for role in ROLES}
    return Standing(found[CANDIDATE], found[CHAMPION], found[PREVIOUS])


def rejected(version: Version, environment: str) -> bool:
    """Whether it was rolled back there, and not promoted since."""
    return version.tags.get(Tags.of(environment).outcome) == "rolled_back"


def decided(gates: Sequence[Gate]) -> str:
    """The tag `GATES`."""
    return json.dumps({g.step: g.decision for g in gates})


def gates_of(version: Version) -> dict[str, str]:
    """What each step decided, by name, as far as the registry knows."""
    with contextlib.suppress(ValueError):
        found = json.loads(version.tags.get(GATES, "{}"))
        if isinstance(found, dict):
            return {str(k): str(v) for k, v in found.items()}
    return {}


def put_in(registry: Registry, version: Version, environment: str, reason: str) -> Version | None:
    """Make a version the champion of an environment, and the one before it `previous`; returns that one. Raises `RegistryFault`."""
    model, tags = version.model, Tags.of(environment)
    now = standing(registry.versions(model), environment)
    before = now.champion if now.champion is not None and now.champion.number != version.number else None
    if before is not None:
        # First the way back, then the way forth: whoever dies in between leaves a champion that still is one.
        point(registry, before, alias(PREVIOUS, environment))
    registry.tag(
        model,
        version.number,
        {tags.outcome: "promoted", tags.reason: reason[:_REASON] or "promoted", tags.put_back: ""}
        | ({tags.before: before.number} if before is not None else {}),
    )
    point(registry, version, alias(CHAMPION, environment))
    if before is not None:
        registry.tag(model, before.number, {tags.replaced_by: version.number})
    registry.drop_alias(model, alias(CANDIDATE, environment), version.number)
    return before


def put_back(registry: Registry, bad: Version, good: Version, environment: str, reason: str) -> Version | None:
    """Make `good` the champion in the place of `bad`, which is rejected; returns the version that is `previous` then, if there is one.

    Raises:
        RegistryFault: the registry did not answer, or refused.
    """
    model, tags = bad.model, Tags.of(environment)
    registry.tag(model, good.number, {tags.outcome: "promoted", tags.put_back: bad.number, tags.reason: f"put back: {reason}"[:_REASON]})
    point(registry, good, alias(CHAMPION, environment))
    registry.tag(model, bad.number, {tags.outcome: "rolled_back", tags.reason: reason[:_REASON], tags.replaced_by: good.number})
    earlier = before(registry.versions(model), good, environment)
    if earlier is not None:
        point(registry, earlier, alias(PREVIOUS, environment))
    else:
        registry.drop_alias(model, alias(PREVIOUS, environment))
    return earlier


def before(versions: Sequence[Version], version: Version, environment: str) -> Version | None:
    """The nearest one before it in the line of champions that was not rejected."""
    by, tags = {v.number: v for v in versions}, Tags.of(environment)
    seen = {version.number}
    at: Version | None = version
    while at is not None:
        at = by.get(at.tags.get(tags.before, ""))
        if at is None or at.number in seen:
            return None
        if not rejected(at, environment):
            return at
        seen.add(at.number)
    return None


@contextlib.contextmanager
def moving(home: Home, model: str) -> Iterator[None]:
    """Only one process of this home moves a model's aliases. Raises `SluiceError` where another does not end."""
    folder = home.root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{re.sub(r'[^-A-Za-z0-9_.]', '_', model)}.lock").open("a") as lock:
        end = time.monotonic() + _WAIT
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as e:
                if time.monotonic() > end:
                    raise SluiceError(f"another process has moved its aliases for {_WAIT:g} s", field="NAME", value=model) from e
                time.sleep(0.02)
        yield
