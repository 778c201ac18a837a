"""Our reading of signatures against OpenSSF's own `model-signing`, both ways; keys that are no keys."""

from __future__ import annotations

import base64
import datetime
import json
import os
import subprocess
import sys

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sluice.core.errors import PackageError, ProjectError
from sluice.package import beside
from sluice.proof import bundle, keys


def private(curve, path, password=None):
    key = ec.generate_private_key(curve)
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
    public = path.with_suffix(".pub")
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return path, public


def test_openssfs_own_tool_verifies_what_is_signed_here(kept):
    from model_signing import verifying

    k = kept()
    public, root = k.home / "keys" / "signing.pub", k.home / "store"
    config = verifying.Config().use_elliptic_key_verifier(public_key=public).set_ignore_unsigned_files(True)
    config.verify(root, k.store.proof_path(k.digest) / beside.SIGNATURE)
    (k.store.path(k.digest) / "model.onnx").write_bytes(b"changed")
    with pytest.raises(ValueError, match=r"Hash mismatch for .*model.onnx"):
        config.verify(root, k.store.proof_path(k.digest) / beside.SIGNATURE)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name)
def test_what_openssfs_own_tool_signs_is_verified_here(kept, tmp_path, curve):
    from model_signing import hashing, signing

    k = kept(signed=False)
    key, public = private(curve, tmp_path / "key.pem")
    config = signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(hashing.Config())
    config.sign(k.store.path(k.digest), tmp_path / "model.sig")
    found = bundle.read((tmp_path / "model.sig").read_bytes())
    bundle.covers(found, k.digest)
    assert bundle.signed_by(found, keys.trusted([public])).source == str(public)
    assert found.files["model.onnx"] == k.package.manifest["files"]["model.onnx"]["sha256"]


def test_the_verifier_brings_nothing_heavy():
    code = "import sys,sluice.proof.bundle as b; bad={'torch','pandas','sklearn','sigstore','model_signing','pyarrow','onnx'} & set(sys.modules); assert not bad, bad"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def altered(kept, change):
    raw = json.loads(kept.store.proof(kept.digest)[beside.SIGNATURE])
    change(raw)
    return json.dumps(raw, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(mediaType="application/json"), "no signature by a key"),
        (lambda d: d["dsseEnvelope"].update(payloadType="text/plain"), "no signature by a key"),
        (
            lambda d: d["dsseEnvelope"].update(payload=d["dsseEnvelope"]["payload"][:-4] + "AAA="),
            "signs what is no list|not as it was written",
        ),
        (lambda d: d["dsseEnvelope"].update(payload="*"), "not base64"),
        (lambda d: d["dsseEnvelope"].update(signatures=[]), "one signature"),
        (lambda d: d.update(more=1), "of a known form"),
        (lambda d: d["verificationMaterial"].update(certificate={"rawBytes": ""}), "Sigstore"),
        (lambda d: d["verificationMaterial"].update(publicKey={"hint": "0" * 64}), "not trusted"),
        (lambda d: d["dsseEnvelope"]["signatures"][0].update(sig="MEUCIQ=="), "does not fit|not as it was"),
    ],
)
def test_a_changed_signature_says_what_is_wrong(kept, change, says):
    k = kept()
    with pytest.raises(PackageError, match=says):
        bundle.signed_by(bundle.read(altered(k, change)), k.trusted)


def test_a_signature_of_a_larger_list_than_it_tells_is_refused(kept):
    """The payload is what is signed: another one under the same signature does not fit it."""
    import base64

    k = kept()

    def change(d):
        payload = json.loads(base64.b64decode(d["dsseEnvelope"]["payload"]))
        payload["subject"][0]["name"] = "another"
        d["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()

    with pytest.raises(PackageError, match="does not fit what it signs"):
        bundle.signed_by(bundle.read(altered(k, change)), k.trusted)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b"\xff", b"null", b'{"verificationMaterial": []}', b'"x"' * 3, b"1" * (bundle.LIMIT + 1)]
)
def test_what_is_no_signature_is_refused(raw):
    with pytest.raises(PackageError):
        bundle.read(raw)


def test_a_pair_is_made_once_and_the_private_half_is_its_owners_alone(tmp_path):
    made = keys.new_pair(tmp_path / "keys" / "signing.pem")
    assert (tmp_path / "keys" / "signing.pem").stat().st_mode & 0o777 == 0o600
    assert keys.trusted([tmp_path / "keys"]) == [made]  # the folder's private key is no trusted one, and no error
    with pytest.raises(ProjectError, match="is there already"):
        keys.new_pair(tmp_path / "keys" / "signing.pem")


def test_a_locked_key_needs_its_password(tmp_path, monkeypatch):
    key, public = private(ec.SECP256R1(), tmp_path / "key.pem", b"word")
    monkeypatch.delenv(keys.PASSWORD_ENV, raising=False)
    with pytest.raises(ProjectError, match="locked with a password"):
        keys.signing_key(key)
    monkeypatch.setenv(keys.PASSWORD_ENV, "another")
    with pytest.raises(ProjectError, match="its password is another"):
        keys.signing_key(key)
    monkeypatch.setenv(keys.PASSWORD_ENV, "word")
    assert keys.signing_key(key).public.id == keys.trusted([public])[0].id


def test_a_locked_key_signs(kept, tmp_path, monkeypatch):
    from sluice.proof.signing import sign

    k = kept(signed=False)
    key, public = private(ec.SECP256R1(), tmp_path / "key.pem", b"word")
    monkeypatch.setenv(keys.PASSWORD_ENV, "word")
    found = bundle.read(sign(k.package, k.store.proof(k.digest), keys.signing_key(key)))
    assert bundle.signed_by(found, keys.trusted([public]))


def test_the_key_comes_from_the_project_then_the_variable_then_the_home(tmp_path, monkeypatch):
    monkeypatch.delenv(keys.SIGNING_KEY_ENV, raising=False)
    assert keys.signing_key(home=tmp_path) is None
    own = keys.new_pair(tmp_path / "keys" / keys.PRIVATE_NAME)
    assert keys.signing_key(home=tmp_path).public.id == own.id
    other = keys.new_pair(tmp_path / "other.pem")
    monkeypatch.setenv(keys.SIGNING_KEY_ENV, (tmp_path / "other.pem").read_text())
    assert keys.signing_key(home=tmp_path).public.id == other.id
    third = keys.new_pair(tmp_path / "project" / "third.pem")
    assert keys.signing_key("third.pem", beside=tmp_path / "project", home=tmp_path).public.id == third.id
    with pytest.raises(ProjectError, match="cannot be read"):
        keys.signing_key("missing.pem", beside=tmp_path)


def test_what_is_no_trusted_key_is_refused(tmp_path):
    pem = (
        rsa.generate_private_key(65537, 2048)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    for name, text, says in [
        ("rsa.pub", pem.decode(), "no key on the curve"),
        ("empty.pub", "", "holds no public key"),
        ("broken.pub", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
        ("large.pub", "x" * (1 << 17), "larger than"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(ProjectError, match=says):
            keys.trusted([tmp_path / name])
    keys.new_pair(tmp_path / "signing.pem")
    with pytest.raises(ProjectError, match="holds a private key"):
        keys.trusted([tmp_path / "signing.pem"])


def test_trusted_keys_come_from_the_command_then_the_variable_then_the_home(tmp_path):
    a, b, c = (keys.new_pair(tmp_path / d / "keys" / "signing.pem") for d in "abc")
    one, two = str(tmp_path / "a" / "keys" / "signing.pub"), str(tmp_path / "b" / "keys")
    assert keys.trusted_here([one], {keys.TRUSTED_ENV: two}, tmp_path / "c") == [a]
    assert [k.id for k in keys.trusted_here([], {keys.TRUSTED_ENV: f"{one}{os.pathsep}{two}"}, tmp_path / "c")] == [a.id, b.id]
    assert [k.id for k in keys.trusted_here([], {}, tmp_path / "c")] == [c.id]
    pem = (tmp_path / "c" / "keys" / "signing.pub").read_text()
    assert [k.id for k in keys.trusted_here([], {keys.TRUSTED_ENV: pem})] == [c.id]


def test_a_signature_through_sigstore_names_whom_and_the_command_that_checks_it() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([]), datetime.datetime(2026, 11, 30)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + datetime.timedelta(minutes=10))
    made = made.add_extension(x509.SubjectAlternativeName([x509.RFC822Name("ada@example.com")]), critical=True)
    issuer = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), b"https://accounts.example.com")
    der = made.add_extension(issuer, critical=False).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    raw = {"rawBytes": base64.b64encode(der).decode()}
    for material in ({"certificate": raw}, {"x509CertificateChain": {"certificates": [raw]}}):
        with pytest.raises(PackageError) as e:
            bundle.read(orjson.dumps({"verificationMaterial": material}))
        assert "(got 'ada@example.com')" in str(
            e.value
        ) and "--identity ada@example.com --identity_provider https://accounts.example.com" in str(e.value)
    with pytest.raises(PackageError, match="a certificate that cannot be read"):
        bundle.read(orjson.dumps({"verificationMaterial": {"certificate": {"rawBytes": "?"}}}))
