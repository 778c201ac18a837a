"""A package that no trusted key signed is not served, by whatever road it comes."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from serving.runtime import cli
from serving.runtime.models.model import load
from sluice.core.errors import PackageError, ProjectError
from sluice.package import beside
from sluice.proof import keys, trust
from sluice.proof.trust import Trust, trust_of


def served(path, trusted, digest=None):
    return load(path, "", digest, 1, 1 << 20, trusted)


def test_a_signed_package_in_a_store_is_served(kept):
    k = kept()
    assert served(k.store.path(k.digest), Trust(True, tuple(k.trusted))).digest == k.digest


def test_an_unsigned_one_is_not_unless_nothing_is_required(kept):
    k = kept(signed=False)
    assert served(k.store.path(k.digest), Trust()).digest == k.digest
    with pytest.raises(PackageError, match="is not signed, and a signature is required here"):
        served(k.store.path(k.digest), Trust(True, (keys.new_pair(k.home / "other.pem"),)))


def test_one_that_another_key_signed_is_not(kept, tmp_path):
    k = kept()
    with pytest.raises(PackageError, match="made by a key that is not trusted"):
        served(k.store.path(k.digest), Trust(True, (keys.new_pair(tmp_path / "other.pem"),)))


def test_a_folder_that_kserve_filled_takes_the_signature_from_the_environment(kept, tmp_path, monkeypatch):
    k = kept()
    mounted = tmp_path / "mnt" / "models"
    shutil.copytree(k.store.path(k.digest), mounted)
    with pytest.raises(PackageError, match="is not signed"):
        served(mounted, Trust(True, tuple(k.trusted)))
    monkeypatch.setenv(trust.SIGNATURE_ENV, k.store.proof(k.digest)[beside.SIGNATURE].decode() + "\n")
    assert served(mounted, Trust(True, tuple(k.trusted))).digest == k.digest


def test_the_signature_of_another_package_does_not_do(kept, monkeypatch, tmp_path):
    k, other = kept(), kept("tabular", signed=False)
    mounted = tmp_path / "mnt"
    shutil.copytree(other.store.path(other.digest), mounted)
    monkeypatch.setenv(trust.SIGNATURE_ENV, k.store.proof(k.digest)[beside.SIGNATURE].decode())
    with pytest.raises(PackageError, match="is of another package"):
        served(mounted, Trust(True, tuple(k.trusted)))


def test_a_package_changed_behind_its_signature_is_not_served(kept):
    k = kept()
    manifest = k.store.path(k.digest) / "model.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"good"', b'"fine"'))
    with pytest.raises(PackageError):
        served(k.store.path(k.digest), Trust(True, tuple(k.trusted)))


def test_a_plain_onnx_file_has_no_signature(kept, tmp_path):
    k = kept()
    shutil.copy(k.store.path(k.digest) / "model.onnx", tmp_path / "plain.onnx")
    with pytest.raises(PackageError, match="an ONNX file alone"):
        served(tmp_path / "plain.onnx", Trust(True, tuple(k.trusted)))


def test_what_is_required_is_read_from_options_and_environment(tmp_path):
    own = keys.new_pair(tmp_path / "keys" / "signing.pem")
    public = str(tmp_path / "keys" / "signing.pub")
    assert trust_of(False, [], {}) == Trust()
    assert trust_of(False, [], {trust.REQUIRE_ENV: "0", keys.TRUSTED_ENV: public}) == Trust()
    assert trust_of(False, [], {trust.REQUIRE_ENV: "true", keys.TRUSTED_ENV: public}).keys == (own,)
    assert trust_of(False, [public], {}) == Trust(True, (own,))
    with pytest.raises(ProjectError, match="no key is trusted: nothing could be served"):
        trust_of(True, [], {})
    with pytest.raises(ProjectError, match="neither 1 nor 0"):
        trust_of(False, [], {trust.REQUIRE_ENV: "perhaps"})


def test_the_servers_options_reach_its_settings(tmp_path, monkeypatch):
    monkeypatch.delenv(keys.TRUSTED_ENV, raising=False)
    monkeypatch.delenv(trust.REQUIRE_ENV, raising=False)
    own = keys.new_pair(tmp_path / "signing.pem")
    args = cli.parser().parse_args(["PACKAGE", "--require-signature", "--trusted-key", str(tmp_path / "signing.pub")])
    assert cli.settings_of(args).trust == Trust(True, (own,))
    assert not cli.settings_of(cli.parser().parse_args(["PACKAGE"])).trust.required


def test_the_server_ends_with_status_2_and_says_why(kept):
    k = kept(signed=False)
    keys.new_pair(k.home / "other.pem")
    command = [sys.executable, "-m", "serving.runtime", str(k.store.path(k.digest)), "--port", "0", "--workers", "1"]
    done = subprocess.run([*command, "--trusted-key", str(k.home / "other.pub")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "is not signed, and a signature is required here" in done.stderr
