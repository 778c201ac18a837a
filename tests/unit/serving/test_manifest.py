"""The runtime's manifest: KServe's own types take it, its options are the server's, Pod Security `restricted` holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from kserve import V1alpha1ServingRuntimeSpec
from kubernetes.client import ApiClient

from serving.runtime.cli import parser, settings_of

PATH = Path(__file__).parents[3] / "manifests" / "base" / "serving-runtime.yaml"


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(PATH.read_text())
    return found


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (only,) = manifest["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def test_its_arguments_are_the_servers(manifest: dict[str, Any]) -> None:
    settings = settings_of(parser().parse_args([a.replace("{{.Name}}", "m") for a in container(manifest)["args"]]))
    (source,) = settings.sources
    assert (source.name, source.uri, settings.host, settings.grpc_port) == ("m", "/mnt/models", "0.0.0.0", 9000)
    grace = 30  # Kubernetes' default terminationGracePeriodSeconds
    assert settings.drain_delay + settings.drain < grace


def test_probes_and_annotations_point_at_the_servers_port(manifest: dict[str, Any]) -> None:
    c = container(manifest)
    port = c["ports"][0]["containerPort"]
    assert manifest["spec"]["annotations"]["prometheus.io/port"] == str(port)
    assert {p: c[p]["httpGet"]["port"] for p in ("startupProbe", "readinessProbe", "livenessProbe")} == dict.fromkeys(
        ("startupProbe", "readinessProbe", "livenessProbe"), port
    )


def test_its_second_port_carries_grpc_by_the_name_kserve_goes_by(manifest: dict[str, Any]) -> None:
    http, h2c = container(manifest)["ports"]
    assert (http["name"], h2c["name"]) == ("http", "h2c")
    assert f"--grpc-port={h2c['containerPort']}" in container(manifest)["args"]


def test_it_may_run_under_pod_security_restricted(manifest: dict[str, Any]) -> None:
    s = container(manifest)["securityContext"]
    assert (
        s["runAsNonRoot"]
        and s["runAsUser"] > 0
        and s["readOnlyRootFilesystem"]
        and not s["allowPrivilegeEscalation"]
        and not s["privileged"]
    )
    assert s["capabilities"] == {"drop": ["ALL"]} and s["seccompProfile"]["type"] == "RuntimeDefault"
    mounted = {m["name"] for m in container(manifest)["volumeMounts"]}
    assert mounted == {v["name"] for v in manifest["spec"]["volumes"]}


def test_kserves_types_know_every_field(manifest: dict[str, Any]) -> None:
    known = set(V1alpha1ServingRuntimeSpec.attribute_map.values())
    assert set(manifest["spec"]) <= known
    from kubernetes.client import V1Container

    assert set(container(manifest)) <= set(V1Container.attribute_map.values())
    assert ApiClient().sanitize_for_serialization(manifest)["kind"] == "ServingRuntime"


def test_overlays_find_the_number_of_workers_where_they_set_it(manifest: dict[str, Any]) -> None:
    assert manifest["kind"] == "ServingRuntime" and container(manifest)["args"][3].startswith("--workers=")
