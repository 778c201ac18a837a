"""On the cluster: a model that nobody trusted has signed takes no traffic, and the one before comes back at a word, under load."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sluice.proof import keys
from sluice.proof.signing import sign
from sluice.rollouts.load_generator import Load

# The helpers of conftest.py, by path: test folders are no packages.
_spec = importlib.util.spec_from_file_location("rollout_cluster", Path(__file__).with_name("conftest.py"))
assert _spec and _spec.loader
helpers = sys.modules.setdefault("rollout_cluster", importlib.util.module_from_spec(_spec))
if not hasattr(helpers, "manifest"):
    _spec.loader.exec_module(helpers)
manifest, digest, NAMESPACE, kubectl = helpers.manifest, helpers.digest, helpers.NAMESPACE, helpers.kubectl
wait_until = helpers.wait_until


def test_the_model_before_comes_back_at_a_word_and_no_request_fails(operator: Any, api: Any, named: str, load: Callable[..., Load]):
    for version in ("one", "two"):
        api.apply(manifest(named, version, strategy={"shadow": {"requests": 0}, "steps": [50], "minimumRequests": 100}))
        api.until(named, "Succeeded", version=version)
        if version == "one":
            traffic = load(named, 80)
    arms: dict[str, int] = traffic.report()["by_arm"]
    assert arms.get(digest("two")[:12], 0) > 0
    begun = time.monotonic()
    words = ["sluice.dev/command=rollback#7", "sluice.dev/reason=prices are wrong"]
    kubectl("annotate", "modelrollout", "-n", NAMESPACE, named, *words, "--overwrite")
    status = api.until(named, "RolledBack")
    print(f"back after {time.monotonic() - begun:.1f} s at 80 requests a second")
    assert status["stable"] == digest("one")[:12] and "prices are wrong" in status["message"], status
    before = traffic.report()["by_arm"].get(digest("one")[:12], 0)
    wait_until(lambda: traffic.report()["by_arm"].get(digest("one")[:12], 0) > before + 100, what="the model before to answer", seconds=60)
    traffic.stop()
    report = traffic.report()
    assert report["failed"] == 0 and report["sent"] == report["answered"], report


def test_a_model_that_no_trusted_key_signed_takes_no_traffic(api: Any, named: str, load: Callable[..., Load], tmp_path: Path):
    trusted, other = (keys.signing_key(_pair(tmp_path / name)) for name in ("ours.pem", "theirs.pem"))
    operator = helpers.Operator(tmp_path / "log", "--require-signature", "--trusted-key", str(tmp_path / "ours.pub")).start()
    try:
        api.apply(_signed(manifest(named, "one"), trusted))
        api.until(named, "Succeeded", version="one")
        traffic = load(named, 40)
        for version, key in (("two", None), ("three", other)):
            api.apply(_signed(manifest(named, version), key))
            wait_until(lambda: _refused(api, named), what="the refusal", seconds=60)
        time.sleep(5)
        names = {
            s["metadata"]["annotations"]["sluice.dev/digest"]
            for s in api.kube.list("InferenceService", NAMESPACE, f"sluice.dev/rollout={named}")
        }
        assert names == {digest("one")}
        api.apply(_signed(manifest(named, "four", strategy={"shadow": {"requests": 0}, "steps": [50], "minimumRequests": 100}), trusted))
        api.until(named, "Succeeded", version="four")
        traffic.stop()
        report = traffic.report()
        assert report["failed"] == 0 and set(report["by_arm"]) == {digest("one")[:12], digest("four")[:12]}, report
    finally:
        operator.stop()


def _pair(path: Path) -> Path:
    keys.new_pair(path)
    return path


def _signed(raw: dict[str, Any], key: Any) -> dict[str, Any]:
    model = raw["spec"]["model"]
    if key is not None:
        package = SimpleNamespace(digest=model["digest"], name="m", manifest={"files": {}})
        model["signature"] = sign(package, {}, key).decode()  # type: ignore[arg-type]
    return raw


def _refused(api: Any, name: str) -> bool:
    """Whether the newest generation is the one that was refused."""
    raw = api.kube.get("ModelRollout", NAMESPACE, name)
    accepted = next((c for c in raw.get("status", {}).get("conditions", ()) if c["type"] == "Accepted"), {})
    return (
        accepted.get("status") == "False"
        and accepted.get("observedGeneration", raw["metadata"]["generation"]) == raw["metadata"]["generation"]
    )
