"""A promotion: its conditions, and where it ends: an alias here, a ModelRollout on a cluster, one digest in a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sluice.audit.log import ANCHOR, AuditLog, anchor
from sluice.audit.record import Entry, Kind
from sluice.core.errors import ProjectError
from sluice.core.home import Home
from sluice.package.beside import SIGNATURE
from sluice.package.store import open_store
from sluice.promotion import cluster, conditions, digests
from sluice.promotion.conditions import Asked, Condition
from sluice.promotion.config import Environment, Environments
from sluice.registry.environments import ENVIRONMENTS, alias, moving, put_in, standing
from sluice.registry.references import find_version
from sluice.registry.versions import CANDIDATE, CHAMPION, PREVIOUS, Registry, Version
from sluice.rollouts.manifest import model


@dataclasses.dataclass(frozen=True)
class Request:
    """What a person asked for.

    Attributes:
        reference: ``NAME``, ``NAME@VERSION``, ``NAME@ALIAS`` or a digest. target, source: environments; source None: the rules say.
        reason: why. override: set refused conditions aside. dry_run: judge, and change nothing.
        data: a project whose rows are judged again. file: whose one digest is to change; written: in place, else only shown. key: of it.
        wait: for the verdict of a cluster's rollout.
    """

    reference: str
    target: str
    source: str | None = None
    reason: str = ""
    override: bool = False
    dry_run: bool = False
    data: Path | None = None
    file: Path | None = None
    written: bool = False
    key: str | None = None
    wait: bool = False


@dataclasses.dataclass(frozen=True)
class Promoted:
    """What came of it.

    Attributes:
        outcome: ``promoted``, ``refused``, ``would promote``, ``would refuse``, ``rollout begun``, ``rolled back`` or ``proposed``.
        version, source, target: of it. replaced: the champion before; None where there was none. overridden: conditions set aside.
        conditions: every one. diff: of the file. where: the rollout.
    """

    outcome: str
    version: Version
    source: str
    target: str
    replaced: Version | None
    conditions: Sequence[Condition]
    overridden: Sequence[str] = ()
    reasons: Sequence[str] = ()
    diff: str = ""
    where: str = ""

    @property
    def exit_code(self) -> int:
        """As of the command line."""
        return {"refused": 3, "would refuse": 3, "rolled back": 4}.get(self.outcome, 0)


def promote(request: Request, home: Home, registry: Registry, environments: Environments, log: AuditLog) -> Promoted:
    """Judge it, and do it unless a condition refuses.

    Raises:
        ProjectError: no such version or environment, an override without a reason, a file without the digest.
        SluiceError: the registry, the audit log or the cluster cannot be used.
    """
    rules = environments.get(request.target)
    if request.override and not request.reason.strip():
        raise ProjectError("needs to say why", field="--override", fix='--reason "..."; it is kept with your name')
    with moving(home, request.reference.partition("@")[0]):
        version, source = _found(request, rules, registry)
        here = standing(registry.versions(version.model), request.target)
        asked = Asked(version, source, request.target, rules, here.champion, home, log, request.data)
        found = conditions.every(asked)
        refused = [c for c in found if c.answer == "refuse"]
        waived = request.override and all(c.waived for c in refused)
        done = Promoted("", version, source, request.target, here.champion, found, [c.name for c in refused] if waived else ())
        if request.dry_run:
            return dataclasses.replace(done, outcome="would refuse" if refused and not waived else "would promote", reasons=_said(refused))
        if refused and not waived:
            _note(log, registry, "refusal", done, request, _said(refused))
            return dataclasses.replace(done, outcome="refused", reasons=_said(refused))
        if refused:
            _note(log, registry, "override", done, request, _said(refused))
        return _end(request, rules, done, home, registry, log)


def _found(request: Request, rules: Environment, registry: Registry) -> tuple[Version, str]:
    """The version, and the environment it comes from: the one asked for, else the first of the rules where it, or any, is champion."""
    sources = [request.source] if request.source else rules.takes or [e for e in ENVIRONMENTS if e != request.target]
    if request.source and rules.takes and request.source not in rules.takes:
        raise ProjectError(
            f"{request.target} takes nothing from there", field="--from", value=request.source, fix=f"one of {', '.join(rules.takes)}"
        )
    reference = request.reference
    if "@" not in reference and registry.versions(reference):
        for source in sources:
            if found := standing(registry.versions(reference), source).champion:
                return found, source
        where = " and ".join(sources)
        raise ProjectError(
            f"has no champion in {where}", field="NAME", value=reference, fix=f"`sluice run`, or name the version: {reference}@1"
        )
    version = find_version(reference, registry)
    at = [s for role in (CHAMPION, PREVIOUS) for s in sources if alias(role, s) in version.aliases]
    return version, (at or sources[::-1])[0]


def _said(refused: Sequence[Condition]) -> list[str]:
    return [f"{c.name}: {c.said}" for c in refused]


def _note(log: AuditLog, registry: Registry, kind: Kind, done: Promoted, request: Request, reasons: Sequence[str], **more: Any) -> None:
    """In the audit log, and in the registry which record it is."""
    data = {
        "what": f"of a promotion from {done.source}" if kind != "promotion" else f"from {done.source}",
        "version": done.version.number,
        "versions": [v.number for v in (done.version, done.replaced) if v],
        "replaced": done.replaced.digest if done.replaced else "",
        "conditions": [f"{c.name}: {c.answer}: {c.said}" for c in done.conditions],
        **more,
    }
    reason = "; ".join(filter(None, [request.reason, *reasons]))
    record = log.append(Entry(kind, done.version.model, done.version.digest, done.target, reason, data))
    registry.tag(done.version.model, done.version.number, {ANCHOR: anchor(log, record)})


def _end(request: Request, rules: Environment, done: Promoted, home: Home, registry: Registry, log: AuditLog) -> Promoted:
    reasons = [request.reason or f"promoted from {done.source}"]
    if request.file is not None:
        _stored(rules, done.version, home)
        before = done.replaced.digest if done.replaced else None
        edit = digests.edit(request.file, done.version.model, done.version.digest, before=before, key=request.key)
        _note(log, registry, "promotion", done, request, (), file=str(request.file), key=edit.key, proposed=True)
        if request.written:
            edit.write()
        registry.set_alias(done.version.model, alias(CANDIDATE, done.target), done.version.number)
        return dataclasses.replace(done, outcome="proposed", reasons=reasons, diff=edit.diff())
    if rules.namespace:
        return _on_cluster(request, rules, done, home, registry, log)
    _note(log, registry, "promotion", done, request, ())
    put_in(registry, done.version, done.target, reasons[0])
    return dataclasses.replace(done, outcome="promoted", reasons=reasons)


def _stored(rules: Environment, version: Version, home: Home) -> tuple[str, str]:
    """(address, signature) of the package as the environment finds it: in a store of its own, it is put there first, its proof with it."""
    store = open_store(version.uri, home)
    proof = store.proof(version.digest) or {}
    signature = proof.get(SIGNATURE, b"").decode()
    if not rules.store:
        return version.uri, signature
    other = open_store(f"{rules.store.rstrip('/')}/sha256/{version.digest}", home)
    kept = other.add(store.get(version.digest))
    if proof:
        other.add_proof(kept.digest, proof)
    return other.uri(kept.digest), signature


def _on_cluster(request: Request, rules: Environment, done: Promoted, home: Home, registry: Registry, log: AuditLog) -> Promoted:
    """By the controller of that environment: the model of its ModelRollout changes."""
    version, name, space = done.version, rules.rollout or done.version.model, rules.namespace or ""
    uri, signature = _stored(rules, version, home)
    wanted = model(version.model, version.digest, uri, signature)
    kube = cluster.objects(rules.context)
    cluster.read(kube, space, name)  # before anything is written down: is there one?
    _note(log, registry, "promotion", done, request, (), rollout=f"{space}/{name}", uri=uri)
    registry.set_alias(version.model, alias(CANDIDATE, done.target), version.number)
    where = f"ModelRollout {space}/{name}"
    cluster.change_model(kube, space, name, wanted, request.reason)
    if not request.wait:
        return dataclasses.replace(done, outcome="rollout begun", reasons=[request.reason or where], where=where)
    found = cluster.follow(kube, space, name, version.digest)
    outcome, why = found["outcome"], list(found["reasons"])
    if outcome == "promoted":
        put_in(registry, version, done.target, "; ".join(why) or "serves")
        return dataclasses.replace(done, outcome="promoted", reasons=why, where=where)
    _note(log, registry, "rollback", done, request, why, rollout=f"{space}/{name}")
    registry.drop_alias(version.model, alias(CANDIDATE, done.target), version.number)
    return dataclasses.replace(done, outcome="rolled back", reasons=why or [f"ended as {outcome}"], where=where)
