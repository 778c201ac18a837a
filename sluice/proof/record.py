"""Writing what is kept beside a package when it is registered: its statement, its bill of materials, its signature."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluice.core.errors import MissingExtra, PackageError, ProjectError
from sluice.core.gate import Gate
from sluice.package import beside
from sluice.package.package import Package
from sluice.package.store import PackageStore
from sluice.proof import bom, bundle, environment, statement
from sluice.proof.config import CardConfig, ProvenanceConfig
from sluice.proof.keys import SIGNING_KEY_ENV, SigningKey, signing_key
from sluice.proof.signing import sign, signed_files
from sluice.proof.statement import Made

#: Set in every pod of Kubeflow Pipelines.
_POD = "KFP_POD_NAME"
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"']+@")


def key_of(config: ProvenanceConfig, base_dir: Path | None, home: Path | None) -> SigningKey | None:
    """The key a project's packages are signed with; None where none is at hand and none is required.

    Raises:
        ProjectError: it is named and cannot be used, or required and not there.
    """
    found = signing_key(config.key, beside=base_dir, home=home)
    if found is None and config.required:
        raise ProjectError(
            "is required, and there is no key to sign with",
            field="provenance.required",
            value=True,
            fix=f"`sluice keys new`, or name one: provenance.key, ${SIGNING_KEY_ENV}",
        )
    return found


def made_now(
    package: Package, *, project: str, source: str, gates: Sequence[Gate], base_dir: Path, run: str, config: str, code: Mapping[str, Any]
) -> Made:
    """How a package came to be, told where it is registered. Passwords in addresses are left out.

    Args:
        project: the project file's text. source: of its rows. config: the settings' digest. code: of `environment.code`.
        gates: of the steps before. base_dir: where the project's relative paths start. run: its id.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Made(
        project=_CREDENTIALS.sub("", project),
        config=config,
        source=_CREDENTIALS.sub("", source),
        base_dir=str(base_dir.resolve()),
        gates=gates,
        code=code,
        lock=environment.lock(),
        by=environment.by(),
        finished=now,
        run=run,
        where="kubeflow" if os.environ.get(_POD) else "local",
    )


def write(
    store: PackageStore, package: Package, made: Made, card: CardConfig, key: SigningKey | None
) -> tuple[dict[str, bytes], list[str]]:
    """Write a package's proof beside it. One that is there already, whole and of this package, stays; a signature is put to it if need be.

    Returns:
        The proof, and what a person should hear of it.

    Raises:
        PackageError: the store refuses.
    """
    proof, notes = _kept(store, package), []
    if proof is None:
        proof = {}
        try:
            proof[beside.BOM] = bom.build(
                package,
                packages=made.lock["packages"],
                python=made.lock["python"],
                source=made.source,
                measured=measured(made.gates),
                considered=card.model_dump() | {"limits": [*card.limits, *card.not_for]},
                licence=card.licence,
                made=made.finished,
            )
        except MissingExtra as e:
            notes.append(f"no bill of materials was written: {e.message} ({e.fix})")
        proof[beside.STATEMENT] = statement.build(package, made, dict(proof))
        store.add_proof(package.digest, proof)
    if key is not None and not _signed(package, proof, key):
        proof = {name: data for name, data in proof.items() if name != beside.SIGNATURE}
        proof[beside.SIGNATURE] = sign(package, proof, key)
        store.add_proof(package.digest, proof)
    notes.append(f"signed by key {key.public.id[:12]}" if key else "not signed: there is no key (`sluice keys new`)")
    return proof, notes


def _kept(store: PackageStore, package: Package) -> dict[str, bytes] | None:
    """The proof that is there, if it is whole and of this package: the first registration is the one that is told of."""
    try:
        proof = store.proof(package.digest)
        if proof is None or beside.STATEMENT not in proof or statement.about(statement.read(proof[beside.STATEMENT]), package, proof):
            return None
    except PackageError:  # damaged: written anew
        return None
    return proof


def _signed(package: Package, proof: Mapping[str, bytes], key: SigningKey) -> bool:
    """Whether it is signed by this key, over all there is."""
    if beside.SIGNATURE not in proof:
        return False
    try:
        found = bundle.read(proof[beside.SIGNATURE])
        bundle.signed_by(found, [key.public])
    except PackageError:
        return False
    return dict(found.files) == signed_files(package, proof)


def measured(gates: Sequence[Gate]) -> list[dict[str, Any]]:
    """The metrics on held-out rows with their intervals, and those of slices, as `evaluate` hands them on: ``name``, ``value``, ``low``, ``high``."""
    evidence = next((g.evidence for g in gates if g.step == "evaluate"), {})
    found = [{"name": n, "value": v[0], "low": v[1], "high": v[2]} for n, v in (evidence.get("measured") or {}).items()]
    metric = (evidence.get("evaluation") or {}).get("metric")
    for where, value, low, high, *_ in evidence.get("sliced") or ():
        found.append({"name": metric, "slice": where, "value": value, "low": low, "high": high})
    return found


def told(made: Made, signed_by: str | None) -> list[tuple[str, str]]:
    """Where a package came from, in rows of its card."""
    code, locked = made.code, made.lock
    commit = (
        f"commit `{code['commit']}`" + ("" if code["clean"] else f", changed: {', '.join(code['changed'])}")
        if code
        else "in no git repository"
    )
    return [
        ("code", commit),
        ("environment", f"Python {locked['python']}, {len(locked['packages'])} distributions, `{str(locked['digest'])[:12]}`"),
        ("made by", f"{made.by}, {made.finished}"),
        ("signed by", f"key `{signed_by}`" if signed_by else "nobody"),
    ]
