"""A package becomes a version of the model, with its lineage."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from components import STARTED
from sluice.audit.log import ANCHOR
from sluice.core.gate import Gate, handed
from sluice.core.home import Home
from sluice.package import package as packages
from sluice.package.beside import SIGNATURE
from sluice.package.store import default_store
from sluice.proof import environment, record
from sluice.registry import prompts
from sluice.registry.environments import GATES, decided
from sluice.registry.versions import CANDIDATE, Registry, Version
from sluice.steps.execute import open_project, run_step
from sluice.tracking.card import Card
from sluice.tracking.tracker import tracking_uri


def run(project: str, base_dir: str, home: str, run_id: str, *, package_path: str, gates: Sequence[str], gate_path: str) -> str:
    """Returns the package digest. `gates`: what the steps before handed on of theirs, in pipeline order."""

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        place = Home(home or None)
        store = default_store(place)
        key = record.key_of(settings.provenance, base, place.root)
        package = store.add(packages.read(Path(package_path)))
        code, passed = environment.code(base), [handed(g) for g in gates]
        lineage = {
            "code": package.provenance.get("code", ""),
            "config": settings.digest,
            "data": package.provenance.get("data", ""),
            "git": environment.git_tag(code),
        }
        told = {"project": project, "source": settings.data.source, "run": run_id, "config": settings.digest}
        made = record.made_now(package, **told, gates=passed, base_dir=base, code=code)
        proof, notes = record.write(store, package, made, settings.card, key)
        signed_by = key.public.id if key else None
        card = Card(package, settings.data.source, passed, lineage, settings.card, record.told(made, signed_by), proof)
        registry = Registry(tracking_uri(settings, place))
        version = _version(registry, settings.name, store.uri(package.digest), run_id, card, signed_by)
        reason = f"{settings.name} version {version.number}, sha256:{package.digest[:12]}"
        return Gate(
            "register",
            "pass",
            (reason, *notes, *filter(None, [registry.note])),
            {
                "model": settings.name,
                "version": version.number,
                "digest": package.digest,
                "uri": version.uri,
                "lineage": lineage,
                "metrics": version.metrics,
                "gates": {g.step: g.decision for g in passed},
                "run_id": run_id,
                "page": registry.page(version),
                "proof": sorted(proof),
                "proof_digests": {n: hashlib.sha256(data).hexdigest() for n, data in sorted(proof.items()) if n != SIGNATURE},
                "signed_by": signed_by,
                "card": card.parts(),
            },
        )

    def anchored(gate: Gate, tag: str) -> None:
        settings, _ = open_project(project, base_dir)
        registry = Registry(tracking_uri(settings, Home(home or None)))
        registry.tag(settings.name, gate.evidence["version"], {ANCHOR: tag})

    gate = run_step(work, gate_path, step="register", started=STARTED, kind="registration", anchored=anchored)
    return str(gate.evidence["digest"])


def _version(registry: Registry, name: str, uri: str, run_id: str, card: Card, signed_by: str | None) -> Version:
    """The version of a package, as the candidate."""
    package, tags = card.package, {f"sluice.{k}": v for k, v in card.lineage.items() if v}
    tags |= {"sluice.precision": package.precision, GATES: decided(card.gates)} | ({"sluice.signed_by": signed_by} if signed_by else {})
    if registry.by_digest(name, package.digest) is None:
        tags |= prompts.register(registry, package)
    version = registry.register(name, package.digest, uri, metrics=_metrics(card), tags=tags, run_id=run_id or None, card=card)
    registry.set_alias(name, CANDIDATE, version.number)
    return version


def _metrics(card: Card) -> Mapping[str, float | None]:
    """The package's own; of one that was sealed with none, since it is asked and not run (a prompt, a tuned model), those that `evaluate` found."""
    found = next((g.evidence.get("evaluation") or {} for g in card.gates if g.step == "evaluate"), {})
    return card.package.metrics or {name: m["value"] for name, m in (found.get("metrics") or {}).items()}
