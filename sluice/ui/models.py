"""Versions of models side by side, and where each stands in which environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sluice.core.errors import ProjectError
from sluice.registry.environments import DEV, ENVIRONMENTS, ROLES, Tags, alias, gates_of
from sluice.registry.references import find_version
from sluice.registry.story import made_of
from sluice.registry.versions import Registry, Version
from sluice.ui.shape import Compared, Missing


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a version stands. Attributes: environment, role (``champion``, ``previous``, ``candidate``); reason it stands there."""

    environment: str
    role: str
    reason: str


@dataclasses.dataclass(frozen=True)
class VersionView:
    """A version with what its tags say. Attributes: it; standings; made: words and digests; gates by step; outcome of its rollout, with why."""

    version: Version
    standings: Sequence[Standing]
    made: dict[str, str]
    gates: dict[str, str]
    outcome: str
    reason: str
    after: str


def viewed(version: Version, environments: Sequence[str]) -> VersionView:
    """A version as its page shows it."""
    tags = Tags.of()
    standings = [
        Standing(e, role, version.tags.get(Tags.of(e).reason, ""))
        for e in environments
        for role in ROLES
        if alias(role, e) in version.aliases
    ]
    return VersionView(
        version,
        standings,
        made_of(version),
        gates_of(version),
        version.tags.get(tags.outcome, ""),
        version.tags.get(tags.reason, ""),
        version.tags.get(tags.before, ""),
    )


def environments_of(versions: Sequence[Version], known: Sequence[str] = ()) -> list[str]:
    """Environments by their aliases, and those that are known, in the order of promotions."""
    found = [a.removesuffix(f"-{role}") for v in versions for a in v.aliases for role in ROLES if a.endswith(f"-{role}")]
    return list(dict.fromkeys([DEV, *(known or ENVIRONMENTS), *sorted(found)]))


def compared(registry: Registry, a: str, b: str) -> Compared:
    """Two versions. Raises `Missing`, `RegistryFault`."""
    try:
        first, second = (find_version(reference, registry) for reference in (a, b))
    except ProjectError as e:
        raise Missing(e.message, field=e.field, value=e.value, fix=e.fix) from e
    old, new = registry.settings(first), registry.settings(second)
    differ = {k: (old.get(k, ""), new.get(k, "")) for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)}
    metrics = []
    for name in sorted(set(first.metrics) | set(second.metrics)):
        p, q = first.metrics.get(name), second.metrics.get(name)
        metrics.append((name, p, q, q - p if p is not None and q is not None else None))
    made_a, made_b = made_of(first), made_of(second)
    made = [(words, made_a.get(words, ""), made_b.get(words, "")) for words in dict.fromkeys((*made_a, *made_b))]
    return Compared(first, second, differ if old and new else None, metrics, made)
