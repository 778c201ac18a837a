"""Signing a package together with its record and its bill of materials, by OpenSSF's ``model-signing``.

What is signed is the part of a store that is the package's: ``sha256/<digest>/...`` and ``proof/<digest>/{provenance.json, bom.cdx.json}``,
under these names. So OpenSSF's own tool checks it, too, in a store or a copy of these two folders::

    model_signing verify key STORE --signature STORE/proof/DIGEST/model.sig --public_key signing.pub --ignore_unsigned_files
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sluice.core.errors import MissingExtra
from sluice.package import beside
from sluice.package.package import MANIFEST, Package
from sluice.proof.keys import SigningKey


def signed_files(package: Package, proof: Mapping[str, bytes]) -> dict[str, str]:
    """What a signature of a package is over: name in the store -> sha256 (hex).

    Args:
        package: verified: its files have the digests it lists. proof: name -> bytes; of a signature among them none is.
    """
    inside = {MANIFEST: package.digest} | {name: str(entry["sha256"]) for name, entry in package.manifest["files"].items()}
    next_to = {name: hashlib.sha256(data).hexdigest() for name, data in proof.items() if name != beside.SIGNATURE}
    return {f"sha256/{package.digest}/{n}": d for n, d in inside.items()} | {
        f"{beside.FOLDER}/{package.digest}/{n}": d for n, d in next_to.items()
    }


def sign(package: Package, proof: Mapping[str, bytes], key: SigningKey) -> bytes:
    """A signature over a package and the files of its proof. Raises `MissingExtra` where model-signing is not installed."""
    try:
        from model_signing import hashing, manifest, signing
    except ImportError as e:
        raise MissingExtra("needs model-signing", field="signature", fix="pip install 'sluice-ml[proof]'") from e
    digest_of = manifest.hashing.Digest
    items = [
        manifest.FileManifestItem(path=PurePosixPath(name), digest=digest_of("sha256", bytes.fromhex(found)))
        for name, found in signed_files(package, proof).items()
    ]
    kind = manifest.SerializationType.from_args({"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []})

    class Listed(hashing.Config):
        """The files as the package lists them, which was verified: they are not read again."""

        def hash(self, model_path: Any, *, files_to_hash: Any = None) -> Any:
            """The manifest that is signed."""
            return manifest.Manifest(package.name, items, kind)

    with tempfile.TemporaryDirectory(prefix="sluice-sign-") as folder:  # the folder is its owner's alone
        private, signature = Path(folder) / "key.pem", Path(folder) / beside.SIGNATURE
        private.write_bytes(key.pem)
        # The type says text, but what it is handed to takes bytes.
        config = signing.Config().use_elliptic_key_signer(private_key=private, password=key.password)
        private.unlink()
        config.set_hashing_config(Listed()).sign(folder, signature)
        return signature.read_bytes()
