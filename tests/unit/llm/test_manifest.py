"""A prompt's package on a cluster: its key comes from a Secret, and its pods are let out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sluice.llm.config import EndpointConfig
from sluice.llm.package import URL_ENV

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "manifests/examples/prompt.yaml").read_text()
SERVICE, POLICY = yaml.safe_load_all(TEXT)
RUNTIME = yaml.safe_load((ROOT / "manifests/base/serving-runtime.yaml").read_text())


def test_the_pod_that_serves_it_is_one_kubernetes_takes() -> None:
    """KServe lays the model's fields over the runtime's container, and the predictor's over the pod."""
    predictor = SERVICE["spec"]["predictor"]
    model, base = predictor["model"], RUNTIME["spec"]["containers"][0]
    container: dict[str, Any] = {
        **base,
        "args": [*base["args"], *model["args"]],
        "env": [*base["env"], *model["env"]],
        "resources": model["resources"],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "library", "labels": predictor["labels"]},
        "spec": {
            "containers": [container],
            "volumes": RUNTIME["spec"]["volumes"],
            **{k: predictor[k] for k in ("serviceAccountName", "automountServiceAccountToken", "securityContext")},
        },
    }
    kubernetes_validate.validate(pod, "1.34", strict=True)
    kubernetes_validate.validate(POLICY, "1.34", strict=True)
    assert {f["name"] for f in RUNTIME["spec"]["supportedModelFormats"]} >= {model["modelFormat"]["name"]}


def test_the_key_is_a_secrets_and_the_address_is_none_with_a_key() -> None:
    env = {e["name"]: e for e in SERVICE["spec"]["predictor"]["model"]["env"]}
    ref = env["LLM_API_KEY"]["valueFrom"]["secretKeyRef"]
    assert f"create secret generic {ref['name']} --from-literal={ref['key']}=" in TEXT
    assert EndpointConfig(url=env[URL_ENV]["value"], model="m", key_env="LLM_API_KEY").url
    assert not any("value" in e for name, e in env.items() if name != URL_ENV)


def test_its_pods_are_let_out_and_not_to_the_clouds_metadata() -> None:
    assert POLICY["spec"]["podSelector"]["matchLabels"].items() <= SERVICE["spec"]["predictor"]["labels"].items()
    outside = [t["ipBlock"] for rule in POLICY["spec"]["egress"] for t in rule["to"] if "ipBlock" in t]
    assert [b["except"] for b in outside] == [["169.254.0.0/16"]]


def test_every_field_is_one_of_kserves() -> None:
    kserve = pytest.importorskip("kserve.models")
    predictor = SERVICE["spec"]["predictor"]
    assert set(predictor) <= set(kserve.V1beta1PredictorSpec.attribute_map.values())
    assert set(predictor["model"]) <= set(kserve.V1beta1ModelSpec.attribute_map.values())
