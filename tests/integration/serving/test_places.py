"""Packages from an object store (a real S3 protocol, moto's server)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from serving.runtime.models.locations import download, local
from serving.runtime.models.model import load
from sluice.core.errors import PackageError
from sluice.package.package import read
from sluice.proof.keys import new_pair, signing_key
from sluice.proof.signing import sign
from sluice.proof.trust import Trust
from tests.integration.serving.server import serving
from tests.unit.serving import builders

BIG = 1 << 30


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for key, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SLUICE_MODEL_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(key, value)
    boto3.client("s3").create_bucket(Bucket="models")
    yield "models"
    server.stop()


def upload(root: Path, prefix: str) -> None:
    for p in root.rglob("*"):
        if p.is_file():
            boto3.client("s3").upload_file(str(p), "models", f"{prefix}/{p.relative_to(root)}")


def test_a_package_is_served_from_s3_and_a_new_one_swapped_in(bucket: str, tmp_path: Path) -> None:
    one, two = builders.constant(tmp_path / "1", 1.0), builders.constant(tmp_path / "2", 2.0)
    for p in (one, two):
        upload(p.root, f"sha256/{p.digest}")
    with serving(
        tmp_path / "log", f"s3://models/sha256/{one.digest}", "--workers", "2", "--digest", one.digest, "--allow-load", "s3://models/sha256"
    ) as server:
        assert server.predict("constant", 0.0) == [{"value": 1.0}]
        server.post(
            "/v2/repository/models/constant/load", {"parameters": {"uri": f"s3://models/sha256/{two.digest}", "digest": two.digest}}
        )
        assert {server.predict("constant", 0.0)[0]["value"] for _ in range(10)} == {2.0}


def test_what_is_downloaded_is_verified_and_kept(bucket: str, tmp_path: Path) -> None:
    package = builders.text(tmp_path / "p")
    upload(package.root, "m")
    path = download("s3://models/m", None, BIG)
    assert read(path, package.digest).labels == package.labels
    (path / "tokenizer.json").write_bytes(b"{}")  # damaged in the cache: fetched again
    assert read(download("s3://models/m", package.digest, BIG), package.digest)


def test_a_plain_model_is_downloaded(bucket: str, tmp_path: Path) -> None:
    upload(builders.classifier(tmp_path / "p").root, "m")
    path = download("s3://models/m/model.onnx", None, BIG)
    assert path.name == "model.onnx" and path.read_bytes() == (tmp_path / "p" / "model.onnx").read_bytes()


@pytest.mark.parametrize("how", ["missing", "digest", "tampered", "large", "climbs"])
def test_what_must_not_be_loaded_is_refused(bucket: str, tmp_path: Path, how: str) -> None:
    package = builders.text(tmp_path / "p")
    if how == "climbs":
        manifest = (package.root / "model.json").read_text().replace('"tokenizer.json":', '"../tokenizer.json":')
        (package.root / "model.json").write_text(manifest)
    upload(package.root, "m")
    if how == "tampered":
        boto3.client("s3").put_object(Bucket="models", Key="m/tokenizer.json", Body=b"{}")
    uri, digest, limit = (
        ("s3://models/none" if how == "missing" else "s3://models/m"),
        ("0" * 64 if how == "digest" else None),
        100 if how == "large" else BIG,
    )
    with pytest.raises(PackageError):
        local(uri, digest, limit)
    assert not list((tmp_path / "cache").rglob("model.onnx"))


def test_a_signature_comes_with_its_package_and_one_that_is_required_is_asked_for(bucket: str, tmp_path: Path) -> None:
    one, two = builders.constant(tmp_path / "1", 1.0), builders.constant(tmp_path / "2", 2.0)
    new_pair(tmp_path / "signing.pem")
    key = signing_key(tmp_path / "signing.pem")
    assert key is not None
    for p in (one, two):
        upload(p.root, f"prod/sha256/{p.digest}")
    boto3.client("s3").put_object(Bucket="models", Key=f"prod/proof/{one.digest}/model.sig", Body=sign(one, {}, key))
    trust = Trust(True, (key.public,))
    assert load(download(f"s3://models/prod/sha256/{one.digest}", one.digest, BIG), "", one.digest, 1, BIG, trust).digest == one.digest
    with pytest.raises(PackageError, match="is not signed, and a signature is required here"):
        load(download(f"s3://models/prod/sha256/{two.digest}", two.digest, BIG), "", two.digest, 1, BIG, trust)
