"""`sluice keys`, `sign`, `verify`: who made a package, of what, and whether it is still that."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import re
import tempfile
from pathlib import Path

from sluice.cli import show_json
from sluice.core.errors import PackageError, ProjectError
from sluice.core.home import Home
from sluice.package import beside
from sluice.package import package as packages
from sluice.package.package import MANIFEST, Package, Store
from sluice.package.s3 import S3Store
from sluice.package.store import PackageStore, default_store, open_store
from sluice.proof import keys
from sluice.proof.signing import sign as signature_of
from sluice.proof.verify import NONE, OK, UNCHECKED, WRONG, Part, Verdict
from sluice.proof.verify import verify as verdict_of
from sluice.registry.references import find_version, registry_of

REFUSED = 3


def new(args: argparse.Namespace) -> int:
    """`sluice keys new`: a pair to sign with. Without `-o` it is the home's own, and runs there sign with it."""
    path = args.output or Home(args.home).create().root / "keys" / keys.PRIVATE_NAME
    made = keys.new_pair(path, os.environ.get(keys.PASSWORD_ENV))
    public = path.with_suffix(keys.PUBLIC_SUFFIX)
    if args.json:
        show_json({"private": str(path), "public": str(public), "id": made.id})
        return 0
    print(
        f"private key: {path}  keep it secret; runs sign with it"
        + ("" if args.output is None else f" where ${keys.SIGNING_KEY_ENV} or provenance.key names it")
    )
    print(f"public key:  {public}  for whoever verifies: `sluice verify NAME --key {public}`")
    print(f"id:          {made.id}")
    return 0


def show(args: argparse.Namespace) -> int:
    """`sluice keys show`: the ids of public keys."""
    found = keys.trusted(args.files, "FILE")
    if args.json:
        show_json({"keys": [{"id": k.id, "source": k.source} for k in found]})
    else:
        for k in found:
            print(f"{k.id}  {k.source}")
    return 0


def sign(args: argparse.Namespace) -> int:
    """`sluice sign`: sign a package that is in a store, with what lies beside it."""
    home = Home(args.home)
    found = find(args.package, home)
    digest, store = found.digest, found.store
    key = keys.signing_key(args.key, home=home.root)
    if key is None:
        raise ProjectError(
            "there is no key to sign with", field="--key", fix=f"`sluice keys new`, or name one: --key FILE, ${keys.SIGNING_KEY_ENV}"
        )
    package, proof = found.open(), store.proof(digest) or {}
    left = {name: data for name, data in proof.items() if name != beside.SIGNATURE}
    store.add_proof(digest, left | {beside.SIGNATURE: signature_of(package, left, key)})
    if args.json:
        show_json({"digest": digest, "signed_by": key.public.id, "files": len(package.manifest["files"]) + 1 + len(left)})
    else:
        print(f"signed: sha256:{digest} by key {key.public.id[:12]}")
    return 0


def verify(args: argparse.Namespace) -> int:
    """`sluice verify`: 0 where nothing is wrong, 3 where something is."""
    home = Home(args.home)
    meant = find(args.package, home)
    named = bool(args.key) or bool(os.environ.get(keys.TRUSTED_ENV, "").strip())
    trusted = keys.trusted_here(args.key, home=home.root)
    found = verdict_of(meant.open_there, meant.digest, meant.store, trusted, signature=named or args.require_signature)
    found = witnessed(found, meant, home)
    if args.json:
        show_json(found.to_dict() | {"exit_code": 0 if found.ok else REFUSED})
    else:
        _tell(found)
    return 0 if found.ok else REFUSED


def witnessed(found: Verdict, meant: Found, home: Home) -> Verdict:
    """With what the home's audit log says of the package's proof, where it knows the package. A log that cannot be read is said, and is no fault of the package."""
    from sluice.audit.log import AuditError, open_log, records
    from sluice.registry.witness import proof_of

    try:
        about = [r for r in records(open_log(home)) if r.entry.digest == meant.digest and r.entry.kind == "registration"]
    except AuditError as e:
        return dataclasses.replace(found, parts=(*found.parts, Part("audit log", NONE, (f"it was not asked: {e.field} {e.message}",))))
    if not about:
        return found
    wrong = tuple(map(str, proof_of(meant.digest, meant.store, about)))
    said = wrong or (f"record {about[-1].sequence}: registered {about[-1].time[:10]} by {about[-1].entry.user}",)
    return dataclasses.replace(found, parts=(*found.parts, Part("audit log", WRONG if wrong else OK, said)))


def _tell(found: Verdict) -> None:
    unknown = any(part.state == UNCHECKED for part in found.parts)
    print(f"{('whole, by nobody known' if unknown else 'verified') if found.ok else 'NOT VERIFIED'}: sha256:{found.digest}")
    for part in found.parts:
        mark = "WRONG" if part.state == WRONG else "?" if part.state == UNCHECKED else part.state
        for i, said in enumerate(part.said):
            first, *rest = said.split("\n")
            print(f"  {part.name if i == 0 else '':18} {mark if i == 0 else '':6} {first}")
            for line in rest:
                print(f"  {'':18} {'':6} {line.strip()}")


@dataclasses.dataclass(frozen=True)
class Found:
    """What a reference means.

    Attributes:
        digest: that must be there. store: where its proof is. root: the package's folder; None where the store keeps it elsewhere.
    """

    digest: str
    store: PackageStore
    root: Path | None = None

    def open(self) -> Package:
        """The package, verified; of an object store perhaps the copy fetched before. Raises `PackageError`."""
        return packages.read(self.root, self.digest) if self.root is not None else self.store.get(self.digest)

    def open_there(self) -> Package:
        """The package as it lies in its store now, verified: no copy stands in for it. Raises `PackageError`."""
        if not isinstance(self.store, S3Store):
            return self.open()
        with tempfile.TemporaryDirectory(prefix="sluice-verify-") as folder:
            return S3Store(self.store.root, cache=Path(folder)).get(self.digest)


def find(reference: str, home: Home) -> Found:
    """The package a reference means: nothing is verified yet.

    A folder below ``sha256/`` of a store must have the digest it is called by; of another one the digest is what its ``model.json`` says.

    Raises:
        PackageError: there is no such package, or the store does not answer.
        ProjectError: no such version.
    """
    path = Path(reference)
    if (path / MANIFEST).is_file() or (path.is_dir() and _kept(path.resolve())):
        return _folder(path.resolve(), home)
    digits = reference.removeprefix("sha256:")
    store = default_store(home)
    if re.fullmatch(r"[0-9a-f]{6,64}", digits) and not path.is_dir():
        found = [d for d in store.digests() if d.startswith(digits)]
        if len(found) != 1:
            what = "no package in the store begins so" if not found else f"{len(found)} packages begin so"
            raise PackageError(what, field="PACKAGE", value=reference, fix="`sluice models` lists the digests")
        return _stored(store, found[0])
    version = find_version(reference if "@" in reference else f"{reference}@champion", registry_of(home))
    return _stored(open_store(version.uri, home), version.digest)


def _stored(store: PackageStore, digest: str) -> Found:
    return Found(digest, store, store.path(digest) if isinstance(store, Store) else None)


def _kept(path: Path) -> bool:
    """Whether a folder is a package's place in a store."""
    return path.parent.name == "sha256" and re.fullmatch(r"[0-9a-f]{64}", path.name) is not None


def _folder(path: Path, home: Home) -> Found:
    if _kept(path):
        return Found(path.name, Store(path.parent.parent), path)
    try:
        raw = (path / MANIFEST).read_bytes()
    except OSError as e:
        raise PackageError(f"cannot be read: {e.strerror or e}", field=str(path / MANIFEST)) from e
    return Found(hashlib.sha256(raw).hexdigest(), default_store(home), path)
