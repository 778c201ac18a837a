"""What the log bears witness to: each way in which registry, proof, runs or the log itself are another than then is found and named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sluice.audit.log import anchor, anchors, open_log, records
from sluice.audit.record import Entry
from sluice.core.files import digest_of
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.package import beside
from sluice.registry.environments import GATES
from sluice.registry.versions import Version
from sluice.registry.witness import begun_anew, disagreements, proof_of

DIGESTS = ("a" * 64, "b" * 64)
PASSED = {"evaluate": "pass"}


class World:
    """A home with two versions of a model, the second the champion of dev and of production; the first was rolled back there."""

    def __init__(self, root: Path):
        self.home, self.proof = Home(root / "home").create(), {}
        self.log, self.versions = open_log(self.home), []
        for number, digest in enumerate(DIGESTS, 1):
            self.proof[digest] = {beside.STATEMENT: f"statement {number}".encode(), beside.SIGNATURE: b"signature"}
            gate = Gate("evaluate", "pass", ("good",), {"value": 0.9 + number / 100}, 1.0)
            path = self.home.runs / f"r{number}" / "gates" / "evaluate.json"
            gate.write(path)
            told = {"run": f"r{number}", "step": "evaluate", "decision": "pass", "sha256": digest_of(dataclasses.asdict(gate))}
            self.log.append(Entry("gate", "loans", data=told))
            said = {"version": str(number), "gates": PASSED, "metrics": {"accuracy": 0.91}, "signed_by": "k" * 64}
            said["proof_digests"] = {n: hashlib.sha256(d).hexdigest() for n, d in self.proof[digest].items() if n != beside.SIGNATURE}
            made = self.log.append(Entry("registration", "loans", digest, data={"run": f"r{number}", "evidence": said}))
            tags = {GATES: json.dumps(PASSED), "sluice.audit": anchor(self.log, made)}
            self.versions.append(
                Version("loans", str(number), digest, f"file:///s/sha256/{digest}", (), {"accuracy": 0.91}, tags, None, 2**50)
            )
            self.log.append(Entry("rollout", "loans", digest, data={"evidence": {"outcome": "promoted"}}))
        self.log.append(Entry("promotion", "loans", DIGESTS[0], "production", "release", {"version": "1"}))
        self.log.append(Entry("rollback", "loans", DIGESTS[0], "production", "odd", {"serves": DIGESTS[1]}))
        self.aliases("champion", "production-champion")

    def aliases(self, *names: str, of: int = 1) -> None:
        self.versions = [dataclasses.replace(v, aliases=tuple(names) if i == of else ()) for i, v in enumerate(self.versions)]

    def found(self) -> list[str]:
        registry: Any = SimpleNamespace(versions=lambda _: self.versions, uri=self.home.tracking_uri)
        return [str(f) for f in disagreements("loans", registry, records(self.log), self.home)]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr("sluice.registry.witness.open_store", lambda uri, home: SimpleNamespace(proof=made.proof.get))
    return made


def test_what_is_as_it_was_agrees(world: World) -> None:
    assert world.found() == []


def swap(w: World) -> None:
    a, b = w.versions
    w.versions = [dataclasses.replace(a, digest=b.digest), dataclasses.replace(b, digest=a.digest)]


def gates(w: World) -> None:
    w.versions[0] = dataclasses.replace(w.versions[0], tags={GATES: '{"evaluate": "refuse"}'})


def metric(w: World) -> None:
    w.versions[0] = dataclasses.replace(w.versions[0], metrics={"accuracy": 0.99})


def evidence(w: World) -> None:
    path = w.home.runs / "r2" / "gates" / "evaluate.json"
    path.write_text(path.read_text().replace("0.92", "0.99"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (swap, "record 1: version 1 was registered as sha256:aaaaaaaaaaaa, the registry says sha256:bbbbbbbbbbbb"),
        (lambda w: w.versions.pop(0), "record 1: version 1, sha256:aaaaaaaaaaaa, was registered, and is not in the registry"),
        (lambda w: w.versions.append(Version("loans", "3", "c" * 64, "", (), {}, {}, None, 2**50)), "version 3, sha256:cccccccccccc, is in the registry, and no record says"),
        (lambda w: w.aliases("champion", "production-champion", of=0), "record 5: sha256:bbbbbbbbbbbb became the champion of dev, the registry says version 1"),
        (lambda w: w.aliases("champion"), "record 7: sha256:bbbbbbbbbbbb became the champion of production, the registry says none"),
        (gates, 'record 1: what the gates of version 1 decided is not what the registry says: {"evaluate": "refuse"}'),
        (metric, "record 1: accuracy of version 1 was registered as 0.91, the registry says 0.99"),
        (evidence, "record 3: what evaluate of run r2 decided is not what lies in"),
        (lambda w: w.proof.update({DIGESTS[0]: w.proof[DIGESTS[1]]}), "record 1: provenance.json of sha256:aaaaaaaaaaaa is not the one it was registered with"),
        (lambda w: w.proof.pop(DIGESTS[1]), "record 4: provenance.json of sha256:bbbbbbbbbbbb was there when it was registered, and is gone"),
        (lambda w: w.proof[DIGESTS[1]].pop(beside.SIGNATURE), "record 4: sha256:bbbbbbbbbbbb was signed by key kkkkkkkkkkkk when it was registered, and its signature is gone"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_was_is_named_with_the_record_that_says_so(world: World, change: Callable[[World], object], said: str) -> None:
    change(world)
    found = world.found()
    assert any(f.startswith(said) for f in found), found


def test_a_run_begun_again_under_its_name_is_held_against_what_it_decided_last(world: World) -> None:
    """As a retraining is that was killed: the gate that lies there is the second attempt's, and a change of it is found all the same."""
    gate = Gate("evaluate", "pass", ("good",), {"value": 0.95}, 2.0)
    gate.write(world.home.runs / "r2" / "gates" / "evaluate.json")
    assert "what evaluate of run r2 decided" in world.found()[0]
    told = {"run": "r2", "step": "evaluate", "decision": "pass", "sha256": digest_of(dataclasses.asdict(gate))}
    last = world.log.append(Entry("gate", "loans", data=told))
    assert world.found() == []
    path = world.home.runs / "r2" / "gates" / "evaluate.json"
    path.write_text(path.read_text().replace("0.95", "0.99"))
    assert world.found() == [f"record {last.sequence}: what evaluate of run r2 decided is not what lies in {path}"]


def test_a_move_that_a_cluster_makes_is_no_fault_here(world: World) -> None:
    world.log.append(Entry("promotion", "loans", DIGESTS[0], "production", "next", {"rollout": "ns/loans"}))
    world.log.append(Entry("promotion", "loans", DIGESTS[0], "production", "asked for", {"proposed": True}))
    assert world.found() == []


def test_a_log_begun_anew_is_named_and_one_that_others_went_on_in_is_not(world: World) -> None:
    named = anchors((f"loans@{v.number}", v.tags["sluice.audit"]) for v in world.versions)
    assert begun_anew(named, world.log.identity(), ["loans"]) == [] and begun_anew([], "", []) == []
    assert "2 versions of loans name records of another log" in str(begun_anew(named, "f" * 64, ["loans"])[0])
    other = [dataclasses.replace(named[0], log="f" * 64)]
    assert begun_anew([*named, *other], "f" * 64, ["loans"]) == []


def test_a_record_of_before_proofs_were_written_down_says_nothing(world: World) -> None:
    world.log.append(Entry("registration", "loans", DIGESTS[0], data={"evidence": {"version": "1", "proof": ["provenance.json"]}}))
    store: Any = SimpleNamespace(proof=lambda digest: None)
    assert proof_of(DIGESTS[0], store, records(world.log)) == [] and proof_of("d" * 64, store, records(world.log)) == []
