"""Signatures as OpenSSF's ``model-signing`` 1.x writes them, checked with ``cryptography`` alone: for programs that have no room for the rest.

The file is a Sigstore bundle v0.3 (JSON) around a DSSE envelope; what is signed is DSSE's pre-authentication encoding of an in-toto
statement of type ``https://model_signing/signature/v1.0``, which lists files by name and sha256. Sources: github.com/secure-systems-lab/dsse
(protocol.md, v1.0.0), github.com/sigstore/model-transparency (docs/model_signing_format.md). Signatures made through Sigstore carry a
certificate in place of a key's name, and are not checked here.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from sluice.core.errors import PackageError
from sluice.proof.keys import PublicKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE, STATEMENT_TYPE = "application/vnd.in-toto+json", "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
LIMIT = 1 << 20
_MOST_FILES = 4096
#: Fulcio's extension that names the issuer of the identity.
_ISSUER = "1.3.6.1.4.1.57264.1.1"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIX = "sign the package again: `sluice sign PACKAGE`"


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A signature that was read, and not yet checked.

    Attributes:
        key_id: of the key that made it, as it says itself. payload: what was signed. signature: DER.
        files: name -> sha256 (hex) of what it is over.
    """

    key_id: str
    payload: bytes
    signature: bytes
    files: Mapping[str, str]


def read(raw: bytes, where: str = "signature") -> Bundle:
    """Read a signature file, strictly: nothing in it may be changed without being noticed.

    Raises:
        PackageError: it is no such bundle, was made through Sigstore, or what it signs is no list of files.
    """
    if len(raw) > LIMIT:
        raise PackageError(f"is larger than {LIMIT} bytes", field=where, fix=_FIX)
    try:
        doc = orjson.loads(raw)
    except orjson.JSONDecodeError as e:
        raise PackageError(f"is not JSON: {e}", field=where, fix=_FIX) from e
    if orjson.dumps(doc) != raw:
        raise PackageError("is not as it was written", field=where, fix=_FIX)
    material: dict[str, Any] = {}
    if isinstance(doc, dict) and isinstance(doc.get("verificationMaterial"), dict):
        material = doc["verificationMaterial"]
    if "certificate" in material or "x509CertificateChain" in material:
        who, issuer = _certified(material)
        asked = f"--identity {who or 'WHO'} --identity_provider {issuer or 'ISSUER'}"
        raise PackageError(
            "was made with a certificate (Sigstore), and only signatures by keys are checked here",
            field=where,
            value=who or "a certificate that cannot be read",
            fix=f"`model_signing verify sigstore STORE --signature FILE {asked} --ignore_unsigned_files` where there is internet, or sign with a key: `sluice sign PACKAGE`",
        )
    shape: dict[str, Any] = {"mediaType": str, "verificationMaterial": {"publicKey": {"hint": str}, "tlogEntries": list}}
    shape["dsseEnvelope"] = {"payload": str, "payloadType": str, "signatures": list}
    _shaped(doc, shape, where)
    envelope = doc["dsseEnvelope"]
    if doc["mediaType"] != MEDIA_TYPE or envelope["payloadType"] != PAYLOAD_TYPE or material["tlogEntries"]:
        raise PackageError("is no signature by a key", field=where, value=doc["mediaType"], fix=_FIX)
    if len(envelope["signatures"]) != 1:
        raise PackageError("must hold one signature", field=where, value=len(envelope["signatures"]), fix=_FIX)
    _shaped(envelope["signatures"][0], {"sig": str, "keyid": str}, where, optional=("keyid",))
    if envelope["signatures"][0].get("keyid"):
        raise PackageError("names a key that is not read", field=f"{where}: keyid", value=envelope["signatures"][0]["keyid"], fix=_FIX)
    payload = _decoded(envelope["payload"], f"{where}: payload")
    signature = _decoded(envelope["signatures"][0]["sig"], f"{where}: sig")
    return Bundle(material["publicKey"]["hint"], payload, signature, _files(payload, where))


def _certified(material: Mapping[str, Any]) -> tuple[str, str]:
    """Whom a certificate of Sigstore names, and who vouches for it (docs/oid-info.md of sigstore/fulcio); "" where it does not say. Nothing of it is trusted."""
    from cryptography import x509

    try:
        chain = (material.get("x509CertificateChain") or {}).get("certificates") or [material.get("certificate")]
        certificate = x509.load_der_x509_certificate(base64.b64decode(chain[0]["rawBytes"]))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        who = next((str(n.value) for n in names if isinstance(n, x509.RFC822Name | x509.UniformResourceIdentifier)), "")
        said = [
            e.value.value
            for e in certificate.extensions
            if e.oid.dotted_string == _ISSUER and isinstance(e.value, x509.UnrecognizedExtension)
        ]
        return who, said[0].decode() if said else ""
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, x509.ExtensionNotFound):
        return "", ""


def _shaped(value: Any, shape: Any, where: str, optional: Sequence[str] = ()) -> None:
    if not isinstance(shape, dict):
        if not isinstance(value, shape):
            raise PackageError("is not what a signature has there", field=where, value=value, fix=_FIX)
        return
    if not isinstance(value, dict) or {*value, *optional} != {*shape}:
        raise PackageError(
            "is no signature of a known form", field=where, value=sorted(value) if isinstance(value, dict) else value, fix=_FIX
        )
    for key, inner in value.items():
        _shaped(inner, shape[key], f"{where}: {key}")


def _decoded(text: str, where: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as e:
        raise PackageError("is not base64", field=where, fix=_FIX) from e
    if base64.b64encode(data).decode() != text:
        raise PackageError("is not as it was written", field=where, fix=_FIX)
    return data


def _files(payload: bytes, where: str) -> dict[str, str]:
    """What a statement lists, consistent in itself: its subject is the sha256 over the files' digests, in their order."""
    try:
        found = orjson.loads(payload)
        fine = found["_type"] == STATEMENT_TYPE and found["predicateType"] == PREDICATE_TYPE
        subjects, resources, method = found["subject"], found["predicate"]["resources"], found["predicate"]["serialization"]
        fine = fine and method["method"] == "files" and len(resources) <= _MOST_FILES and len(subjects) == 1
        listed = {str(r["name"]): str(r["digest"]) for r in resources}
        fine = fine and len(listed) == len(resources) and all(r["algorithm"] == "sha256" for r in resources)
        fine = fine and all(_SHA256.fullmatch(d) for d in listed.values())
        whole = hashlib.sha256(b"".join(bytes.fromhex(d) for d in listed.values())).hexdigest() if fine else ""
        fine = fine and subjects[0]["digest"] == {"sha256": whole}
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError) as e:
        raise PackageError("signs what is no list of files", field=where, fix=_FIX) from e
    if not fine:
        raise PackageError("signs what is no list of files by sha256", field=where, fix=_FIX)
    return listed


def pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def signed_by(bundle: Bundle, keys: Sequence[PublicKey], where: str = "signature") -> PublicKey:
    """The trusted key that made a signature.

    Raises:
        PackageError: none of them did, or the signature is not of what it says.
    """
    if not keys:
        raise PackageError(
            f"was made by key {bundle.key_id[:12]}, and no key is trusted here", field=where, fix="name the public key: --key FILE"
        )
    key = next((k for k in keys if k.id == bundle.key_id), None)
    if key is None:
        raise PackageError(
            "was made by a key that is not trusted",
            field=where,
            value=bundle.key_id[:12],
            fix=f"trusted are {', '.join(map(str, keys[:5]))}; sign the package with one of them, or trust its key",
        )
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    digest: Any = {256: hashes.SHA256, 384: hashes.SHA384, 521: hashes.SHA512}[key.key.curve.key_size]
    try:
        key.key.verify(bundle.signature, pae(bundle.payload), ec.ECDSA(digest()))
    except InvalidSignature as e:
        raise PackageError("does not fit what it signs: it was changed, or made by another key", field=where, fix=_FIX) from e
    return key


def covers(bundle: Bundle, digest: str, where: str = "signature") -> None:
    """Whether a signature is of the package of this digest: it lists ``model.json``, whose sha256 the digest is.

    Raises:
        PackageError: it is of another package.
    """
    names = (f"sha256/{digest}/model.json", "model.json")
    found = next((bundle.files[n] for n in names if n in bundle.files), None)
    if found != digest:
        other = found or next((n.split("/")[1] for n in bundle.files if n.startswith("sha256/")), None)
        raise PackageError("is of another package", field=where, value=other and other[:12], fix=_FIX)
