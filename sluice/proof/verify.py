"""Whether a package and its proof are what they say: each fault by name, none hidden behind another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sluice.core.errors import PackageError
from sluice.package import beside
from sluice.package.package import Package
from sluice.package.store import PackageStore
from sluice.proof import bom, bundle, statement
from sluice.proof.keys import PublicKey
from sluice.proof.signing import signed_files

OK, WRONG, NONE, UNCHECKED = "ok", "wrong", "none", "unchecked"


@dataclasses.dataclass(frozen=True)
class Part:
    """What was found of one part.

    Attributes:
        name: ``files``, ``statement``, ``bill of materials`` or ``signature``.
        state: ``ok``, ``wrong``, ``none``: it is not there, and need not be; ``unchecked``: a signature, where no key is trusted and none is required.
        said: what, in sentences.
    """

    name: str
    state: str
    said: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found of a package: `digest`, `parts`, and `signed_by`, the id of the trusted key that signed it."""

    digest: str
    parts: tuple[Part, ...]
    signed_by: str | None = None

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return all(p.state != WRONG for p in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        parts = {p.name.replace(" ", "_"): {"state": p.state, "said": list(p.said)} for p in self.parts}
        return {"digest": self.digest, "verified": self.ok, "signed_by": self.signed_by, **parts}


def verify(opened: Callable[[], Package], digest: str, store: PackageStore, keys: Sequence[PublicKey], *, signature: bool) -> Verdict:
    """Check a package and what lies beside it.

    Args:
        opened: opens the package and verifies its files, or raises `PackageError`. digest: the digest it must have.
        store: where its proof is.
        keys: that are trusted. signature: it must be signed by one of them; else that is told where it is so.
    """
    try:
        package = opened()
        parts = [Part("files", OK, (f"{len(package.manifest['files']) + 1} files have the digests of sha256:{digest[:12]}",))]
    except PackageError as e:
        package, parts = None, [Part("files", WRONG, (str(e),))]
    try:
        proof = store.proof(digest) or {}
        damaged = ""
    except PackageError as e:
        proof, damaged = {}, str(e)
    parts.append(_statement(package, proof, damaged))
    parts.append(_bill(package, proof, damaged))
    part, key = _signature(package, digest, proof, damaged, keys, signature)
    return Verdict(digest, (*parts, part), key)


def _statement(package: Package | None, proof: Mapping[str, bytes], damaged: str) -> Part:
    name = "statement"
    if damaged or beside.STATEMENT not in proof:
        return Part(
            name, WRONG if damaged else NONE, (damaged or "there is none beside the package: it was registered before there was one",)
        )
    try:
        record = statement.read(proof[beside.STATEMENT])
    except PackageError as e:
        return Part(name, WRONG, (str(e),))
    wrong = statement.about(record, package, proof) if package else []
    code = record.dependency("code")
    commit = f"commit {code['digest']['gitCommit'][:12]}{'' if code['annotations']['clean'] else ', changed'}" if code else "no git commit"
    said = f"{commit}, data {((record.dependency('data').get('digest') or {}).get('sha256') or '?')[:12]}, {len(record.gates)} gates"
    return Part(name, WRONG if wrong else OK, tuple(wrong) or (f"{said}, by {record.internal['by']}",))


def _bill(package: Package | None, proof: Mapping[str, bytes], damaged: str) -> Part:
    name = "bill of materials"
    if damaged or beside.BOM not in proof:
        return Part(name, WRONG if damaged else NONE, (damaged or "there is none beside the package",))
    try:
        found = bom.read(proof[beside.BOM])
    except PackageError as e:
        return Part(name, WRONG, (str(e),))
    wrong = bom.about(found, package) if package else []
    return Part(name, WRONG if wrong else OK, tuple(wrong) or (f"CycloneDX {found['specVersion']}, {len(found['components'])} components",))


def _signature(
    package: Package | None, digest: str, proof: Mapping[str, bytes], damaged: str, keys: Sequence[PublicKey], needed: bool
) -> tuple[Part, str | None]:
    name = "signature"
    if damaged:
        return Part(name, WRONG, (damaged,)), None
    if beside.SIGNATURE not in proof:
        said = "it is not signed" + ("" if needed else ": where it must be, name the key with --key")
        return Part(name, WRONG if needed else NONE, (said,)), None
    known = bool(keys) or needed
    try:
        found = bundle.read(proof[beside.SIGNATURE])
        bundle.covers(found, digest)
        key = bundle.signed_by(found, keys) if known else None
    except PackageError as e:
        return Part(name, WRONG, (str(e),)), None
    wanted = signed_files(package, proof) if package else {}
    wrong = [f"{n} is not the one that was signed" for n, d in wanted.items() if n in found.files and found.files[n] != d]
    wrong += [f"{n} is not signed" for n in wanted if n not in found.files]
    wrong += [f"{n} was signed and is not there" for n in found.files if n not in wanted] if package else []
    if wrong:
        return Part(name, WRONG, tuple(wrong)), None
    if key is None:
        said = f"by key {found.key_id[:12]}, and no key is trusted here: whose that is was not checked (name it with --key)"
        return Part(name, UNCHECKED, (said,)), None
    return Part(name, OK, (f"over {len(found.files)} files, by key {key}",)), key.id
