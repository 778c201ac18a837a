"""`sluice keys`, `sign` and `verify` as a person types them."""

from __future__ import annotations

import hashlib
import json

import pytest

from sluice import cli
from sluice.audit.log import open_log
from sluice.audit.record import Entry
from sluice.core.home import Home
from sluice.proof import keys


def verify(k, *options, capsys):
    status = cli.main(["verify", *options, "--home", str(k.home), "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_by_digest_by_its_first_digits_and_by_folder(kept, capsys):
    k = kept()
    for reference in (k.digest, f"sha256:{k.digest}", k.digest[:8], str(k.store.path(k.digest))):
        status, found = verify(k, reference, capsys=capsys)
        assert status == 0 and found["verified"] and found["signed_by"] == k.key.public.id, reference


def test_it_says_which_part_is_wrong_and_ends_with_3(kept, capsys):
    k = kept()
    model = k.store.path(k.digest) / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")
    status, found = verify(k, k.digest, capsys=capsys)
    assert status == 3 and found["files"]["state"] == "wrong" and "does not have the sha256 model.json gives" in found["files"]["said"][0]
    assert found["statement"]["state"] == found["signature"]["state"] == "ok"
    assert cli.main(["verify", k.digest, "--home", str(k.home)]) == 3
    told = capsys.readouterr().out
    assert told.startswith("NOT VERIFIED: sha256:") and "files              WRONG" in told


@pytest.mark.parametrize("by", ["digest", "folder"])
def test_a_package_without_its_manifest_is_wrong_and_not_unknown(kept, capsys, by):
    k = kept()
    (k.store.path(k.digest) / "model.json").unlink()
    status, found = verify(k, k.digest if by == "digest" else str(k.store.path(k.digest)), capsys=capsys)
    assert status == 3 and "not a package" in found["files"]["said"][0]


def test_a_named_key_asks_for_a_signature(kept, capsys, tmp_path):
    k = kept(signed=False)
    assert verify(k, k.digest, capsys=capsys)[0] == 0
    keys.new_pair(tmp_path / "team.pem")
    status, found = verify(k, k.digest, "--key", str(tmp_path / "team.pub"), capsys=capsys)
    assert status == 3 and found["signature"] == {"state": "wrong", "said": ["it is not signed"]}
    assert verify(k, k.digest, "--require-signature", capsys=capsys)[0] == 3


def test_the_audit_log_says_whether_this_proof_was_registered_and_one_that_cannot_be_read_is_no_fault(kept, capsys, monkeypatch):
    k = kept(signed=False)
    statement = k.store.proof(k.digest)["provenance.json"]
    for was, status in ((hashlib.sha256(statement).hexdigest(), 0), ("f" * 64, 3)):
        said = {"version": "1", "proof_digests": {"provenance.json": was}}
        open_log(Home(k.home)).append(Entry("registration", "demo", k.digest, data={"evidence": said}))
        found = verify(k, k.digest, capsys=capsys)
        assert found[0] == status and (found[1]["audit_log"]["state"] == "ok") == (status == 0)
    assert found[1]["audit_log"]["said"] == [f"record 1: provenance.json of sha256:{k.digest[:12]} is not the one it was registered with"]
    monkeypatch.setenv("SLUICE_AUDIT", "ftp://elsewhere")
    status, found = verify(k, k.digest, capsys=capsys)
    assert status == 0 and found["audit_log"]["said"] == ["it was not asked: SLUICE_AUDIT is no place for an audit log"]


def test_what_was_not_signed_can_be_signed_later(kept, capsys, tmp_path):
    k = kept(signed=False)
    assert cli.main(["keys", "new", "-o", str(tmp_path / "team.pem"), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert cli.main(["sign", k.digest, "--key", str(tmp_path / "team.pem"), "--home", str(k.home)]) == 0
    capsys.readouterr()
    status, found = verify(k, k.digest, "--key", made["public"], capsys=capsys)
    assert status == 0 and found["signed_by"] == made["id"]
    assert cli.main(["keys", "show", made["public"]]) == 0 and capsys.readouterr().out.startswith(made["id"])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["verify", "0" * 64], "no package in the store begins so"),
        (["verify", "nobody@champion"], "nothing was run in this home yet"),
        (["verify", "DIGEST", "--key", "missing.pub"], "cannot be read"),
        (["sign", "DIGEST"], "there is no key to sign with"),
        (["reproduce", "0" * 64], "no package in the store begins so"),
    ],
)
def test_what_is_not_there_ends_with_2(kept, capsys, argv, says):
    k = kept(signed=False)
    assert cli.main([a.replace("DIGEST", k.digest) for a in argv] + ["--home", str(k.home)]) == 2
    assert says in capsys.readouterr().err


def test_the_homes_pair_is_made_once(tmp_path, capsys):
    assert cli.main(["keys", "new", "--home", str(tmp_path)]) == 0
    assert "keep it secret" in capsys.readouterr().out
    assert cli.main(["keys", "new", "--home", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
