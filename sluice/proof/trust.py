"""Whether a package may serve: where signatures are required, only one that a trusted key signed.

What is checked is the signature over ``model.json``: its sha256 is the package's digest, and it lists every other file with its own.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from sluice.core.errors import PackageError, ProjectError
from sluice.package import beside
from sluice.proof import bundle, keys
from sluice.proof.keys import PublicKey

#: ``1`` or ``true``: signatures are required. The signature itself, for a program to which only the package's files are brought.
REQUIRE_ENV, SIGNATURE_ENV = "SLUICE_REQUIRE_SIGNATURE", "SLUICE_SIGNATURE"
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_FIX = "sign the package (`sluice sign`)"


@dataclasses.dataclass(frozen=True)
class Trust:
    """What is trusted where: `required`, and the public keys. Without `required` nothing is asked."""

    required: bool = False
    keys: tuple[PublicKey, ...] = ()

    def check(self, digest: str, signature: bytes | None, where: str) -> PublicKey | None:
        """Whether the package of this digest is signed by a trusted key; returns it, None where none is required.

        Args:
            signature: the bundle's bytes, None where none was found. where: how errors call the package.

        Raises:
            PackageError: it is not.
        """
        if not self.required:
            return None
        if not signature:
            raise PackageError("is not signed, and a signature is required here", field=where, value=digest[:12], fix=_FIX)
        name = f"{where}: signature"
        found = bundle.read(signature, name)
        bundle.covers(found, digest, name)
        return bundle.signed_by(found, self.keys, name)


#: Nothing is asked.
NOTHING = Trust()


def trust_of(required: bool, named: Iterable[str | Path], environ: Mapping[str, str] | None = None, *, implied: bool = True) -> Trust:
    """What options and environment say: `required` or ``$SLUICE_REQUIRE_SIGNATURE``, the keys named or those of ``$SLUICE_TRUSTED_KEYS``.

    Args:
        implied: who names keys requires a signature by one of them. Else the keys are only there for whoever asks for one.

    Raises:
        ProjectError: the variable is neither yes nor no, a key cannot be read, or a signature is required and no key is trusted.
    """
    env = os.environ if environ is None else environ
    said = env.get(REQUIRE_ENV, "").strip().lower()
    if said not in (*_YES, *_NO):
        raise ProjectError("is neither 1 nor 0", field=f"${REQUIRE_ENV}", value=said, fix="1: a package must be signed")
    items = list(named)
    required = required or said in _YES or (implied and bool(items))
    if implied and not required:
        return NOTHING
    found = keys.trusted(items, "--trusted-key") if items else keys.trusted_here(environ=env)
    if required and not found:
        raise ProjectError(
            "a signature is required, and no key is trusted: nothing could be served",
            field="--trusted-key",
            fix=f"name public keys: --trusted-key FILE, or ${keys.TRUSTED_ENV} (files, folders or PEM text)",
        )
    return Trust(required, tuple(found))


def signature_beside(package: Path, digest: str, environ: Mapping[str, str] | None = None) -> bytes | None:
    """The signature of a package in a folder: from the store it lies in, else ``$SLUICE_SIGNATURE``. Raises `PackageError` where it cannot be read."""
    root = package.resolve()
    if root.parent.name == "sha256":
        found = beside.read_bounded(root.parent.parent / beside.FOLDER / digest / beside.SIGNATURE, bundle.LIMIT)
        if found:
            return found
    text = (os.environ if environ is None else environ).get(SIGNATURE_ENV, "").strip()
    return text.encode() or None
