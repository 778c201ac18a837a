"""The object store against a real S3 server process (moto), with what goes wrong there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sluice.core import processes
from sluice.core.datatypes import TensorSpec
from sluice.core.errors import PackageError
from sluice.package import package
from sluice.package.package import MANIFEST, Package
from sluice.package.s3 import S3Store

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    import urllib.request

    port = processes.free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    server = processes.spawn([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], log=log)

    def up() -> bool:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=2).status == 200
        except OSError:
            return False

    processes.wait_until(up, what="moto", seconds=60, process=server, log=log)
    yield f"http://127.0.0.1:{port}"
    processes.stop(server)


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A client and an empty bucket of the test's own, named by its `bucket`."""
    for key, value in {**KEYS, "AWS_ENDPOINT_URL_S3": endpoint}.items():
        monkeypatch.setenv(key, value)
    for key in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(key, raising=False)
    from sluice.core import s3 as store

    client = store.client("test")
    client.bucket = f"b{abs(hash(request.node.name)) % 10**12}"
    client.create_bucket(Bucket=client.bucket)
    return client


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Package]:
    def build(name: str = "demo", weights: bytes = b"weights" * 1000) -> Package:
        root = tmp_path / "made" / name
        (root / "side").mkdir(parents=True)
        (root / "model.onnx").write_bytes(weights)
        (root / "side" / "words.txt").write_text("a b c")
        return package.write(
            root,
            name=name,
            task="own",
            objective="regression",
            inputs=[TensorSpec("x", "FP32", (-1, 1))],
            outputs=[TensorSpec("value", "FP32", (-1,))],
            labels=[],
            preprocess={"kind": "tensor"},
            precision="fp32",
            metrics={},
            provenance={},
        )

    return build


def keys(s3: Any) -> list[str]:
    return sorted(o["Key"] for o in s3.list_objects_v2(Bucket=s3.bucket).get("Contents", ()))


def test_a_package_goes_up_and_comes_down_whole(s3, make, tmp_path):
    p = make()
    store = S3Store(f"s3://{s3.bucket}/models/prod/", tmp_path / "cache-a")
    assert store.digests() == []
    assert store.add(p).digest == p.digest
    assert store.digests() == [p.digest]
    assert store.uri(p.digest) == f"s3://{s3.bucket}/models/prod/sha256/{p.digest}"
    assert keys(s3) == [f"models/prod/sha256/{p.digest}/{n}" for n in ("model.json", "model.onnx", "side/words.txt")]
    fetched = S3Store(f"s3://{s3.bucket}/models/prod", tmp_path / "cache-b").get(f"sha256:{p.digest}")
    assert fetched.digest == p.digest
    assert (fetched.root / "side" / "words.txt").read_text() == "a b c"
    assert fetched.root.is_relative_to(tmp_path / "cache-b")


def test_a_store_may_be_a_whole_bucket_and_keeps_several(s3, make, tmp_path):
    store = S3Store(f"s3://{s3.bucket}", tmp_path / "cache")
    digests = sorted(store.add(make(n)).digest for n in ("one", "two"))
    assert store.digests() == digests
    assert store.uri(digests[0]) == f"s3://{s3.bucket}/sha256/{digests[0]}"


def test_an_upload_cut_short_is_not_in_the_store_and_the_next_one_completes_it(s3, make, tmp_path, monkeypatch):
    p, store = make(), S3Store(f"s3://{s3.bucket}", tmp_path / "cache")
    upload, done = store._place.upload, []

    def dies(path: Path, key: str) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(key)
        upload(path, key)

    monkeypatch.setattr(store._place, "upload", dies)
    with pytest.raises(KeyboardInterrupt):
        store.add(p)
    assert len(keys(s3)) == 2
    assert not any(k.endswith(MANIFEST) for k in keys(s3))
    assert store.digests() == []
    other = S3Store(f"s3://{s3.bucket}", tmp_path / "other")
    with pytest.raises(PackageError, match="not in the store"):
        other.get(p.digest)
    S3Store(f"s3://{s3.bucket}", tmp_path / "cache").add(p)
    assert other.get(p.digest).digest == p.digest


def test_adding_again_uploads_nothing(s3, make, tmp_path, monkeypatch):
    p, store = make(), S3Store(f"s3://{s3.bucket}", tmp_path / "cache")
    store.add(p)
    monkeypatch.setattr(store._place, "upload", lambda path, key: pytest.fail(f"uploaded {key} again"))
    assert store.add(p).digest == p.digest


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("model.onnx", b"w3ights" * 1000, "sha256"),
        ("model.onnx", b"short", "bytes"),
        ("model.onnx", b"weights" * 1001, "larger"),
        ("model.json", b"{}", "digest"),
        ("model.json", b" " * (9 << 20), "larger"),
        ("side/words.txt", None, "not in the store"),
    ],
)
def test_what_was_changed_in_the_store_never_reaches_the_cache(s3, make, tmp_path, name, body, says):
    p = make()
    S3Store(f"s3://{s3.bucket}", tmp_path / "a").add(p)
    key = f"sha256/{p.digest}/{name}"
    s3.delete_object(Bucket=s3.bucket, Key=key) if body is None else s3.put_object(Bucket=s3.bucket, Key=key, Body=body)
    with pytest.raises(PackageError, match=says):
        S3Store(f"s3://{s3.bucket}", tmp_path / "b").get(p.digest)
    assert [f for f in (tmp_path / "b").rglob("*") if f.is_file()] == []


def test_a_package_uploaded_in_another_size_is_uploaded_again(s3, make, tmp_path):
    p, store = make(), S3Store(f"s3://{s3.bucket}", tmp_path / "a")
    store.add(p)
    s3.put_object(Bucket=s3.bucket, Key=f"sha256/{p.digest}/model.onnx", Body=b"cut")
    store.add(p)
    assert S3Store(f"s3://{s3.bucket}", tmp_path / "b").get(p.digest).digest == p.digest


def test_what_is_in_the_cache_needs_no_network(s3, make, tmp_path, monkeypatch):
    p = make()
    S3Store(f"s3://{s3.bucket}", tmp_path / "cache").add(p)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{processes.free_port()}")
    assert S3Store(f"s3://{s3.bucket}", tmp_path / "cache").get(p.digest).digest == p.digest


def test_a_damaged_copy_in_the_cache_is_fetched_again(s3, make, tmp_path):
    p, store = make(), S3Store(f"s3://{s3.bucket}", tmp_path / "cache")
    kept = store.add(p)
    (kept.root / "model.onnx").write_bytes(b"rotten")
    assert store.get(p.digest).digest == p.digest


def test_a_store_that_is_not_there_is_explained(s3, make, tmp_path, monkeypatch):
    with pytest.raises(PackageError, match="there is no bucket") as e:
        S3Store("s3://no-such-bucket-here", tmp_path).add(make())
    assert e.value.fix
    with pytest.raises(PackageError, match="not in the store"):
        S3Store(f"s3://{s3.bucket}", tmp_path).get("0" * 64)
    with pytest.raises(PackageError, match="not a package digest"):
        S3Store(f"s3://{s3.bucket}", tmp_path).get("latest")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{processes.free_port()}")
    with pytest.raises(PackageError, match="cannot be reached"):
        S3Store(f"s3://{s3.bucket}", tmp_path).digests()


def test_a_store_without_credentials_is_explained(s3, tmp_path, monkeypatch):
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(PackageError, match="credentials"):
        S3Store(f"s3://{s3.bucket}", tmp_path).digests()


@pytest.mark.parametrize("root", ["s3://", "s3:///prefix", "bucket/prefix", "", "https://bucket"])
def test_an_address_without_a_bucket_is_refused(root, tmp_path):
    with pytest.raises(PackageError, match="names no bucket"):
        S3Store(root, tmp_path)


def test_many_may_add_and_get_at_once(s3, make, tmp_path):
    p = make()
    with ThreadPoolExecutor(6) as pool:
        added = list(pool.map(lambda i: S3Store(f"s3://{s3.bucket}", tmp_path / f"cache-{i % 2}").add(p).digest, range(6)))
        got = list(pool.map(lambda _: S3Store(f"s3://{s3.bucket}", tmp_path / "fresh").get(p.digest).digest, range(6)))
    assert set(added + got) == {p.digest}
    assert len(keys(s3)) == 3


def test_a_proof_goes_up_beside_its_package_and_comes_down_as_it_is_now(s3, make, tmp_path):
    p = make()
    store, other = (S3Store(f"s3://{s3.bucket}/prod", tmp_path / f"cache-{n}") for n in "ab")
    store.add(p)
    assert store.proof(p.digest) is None
    store.add_proof(p.digest, {"provenance.json": b"{}"})
    assert other.proof(p.digest) == {"provenance.json": b"{}"} and store.digests() == [p.digest]
    store.add_proof(p.digest, {"provenance.json": b"{}", "model.sig": b"signed since"})
    assert other.proof(f"sha256:{p.digest}") == {"provenance.json": b"{}", "model.sig": b"signed since"}
    assert [k for k in keys(s3) if k.startswith("prod/proof/")] == [
        f"prod/proof/{p.digest}/{name}" for name in ("model.sig", "proof.json", "provenance.json")
    ]


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"[]", "sha256 proof.json gives"), (b"{} ", "is larger than the 2 bytes"), (b"{", "has 1 bytes"), (None, "no such object")],
)
def test_a_damaged_proof_is_told_by_its_file(s3, make, tmp_path, body, says):
    p = make()
    store = S3Store(f"s3://{s3.bucket}", tmp_path / "cache")
    store.add_proof(p.digest, {"provenance.json": b"{}"})
    key = f"proof/{p.digest}/provenance.json"
    if body is None:
        s3.delete_object(Bucket=s3.bucket, Key=key)
    else:
        s3.put_object(Bucket=s3.bucket, Key=key, Body=body)
    with pytest.raises(PackageError, match=says) as e:
        store.proof(p.digest)
    assert str(e.value.field).endswith(key)


def test_verify_looks_at_the_store_and_not_at_the_copy_fetched_before(s3, make, tmp_path, monkeypatch, capsys):
    from sluice import cli

    p = make()
    monkeypatch.setenv("SLUICE_STORE", f"s3://{s3.bucket}/prod")
    S3Store(f"s3://{s3.bucket}/prod", tmp_path / "home" / "store").add(p)
    command = ["verify", p.digest, "--home", str(tmp_path / "home")]
    assert cli.main(command) == 0
    s3.put_object(Bucket=s3.bucket, Key=f"prod/sha256/{p.digest}/side/words.txt", Body=b"a b d")
    assert cli.main(command) == 3
    assert "words.txt: does not have the sha256 model.json gives" in capsys.readouterr().out
