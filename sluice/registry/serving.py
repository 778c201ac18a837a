"""The registry follows what serves: who is champion, who was before, who was rolled back."""

from __future__ import annotations

import dataclasses

from sluice.registry.versions import CANDIDATE, CHAMPION, PREVIOUS, Registry, Version

#: Tags of a version that has been rolled out.
OUTCOME, REASON, REPLACED, BY = "sluice.rollout", "sluice.rollout.reason", "sluice.replaced_by", "sluice.registered_by"
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
    """

    model: str
    champion: str | None = None
    previous: str | None = None
    uris: tuple[tuple[str, str], ...] = ()
    rejected: tuple[str, ...] = ()
    decided: tuple[str, str, str] | None = None
    by: str = ""


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
    holders = {alias: v for v in versions for alias in v.aliases}
    uris = dict(served.uris)
    made = []

    def version(digest: str) -> Version | None:
        if digest not in first and digest in uris:
            first[digest] = registry.register(
                served.model, digest, uris[digest], metrics={}, tags={BY: served.by} if served.by else {}, run_id=None
            )
            made.append(first[digest].number)
        return first.get(digest)

    def give(alias: str, to: Version) -> None:
        if alias not in holders or holders[alias].number != to.number:
            registry.set_alias(served.model, alias, to.number)

    champion = version(served.champion) if served.champion else None
    if champion is not None:
        give(CHAMPION, champion)
    elif CHAMPION in holders and holders[CHAMPION].digest in served.rejected:
        registry.drop_alias(served.model, CHAMPION, holders[CHAMPION].number)
    previous = version(served.previous) if served.previous and served.previous != served.champion else None
    if previous is not None:
        give(PREVIOUS, previous)
    elif PREVIOUS in holders and holders[PREVIOUS].digest in (served.champion, *served.rejected):
        registry.drop_alias(served.model, PREVIOUS, holders[PREVIOUS].number)
    _note(registry, served, first, champion, previous)
    return _said(served, champion, previous, made)


def _note(registry: Registry, served: Served, first: dict[str, Version], champion: Version | None, previous: Version | None) -> None:
    """How the last rollout ended, on its version; who replaced whom."""
    for v, outcome, why in [(champion, "promoted", "")] if champion else []:
        if v.tags.get(OUTCOME) != outcome:
            reason = served.decided[2] if served.decided and served.decided[0] == v.digest else why
            registry.tag(served.model, v.number, {OUTCOME: outcome, REASON: reason[:_REASON] or "serves"})
        if CANDIDATE in v.aliases:
            registry.drop_alias(served.model, CANDIDATE, v.number)
    if champion and previous and previous.tags.get(REPLACED) != champion.number:
        registry.tag(served.model, previous.number, {REPLACED: champion.number})
    digest, outcome, why = served.decided or ("", "", "")
    rejected = first.get(digest) if outcome == "rolled_back" and digest != served.champion else None
    if rejected is not None:
        said = {OUTCOME: outcome} | ({REASON: why[:_REASON]} if why else {})
        if any(rejected.tags.get(k) != x for k, x in said.items()):
            registry.tag(served.model, rejected.number, said)
        if CANDIDATE in rejected.aliases:
            registry.drop_alias(served.model, CANDIDATE, rejected.number)


def _said(served: Served, champion: Version | None, previous: Version | None, made: list[str]) -> str:
    if served.champion is None:
        return f"nothing serves, so {served.model} has no champion of this rollout's"
    if champion is None:
        return f"{served.champion[:12]} serves and is in no version of {served.model}; where its package is kept is not known"
    text = f"{served.model} version {champion.number} ({champion.digest[:12]}) is {CHAMPION}"
    text += f", version {previous.number} ({previous.digest[:12]}) {PREVIOUS}" if previous else ""
    return text + (f"; version {' and '.join(made)} registered here, which no run had done" if made else "")
