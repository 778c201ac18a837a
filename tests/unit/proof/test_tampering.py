"""One byte changed anywhere, and `verify` says so; a few hundred here, a thousand in `make bench-proof`."""

from __future__ import annotations

from tests.bench.proof import tampered


def test_every_changed_byte_is_found(kept):
    k = kept()
    found = tampered(k.store, k.digest, k.trusted, changes=240, seed=18)
    assert found["missed"] == [] and found["changes"] == 240
    assert set(found["of"]) == {"model.json", "model.onnx", "tokenizer.json", "provenance.json", "bom.cdx.json", "model.sig", "proof.json"}


def test_it_is_found_without_a_key_too(kept):
    k = kept(signed=False)
    assert tampered(k.store, k.digest, [], changes=120, seed=19)["missed"] == []
