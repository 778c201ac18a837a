"""The registry follows what serves: who is champion, who was before, who was rolled back."""

from __future__ import annotations

import dataclasses

from sluice.registry.environments import DEV, Tags, alias
from sluice.registry.versions import CANDIDATE, CHAMPION, PREVIOUS, Registry, Version

#: Tags of a version that has been rolled out, in dev; and of one that a rollout registered.
OUTCOME, REASON, BY = Tags.of(DEV).outcome, Tags.of(DEV).reason, "sluice.registered_by"
_REASON = 4000


@dataclasses.dataclass(frozen=True)
class Served:
    """What a rollout says of the models of one name.

    Attributes:
        model: the name in the registry.
        champion: the digest that serves, None where none does. previous: the one before it, where that is known.
        uris: where packages are kept, by digest.
        rejected: digests that were rolled back.
        decided: (digest, ``promoted`` or ``rolled_back``, why) of the last one that was decided, None where none has been.
        by: who says so, for a version that nobody registered.
        environment: whose aliases say it.
    """

    model: str
    champion: str | None = None
    previous: str | None = None
    uris: tuple[tuple[str, str], ...] = ()
    rejected: tuple[str, ...] = ()
    decided: tuple[str, str, str] | None = None
    by: str = ""
    environment: str = DEV


def align(registry: Registry, served: Served) -> str:
    """Make the registry say what serves. Nothing is done that is so already, so it may be repeated, and broken off anywhere.

    The champion's digest that no version has is registered, with where its package is and without metrics: what serves is visible, and the
    next run is compared with it. Where nothing serves, an alias goes only from a version that this rollout took back.

    Returns:
        What it says now, for a person.

    Raises:
        RegistryFault: it did not answer, or refused.
    """
    versions = registry.versions(served.model)
    first = {v.digest: v for v in versions}  # newest first: the last one that is put in is the first of its digest
    holders = {name: v for v in versions for name in v.aliases}
    uris = dict(served.uris)
    made = []

    def version(digest: str) -> Version | None:
        if digest not in first and digest in uris:
            first[digest] = registry.register(
                served.model, digest, uris[digest], metrics={}, tags={BY: served.by} if served.by else {}, run_id=None
            )
            made.append(first[digest].number)
        return first.get(digest)

    def give(name: str, to: Version) -> None:
        if name not in holders or holders[name].number != to.number:
            registry.set_alias(served.model, name, to.number)

    first_alias, second_alias = alias(CHAMPION, served.environment), alias(PREVIOUS, served.environment)
    champion = version(served.champion) if served.champion else None
    if champion is not None:
        give(first_alias, champion)
    elif first_alias in holders and holders[first_alias].digest in served.rejected:
        registry.drop_alias(served.model, first_alias, holders[first_alias].number)
    previous = version(served.previous) if served.previous and served.previous != served.champion else None
    if previous is not None:
        give(second_alias, previous)
    elif second_alias in holders and holders[second_alias].digest in (served.champion, *served.rejected):
        registry.drop_alias(served.model, second_alias, holders[second_alias].number)
    _note(registry, served, first, champion, previous)
    return _said(served, champion, previous, made)


def _note(registry: Registry, served: Served, first: dict[str, Version], champion: Version | None, previous: Version | None) -> None:
    """How the last rollout ended, on its version; who replaced whom."""
    tags, candidate = Tags.of(served.environment), alias(CANDIDATE, served.environment)
    if champion:
        if champion.tags.get(tags.outcome) != "promoted":
            reason = served.decided[2] if served.decided and served.decided[0] == champion.digest else ""
            registry.tag(served.model, champion.number, {tags.outcome: "promoted", tags.reason: reason[:_REASON] or "serves"})
        if candidate in champion.aliases:
            registry.drop_alias(served.model, candidate, champion.number)
    if champion and previous and previous.tags.get(tags.replaced_by) != champion.number:
        registry.tag(served.model, previous.number, {tags.replaced_by: champion.number})
    digest, outcome, why = served.decided or ("", "", "")
    rejected = first.get(digest) if outcome == "rolled_back" and digest != served.champion else None
    if rejected is not None:
        said = {tags.outcome: outcome} | ({tags.reason: why[:_REASON]} if why else {})
        if any(rejected.tags.get(k) != x for k, x in said.items()):
            registry.tag(served.model, rejected.number, said)
        if candidate in rejected.aliases:
            registry.drop_alias(served.model, candidate, rejected.number)


def _said(served: Served, champion: Version | None, previous: Version | None, made: list[str]) -> str:
    if served.champion is None:
        return f"nothing serves, so {served.model} has no champion of this rollout's"
    if champion is None:
        return f"{served.champion[:12]} serves and is in no version of {served.model}; where its package is kept is not known"
    text = f"{served.model} version {champion.number} ({champion.digest[:12]}) is {alias(CHAMPION, served.environment)}"
    text += f", version {previous.number} ({previous.digest[:12]}) {alias(PREVIOUS, served.environment)}" if previous else ""
    return text + (f"; version {' and '.join(made)} registered here, which no run had done" if made else "")
