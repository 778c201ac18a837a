"""Keys that sign packages, and those that are trusted: ECDSA on NIST's curves in PEM, as OpenSSF's ``model-signing`` takes them.

A private key is named by a path, or held in an environment variable; it is read to sign, and written nowhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sluice.core.errors import MissingExtra, ProjectError

#: The private key: a path, or PEM text. Its password. What is trusted: paths (files or folders) or PEM text.
SIGNING_KEY_ENV, PASSWORD_ENV, TRUSTED_ENV = "SLUICE_SIGNING_KEY", "SLUICE_SIGNING_KEY_PASSWORD", "SLUICE_TRUSTED_KEYS"
#: What a home's own key is called; the public half lies beside it.
PRIVATE_NAME, PUBLIC_SUFFIX = "signing.pem", ".pub"
_LIMIT, _MOST = 1 << 16, 64
_PUBLIC = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_NEW = "`sluice keys new` makes a pair"


@dataclasses.dataclass(frozen=True)
class PublicKey:
    """A key that signatures are checked with.

    Attributes:
        id: sha256 (hex) of its PEM form, by which a signature names it. source: where it was found. key: cryptography's object.
    """

    id: str
    source: str
    key: Any = dataclasses.field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.id[:12]} ({self.source})"


def _primitives() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as e:
        raise MissingExtra("needs cryptography", field="signature", fix="pip install 'sluice-ml[proof]'") from e
    return serialization


def _identified(key: Any, source: str) -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    serialization = _primitives()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise ProjectError("is no key on the curve P-256, P-384 or P-521", field=source, fix=_NEW)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(hashlib.sha256(pem).hexdigest(), source, key)


def public_keys(text: str, source: str) -> list[PublicKey]:
    """The public keys in a PEM text.

    Raises:
        ProjectError: there is none in it, one is damaged or of another kind, or it holds a private key.
    """
    serialization = _primitives()
    if "PRIVATE KEY-----" in text:
        raise ProjectError("holds a private key, which is told to nobody", field=source, fix="name the public one, which ends in .pub")
    found = []
    for block in _PUBLIC.findall(text)[: _MOST + 1]:
        try:
            key = serialization.load_pem_public_key(block.encode())
        except Exception as e:  # cryptography's errors have no common base
            raise ProjectError("holds a public key that cannot be read", field=source, fix=_NEW) from e
        found.append(_identified(key, source))
    if not found:
        raise ProjectError("holds no public key (PEM: -----BEGIN PUBLIC KEY-----)", field=source, fix=_NEW)
    return found


def trusted(named: Iterable[str | Path], field: str = "--trusted-key") -> list[PublicKey]:
    """The public keys that files, or all ``.pub`` and ``.pem`` files of folders, hold.

    Args:
        named: paths, or PEM texts themselves.

    Raises:
        ProjectError: one is not there, cannot be read, or holds no key.
    """
    found: dict[str, PublicKey] = {}
    for item in named:
        texts = [("the PEM text", str(item))] if "-----BEGIN" in str(item) else _texts(Path(item).expanduser(), field)
        for source, text in texts:
            for key in public_keys(text, f"{field} {source}"):
                found.setdefault(key.id, dataclasses.replace(key, source=source))
    if len(found) > _MOST:
        raise ProjectError(f"names more than {_MOST} keys", field=field, value=len(found))
    return list(found.values())


def _texts(path: Path, field: str) -> list[tuple[str, str]]:
    try:
        if path.is_dir():
            every = sorted(p for p in path.iterdir() if p.suffix in (PUBLIC_SUFFIX, ".pem") and not p.name.startswith(".") and p.is_file())
            read = [(str(p), _read(p)) for p in every[:_MOST]]
            return [(where, text) for where, text in read if "PRIVATE KEY-----" not in text]
        return [(str(path), _read(path))]
    except OSError as e:
        raise ProjectError(f"cannot be read: {e.strerror or e}", field=field, value=str(path), fix=_NEW) from e


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise ProjectError(f"is larger than {_LIMIT} bytes: it is no key", field=str(path))
    return data.decode("utf-8", "replace")


def trusted_here(named: Iterable[str | Path] = (), environ: Mapping[str, str] | None = None, home: Path | None = None) -> list[PublicKey]:
    """What is trusted: the keys named; without any, those of ``$SLUICE_TRUSTED_KEYS``; without those, the home's own. Raises `ProjectError`."""
    if items := list(named):
        return trusted(items, "--key")
    env = os.environ if environ is None else environ
    if text := env.get(TRUSTED_ENV, "").strip():
        return trusted([text] if "-----BEGIN" in text else [t for t in text.split(os.pathsep) if t], f"${TRUSTED_ENV}")
    folder = home / "keys" if home is not None else None
    return trusted([folder], "keys") if folder is not None and folder.is_dir() else []


def new_pair(path: Path, password: str | None = None) -> PublicKey:
    """Make a key pair: the private key at `path`, readable by its owner alone, the public one beside it with ``.pub`` behind its stem.

    Raises:
        ProjectError: there is a file at `path` already, or it cannot be written.
    """
    serialization = _primitives()
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    locked = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    beside = path.with_suffix(PUBLIC_SUFFIX)
    made = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for where, data, mode in ((path, private, 0o600), (beside, public, 0o644)):
            with os.fdopen(os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                made.append(where)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
    except OSError as e:
        for where in made:
            with contextlib.suppress(OSError):
                where.unlink()
        what = "is there already, and is not written over" if isinstance(e, FileExistsError) else f"cannot be written: {e.strerror or e}"
        raise ProjectError(what, field="keys", value=e.filename or str(path), fix="name another file with -o") from e
    return _identified(key.public_key(), str(beside))


@dataclasses.dataclass(frozen=True)
class SigningKey:
    """A private key to sign with: `key` is cryptography's object, `pem` and `password` what it was read of, `public` its other half."""

    public: PublicKey
    pem: bytes = dataclasses.field(repr=False)
    password: bytes | None = dataclasses.field(repr=False)


def signing_key(named: str | Path | None = None, *, beside: Path | None = None, home: Path | None = None) -> SigningKey | None:
    """The key to sign with: the one named, else ``$SLUICE_SIGNING_KEY`` (a path or PEM text), else the home's own; None where there is none.

    Args:
        named: a path, relative to `beside`.

    Raises:
        ProjectError: it is named and cannot be used.
    """
    field, given = ("the signing key", str(named)) if named else (f"${SIGNING_KEY_ENV}", os.environ.get(SIGNING_KEY_ENV, "").strip())
    own = home / "keys" / PRIVATE_NAME if home is not None else None
    if not given and (own is None or not own.is_file()):
        return None
    if not given:
        field, given = "the home's key", str(own)
    if "-----BEGIN" in given:
        return _private(given.encode(), field)
    path = Path(given).expanduser()
    path = beside / path if named and beside is not None else path
    try:
        return _private(_read(path).encode(), f"{field} {path}")
    except OSError as e:
        raise ProjectError(f"cannot be read: {e.strerror or e}", field=field, value=str(path), fix=_NEW) from e


def _private(pem: bytes, field: str) -> SigningKey:
    serialization = _primitives()
    password = os.environ.get(PASSWORD_ENV, "").encode() or None
    try:
        key = serialization.load_pem_private_key(pem, password)
    except TypeError as e:  # cryptography's: a password is missing, or there is none to give
        if password is not None:
            return _private_without(pem, field)
        raise ProjectError("is locked with a password", field=field, fix=f"give it as ${PASSWORD_ENV}") from e
    except Exception as e:
        raise ProjectError(
            "is no private key in PEM, or its password is another", field=field, fix=f"{_NEW}; its password: ${PASSWORD_ENV}"
        ) from e
    return SigningKey(_identified(key.public_key(), field), pem, password)


def _private_without(pem: bytes, field: str) -> SigningKey:
    """A key that has no password, whatever the variable says."""
    try:
        key = _primitives().load_pem_private_key(pem, None)
    except Exception as e:
        raise ProjectError("is no private key in PEM", field=field, fix=_NEW) from e
    return SigningKey(_identified(key.public_key(), field), pem, None)
