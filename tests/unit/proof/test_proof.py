"""What is written beside a package: in shape as its standards say, found by digest, and no part of the package."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from sluice.core.errors import PackageError
from sluice.package import beside
from sluice.package import package as packages
from sluice.package.package import Store
from sluice.proof import record, statement
from sluice.proof.config import CardConfig
from sluice.proof.verify import verify
from tests.unit.proof.conftest import MADE


def state(k, keys=None, *, signature=True):
    found = verify(lambda: k.store.get(k.digest), k.digest, k.store, k.trusted if keys is None else keys, signature=signature)
    return {p.name: p for p in found.parts}, found


def test_the_package_keeps_its_digest_and_its_files(kept):
    k = kept()
    assert packages.read(k.store.path(k.digest), k.digest).manifest == k.package.manifest
    assert sorted(p.name for p in k.store.proof_path(k.digest).iterdir()) == ["bom.cdx.json", "model.sig", "proof.json", "provenance.json"]


def test_the_statement_is_an_in_toto_statement_with_slsas_predicate(kept):
    k = kept()
    raw = json.loads(k.store.proof(k.digest)[beside.STATEMENT])
    found = json_format.Parse(json.dumps(raw), statement_pb2.Statement())
    Statement.copy_from_pb(found).validate()
    predicate = json_format.Parse(json.dumps(raw["predicate"]), provenance_pb2.Provenance())
    assert predicate.build_definition.build_type == statement.BUILD_TYPE
    assert {s["name"]: s["digest"]["sha256"] for s in raw["subject"]} == {
        "demo": k.digest,
        "model.json": k.digest,
        **{n: e["sha256"] for n, e in k.package.manifest["files"].items()},
    }


def test_the_statement_says_of_what_by_whom_and_what_was_judged(kept):
    found = statement.read(kept().store.proof(kept().digest)[beside.STATEMENT])
    assert found.project == MADE.project and found.internal["by"] == "ada" and found.internal["seed"] == 17
    assert found.dependency("code") == {
        "name": "code",
        "uri": "git+https://example.com/demo.git",
        "digest": {"gitCommit": "a" * 40},
        "annotations": {"clean": True, "folder": "projects/demo"},
    }
    assert found.dependency("data")["digest"] == {"sha256": "d" * 64} and found.dependency("sluice")["digest"] == {"sha256": "e" * 64}
    assert found.internal["environment"]["packages"] == MADE.lock["packages"]
    assert found.gates == list(MADE.gates)


def test_the_bill_of_materials_is_as_the_published_schema_says(kept):
    k = kept(
        card=CardConfig(uses=["sorting mail"], limits=["short texts"], not_for=["people"], ethics=["none known"], licence="Apache-2.0")
    )
    raw = k.store.proof(k.digest)[beside.BOM]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(raw.decode()) is None
    found = json.loads(raw)
    model = found["metadata"]["component"]
    assert model["type"] == "machine-learning-model" and model["hashes"] == [{"alg": "SHA-256", "content": k.digest}]
    assert model["modelCard"]["considerations"]["technicalLimitations"] == ["short texts", "people"]
    assert {"type": "accuracy", "value": "0.9", "confidenceInterval": {"lowerBound": "0.8", "upperBound": "0.95"}} in model["modelCard"][
        "quantitativeAnalysis"
    ]["performanceMetrics"]
    kinds = {c["name"]: c["type"] for c in found["components"]}
    assert kinds["demo-data"] == "data" and kinds["numpy"] == "library" and kinds["model.onnx"] == "file"


def test_a_package_with_its_proof_is_verified(kept):
    k = kept()
    parts, found = state(k)
    assert found.ok and {p.state for p in parts.values()} == {"ok"} and found.signed_by == k.key.public.id


def test_registered_again_the_first_proof_stays_and_a_key_that_came_since_signs_it(kept):
    k = kept(signed=False)
    first = k.store.proof(k.digest)
    again = kept(made=dataclasses.replace(MADE, by="grace"))
    assert again.digest == k.digest
    now = again.store.proof(k.digest)
    assert now[beside.STATEMENT] == first[beside.STATEMENT] and beside.SIGNATURE in now and state(again)[1].ok


def test_a_damaged_proof_is_written_anew(kept):
    k = kept()
    (k.store.proof_path(k.digest) / beside.STATEMENT).write_bytes(b"{}")
    assert not state(k)[1].ok
    assert state(kept())[1].ok


@pytest.mark.parametrize("name", ["provenance.json", "bom.cdx.json", "model.sig"])
def test_a_file_that_is_gone_is_told(kept, name):
    k = kept()
    (k.store.proof_path(k.digest) / name).unlink()
    with pytest.raises(PackageError, match=f"{name}: listed in proof.json but not there"):
        k.store.proof(k.digest)


def test_an_unsigned_package_is_whole_and_says_so_unless_a_signature_is_asked_for(kept):
    k = kept(signed=False)
    parts, found = state(k, signature=False)
    assert found.ok and parts["signature"].state == "none" and "not signed" in parts["signature"].said[0]
    assert not state(k, signature=True)[1].ok


def test_another_key_than_the_trusted_one_is_told_with_both(kept, tmp_path):
    from sluice.proof import keys

    other = keys.new_pair(tmp_path / "other.pem")
    k = kept()
    parts, found = state(k, [other])
    assert not found.ok and found.signed_by is None
    assert (
        "not trusted" in parts["signature"].said[0]
        and other.id[:12] in parts["signature"].said[0]
        and k.key.public.id[:12] in parts["signature"].said[0]
    )
    assert "no key is trusted here" in state(k, [])[0]["signature"].said[0]


def test_a_signature_by_nobody_known_is_said_and_is_wrong_only_where_one_is_required(kept):
    k = kept()
    parts, found = state(k, [], signature=False)
    assert (
        found.ok
        and found.signed_by is None
        and parts["signature"].state == "unchecked"
        and k.key.public.id[:12] in parts["signature"].said[0]
    )
    assert not state(k, [], signature=True)[1].ok
    proof = k.store.proof(k.digest)
    k.store.add_proof(k.digest, proof | {beside.STATEMENT: proof[beside.STATEMENT].replace(b'"by": "ada"', b'"by": "eve"')})
    assert not state(k, [], signature=False)[1].ok, "what was signed is looked at whoever signed it"


def test_a_record_rewritten_with_its_index_is_found_by_the_signature(kept):
    k = kept()
    proof = k.store.proof(k.digest)
    forged = proof[beside.STATEMENT].replace(b'"by": "ada"', b'"by": "eve"')
    assert forged != proof[beside.STATEMENT]
    k.store.add_proof(k.digest, proof | {beside.STATEMENT: forged})
    parts, found = state(k)
    assert not found.ok and parts["statement"].state == "ok"
    assert parts["signature"].said == (f"proof/{k.digest}/provenance.json is not the one that was signed",)


def test_the_proof_of_another_package_is_none(kept):
    k = kept()
    other = kept("tabular")
    other.store.add_proof(other.digest, k.store.proof(k.digest))
    parts, found = state(other)
    assert [p.state for p in found.parts] == ["ok", "wrong", "wrong", "wrong"]
    assert "is of another package" in parts["signature"].said[0]


def test_addresses_lose_their_passwords(kept, tmp_path):
    made = record.made_now(
        kept().package,
        project='{"data":{"source":"https://ada:secret@example.com/rows.csv"}}',
        source="https://ada:secret@example.com/rows.csv",
        gates=(),
        base_dir=tmp_path,
        run="r",
        config="c",
        code={},
    )
    assert "secret" not in json.dumps(dataclasses.asdict(made)) and made.source == "https://example.com/rows.csv"


def test_a_proof_in_a_store_is_moved_in_whole(kept, tmp_path):
    k = kept()
    other = Store(tmp_path / "other")
    other.add(k.package)
    assert other.proof(k.digest) is None
    other.add_proof(k.digest, k.store.proof(k.digest))
    assert verify(lambda: other.get(k.digest), k.digest, other, k.trusted, signature=True).ok
    assert not list(Path(tmp_path / "other").rglob(".partial-*"))


def places(value, at=()):
    yield at
    for key in value if isinstance(value, dict) else range(min(len(value), 3)) if isinstance(value, list) else ():
        yield from places(value[key], (*at, key))


def test_a_statement_and_a_bill_of_any_wrong_shape_are_told_and_end_nothing(kept):
    k = kept()
    proof = dict(k.store.proof(k.digest))
    for name, part in ((beside.STATEMENT, "statement"), (beside.BOM, "bill of materials")):
        raw = json.loads(proof[name])
        for at in list(places(raw))[1:]:
            for wrong in (None, {}, [], 5, "gone"):
                changed = json.loads(proof[name])
                inner = changed
                for key in at[:-1]:
                    inner = inner[key]
                if wrong == "gone":
                    del inner[at[-1]]
                else:
                    inner[at[-1]] = wrong
                store = SimpleNamespace(proof=lambda _, name=name, changed=changed: proof | {name: json.dumps(changed).encode()})
                found = verify(lambda: k.package, k.digest, store, k.trusted, signature=False)
                assert next(p for p in found.parts if p.name == part).said, at
