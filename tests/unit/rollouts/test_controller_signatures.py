"""The controller and signatures: a model that no trusted key signed never takes traffic."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from serving.controller import __main__ as program
from serving.controller.rollouts.evidence import Pods
from serving.controller.rollouts.reconcile import Rollouts
from sluice.proof import keys
from sluice.proof.keys import SigningKey
from sluice.proof.signing import sign
from sluice.proof.trust import NOTHING, SIGNATURE_ENV, Trust
from tests.unit.rollouts.test_controller import ONE, PATH, TWO, Cluster, connect, no_pauses, rollout

__all__ = ["no_pauses"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    path = tmp_path_factory.mktemp("keys") / "signing.pem"
    keys.new_pair(path)
    found = keys.signing_key(path)
    assert found is not None
    return found


def signature(digest: str, key: SigningKey) -> str:
    return sign(SimpleNamespace(digest=digest, name="m", manifest={"files": {}}), {}, key).decode()  # type: ignore[arg-type]


def trusting(c: Cluster, trust: Trust) -> Cluster:
    kube = connect(c.api)
    c.controller = Rollouts(kube, Pods(kube, proxied=True), trust=trust, clock=lambda: c.api.now)
    return c


def apply(c: Cluster, digest: str, signed: str | None = None, **spec: Any) -> None:
    c.apply(digest, **spec)
    if signed is not None:
        c.api.objects[PATH]["spec"]["model"]["signature"] = signed
        c.api.put(PATH, c.api.objects[PATH])


def accepted(c: Cluster) -> tuple[str, str]:
    found = next(x for x in c.status["conditions"] if x["type"] == "Accepted")
    return found["status"], found["message"]


@pytest.mark.parametrize("everywhere", [True, False])
def test_an_unsigned_model_is_refused_with_the_reason_and_the_stable_one_serves_on(pair: SigningKey, everywhere: bool) -> None:
    c = trusting(Cluster(), Trust(everywhere, (pair.public,)))
    spec = {} if everywhere else {"requireSignature": True}
    apply(c, ONE, signature(ONE, pair), **spec)
    c.until("Succeeded")
    apply(c, TWO, **spec)
    c.look()
    assert accepted(c) == (
        "False",
        f"ModelRollout ns/m, model {TWO[:12]}: is not signed, and a signature is required here (got '{TWO[:12]}')\n  fix: sign the package (`sluice sign`)",
    )
    for _ in range(20):
        c.look()
    assert c.served() == {"m-11111111-predictor": 100} and c.services() == {"m-11111111"}
    apply(c, TWO, signature(TWO, pair), **spec)
    c.look()
    assert c.until("Succeeded")["stable"] == TWO[:12]


@pytest.mark.parametrize(("of", "says"), [(ONE, "is of another package"), (None, "is not JSON")])
def test_another_models_signature_does_not_do(pair: SigningKey, of: str | None, says: str) -> None:
    c = trusting(Cluster(), Trust(True, (pair.public,)))
    apply(c, TWO, signature(of, pair) if of else "no signature")
    c.look()
    assert accepted(c)[0] == "False" and says in accepted(c)[1] and c.services() == set()


def test_a_signature_by_another_key_does_not_do(pair: SigningKey, tmp_path: Any) -> None:
    keys.new_pair(tmp_path / "other.pem")
    other = keys.signing_key(tmp_path / "other.pem")
    assert other is not None
    c = trusting(Cluster(), Trust(True, (pair.public,)))
    apply(c, ONE, signature(ONE, other))
    c.look()
    assert "made by a key that is not trusted" in accepted(c)[1] and c.services() == set()


def test_a_candidate_that_takes_traffic_unsigned_goes_back_when_a_signature_is_required(pair: SigningKey) -> None:
    c = Cluster()
    apply(c, ONE, signature(ONE, pair))
    c.until("Succeeded")
    apply(c, TWO)
    c.until("Step")
    trusting(c, Trust(True, (pair.public,)))
    c.until("RolledBack")
    for _ in range(10):
        c.look()
    assert c.served() == {"m-11111111-predictor": 100} and c.services() == {"m-11111111"}
    assert accepted(c)[0] == "False" and "is not signed" in accepted(c)[1]


def test_the_way_back_to_a_model_needs_no_signature_told_again(pair: SigningKey) -> None:
    c = trusting(Cluster(), Trust(True, (pair.public,)))
    apply(c, ONE, signature(ONE, pair))
    c.until("Succeeded")
    apply(c, TWO, signature(TWO, pair))
    c.look()
    c.until("Succeeded")
    assert set(c.status["signatures"]) == {ONE, TWO}
    apply(c, ONE)
    c.look()
    assert c.until("Succeeded")["stable"] == ONE[:12]


def test_the_server_is_given_the_signature_to_check_it_again(pair: SigningKey) -> None:
    c = trusting(Cluster(), NOTHING)
    apply(c, ONE, signature(ONE, pair))
    c.until("Succeeded")
    service = next(o for o in c.api.objects.values() if o["kind"] == "InferenceService")
    assert service["spec"]["predictor"]["model"]["env"] == [{"name": SIGNATURE_ENV, "value": signature_of(c)}]
    d = Cluster()
    d.apply(ONE)
    d.until("Succeeded")
    assert "env" not in next(o for o in d.api.objects.values() if o["kind"] == "InferenceService")["spec"]["predictor"]["model"]


def signature_of(c: Cluster) -> str:
    return str(c.api.objects[PATH]["spec"]["model"]["signature"])


def test_a_controller_without_keys_says_what_it_lacks() -> None:
    c = Cluster()
    c.apply(ONE, requireSignature=True)
    c.look()
    assert "trusts no key" in accepted(c)[1] and "ConfigMap sluice-trusted-keys" in accepted(c)[1]


def test_its_options_read_the_keys(pair: SigningKey, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLUICE_REQUIRE_SIGNATURE", keys.TRUSTED_ENV):
        monkeypatch.delenv(name, raising=False)
    made = keys.new_pair(tmp_path / "signing.pem")
    assert program.options([])[0].trust == NOTHING
    monkeypatch.setenv(keys.TRUSTED_ENV, str(tmp_path))
    assert program.options([])[0].trust == Trust(False, (made,))
    monkeypatch.setenv("SLUICE_REQUIRE_SIGNATURE", "true")
    assert program.options([])[0].trust == Trust(True, (made,))
    monkeypatch.delenv(keys.TRUSTED_ENV)
    with pytest.raises(SystemExit):
        program.options([])


def test_a_handed_over_model_takes_the_signature_of_the_one_before_away() -> None:
    from sluice.rollouts.handover import Resource
    from sluice.rollouts.manifest import model
    from sluice.rollouts.spec import RolloutSpec

    patch, _ = Resource(None, "ns", "m")._patch({}, model("m", ONE, "s3://b/p"), RolloutSpec())  # type: ignore[arg-type]
    assert patch["spec"]["model"]["signature"] is None
    patch, _ = Resource(None, "ns", "m")._patch({}, model("m", ONE, "s3://b/p", "text"), RolloutSpec())  # type: ignore[arg-type]
    assert patch["spec"]["model"]["signature"] == "text"
    assert rollout(ONE)["spec"]["model"].get("signature") is None
