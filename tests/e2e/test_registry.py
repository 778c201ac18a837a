"""The registry follows what serves, with the controller and MLflow killed in between; a candidate that does not start says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

MODEL = "digits-e2e"
SECRET = "digits-e2e-missing"
#: Run in MLflow's own pod: its server is nobody else's to reach.
ASK = """
import json, sys, urllib.error, urllib.request
method, path, body = sys.argv[1], sys.argv[2], sys.argv[3].encode() or None
request = urllib.request.Request("http://localhost:5000/api/2.0/mlflow/" + path, body, {"Content-Type": "application/json"}, method=method)
try:
    print(urllib.request.urlopen(request, timeout=30).read().decode())
except urllib.error.HTTPError as e:
    print(e.read().decode())
"""


def mlflow(kube: Any, path: str, method: str = "GET", body: str = "") -> Any:
    return json.loads(kube.run("exec", "deployment/mlflow", "--", "python3", "-c", ASK, method, path, body))


def holders(kube: Any) -> dict[str, str]:
    """Digest by alias."""
    model = mlflow(kube, f"registered-models/get?name={MODEL}").get("registered_model") or {}
    versions = mlflow(kube, f"model-versions/search?filter=name%3D%27{MODEL}%27").get("model_versions") or []
    digests = {str(v["version"]): {t["key"]: t["value"] for t in v["tags"]}["sluice.digest"] for v in versions}
    return {a["alias"]: digests[str(a["version"])] for a in model.get("aliases") or []}


def rollout(
    kube: Any, digest: str, *, verify: int = 5, ready: int = 120, predictor: dict[str, Any] | None = None, uri: str | None = None
) -> str:
    found = json.loads(kube.manifest(digest))
    found["spec"]["registry"] = {"model": MODEL}
    # Nobody sends anything here: what is tried is who serves.
    found["spec"]["strategy"] |= {"verifySeconds": verify, "readySeconds": ready, "shadow": {"requests": 0}}
    for key, value in (predictor or {}).items():
        found["spec"]["serving"]["predictor"][key] = value
    if uri:
        found["spec"]["model"]["uri"] = uri
    return json.dumps(found)


def status(kube: Any) -> dict[str, Any]:
    return kube.get("modelrollout", kube.rollout).get("status") or {}


def registered(kube: Any) -> dict[str, Any]:
    return next((c for c in status(kube).get("conditions") or [] if c["type"] == "Registered"), {})


def order(kube: Any, command: str) -> None:
    kube.run("annotate", "modelrollout", kube.rollout, "--overwrite", f"sluice.dev/command={command}")


@pytest.fixture
def clean(kube: Any) -> Iterator[None]:
    kube.forget(kube.rollout)
    yield
    kube.forget(kube.rollout)
    kube.run("delete", "secret", SECRET, "--ignore-not-found")
    mlflow(kube, "registered-models/delete", "DELETE", json.dumps({"name": MODEL}))


def test_champion_is_what_serves_though_controller_and_mlflow_die_in_between(kube: Any, packages: list[str], clean: None) -> None:
    one, two = packages
    kube.run("apply", "-f", "-", stdin=rollout(kube, one))
    kube.wait(lambda: status(kube).get("phase") == "Succeeded", "the first model", 240)
    kube.wait(lambda: registered(kube).get("status") == "True", "the registry", 60)
    assert holders(kube) == {"champion": one}
    kube.run("apply", "-f", "-", stdin=rollout(kube, two))
    kube.wait(lambda: status(kube).get("phase") not in ("Succeeded", "Pending"), "the second model to be ready", 240)
    # MLflow goes, the second model is promoted, and whoever promoted it goes as well.
    kube.run("delete", "pod", "-l", "app.kubernetes.io/name=mlflow", "--wait=false")
    order(kube, "promote#1")
    kube.wait(lambda: status(kube).get("stable") == two[:12], "the promotion", 120)
    kube.run("delete", "pod", "-l", "app.kubernetes.io/name=sluice-controller", "--wait=false")
    kube.run("rollout", "status", "deployment/mlflow", "--timeout=240s")
    kube.wait(lambda: registered(kube).get("status") == "True" and two[:12] in registered(kube)["message"], "the registry to follow", 240)
    assert holders(kube) == {"champion": two, "previous": one}


def test_a_missing_secret_rejects_nothing_and_the_rollout_goes_on_when_it_is_made(kube: Any, packages: list[str], clean: None) -> None:
    wants = {
        "model": {
            "args": ["--digest=$(DIGEST)", "--name=$(NAME)"],
            "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "x"}}}],
        }
    }
    kube.run("apply", "-f", "-", stdin=rollout(kube, packages[0], ready=30, predictor=wants))
    kube.wait(lambda: SECRET in status(kube).get("message", ""), "the reason", 120)
    found = kube.wait(lambda: status(kube) if status(kube).get("phase") == "Failed" else None, "the end of patience", 120)
    assert (
        not found["state"]["rejected"]
        and "to mend it: make what it names" in found["message"]
        and found["message"].endswith("there was no model before it")
    )
    kube.run("create", "secret", "generic", SECRET, "--from-literal=x=1")
    kube.wait(lambda: status(kube).get("phase") == "Succeeded", "the rollout to go on by itself", 240)


def test_a_package_that_is_not_there_and_one_that_is_another_are_told_apart(kube: Any, packages: list[str], clean: None) -> None:
    one, two = packages
    kube.run("apply", "-f", "-", stdin=rollout(kube, one, ready=45, uri="pvc://sluice-store/sha256/" + "0" * 64))
    found = kube.wait(lambda: status(kube) if status(kube).get("phase") == "Failed" else None, "the end of patience", 240)
    assert not found["state"]["rejected"], found["message"]
    # The package is the other one, so the server ends with what is wrong: the package's own fault, with its last words.
    kube.run("apply", "-f", "-", stdin=rollout(kube, one, uri=f"pvc://sluice-store/sha256/{two}"))
    found = kube.wait(lambda: status(kube) if status(kube).get("phase") == "RolledBack" else None, "the rejection", 240)
    assert found["state"]["rejected"] == [one] and one[:12] in found["log"] and "nothing serves now" in found["message"]
    assert holders(kube) == {}
