"""A cluster as Sluice needs it: what can be asked of its API server, each missing thing with the command that mends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sluice.core.errors import ProjectError
from sluice.doctor.finding import Finding, fault, note, ok
from sluice.doctor.place import APPLY, Place
from sluice.kfp import needs, site
from sluice.kfp.client import Api
from sluice.kfp.needs import Need
from sluice.kfp.site import Told
from sluice.kube import image as images
from sluice.kube.client import Kube, KubeFault, Object

#: What Sluice asks the API server for: (group, version, resource, whether nothing works without it, what brings it).
SERVED = (
    ("sluice.dev", "v1alpha1", "modelrollouts", True, "kubectl apply --server-side --force-conflicts -k manifests/crds"),
    ("sluice.dev", "v1alpha1", "pipelineruns", True, "kubectl apply --server-side --force-conflicts -k manifests/crds"),
    ("sluice.dev", "v1alpha1", "modelmonitors", True, "kubectl apply --server-side --force-conflicts -k manifests/crds"),
    ("sluice.dev", "v1alpha1", "pipelineschedules", True, "kubectl apply --server-side --force-conflicts -k manifests/crds"),
    ("serving.kserve.io", "v1beta1", "inferenceservices", True, "make platform (KServe)"),
    ("serving.kserve.io", "v1alpha1", "servingruntimes", True, "make platform (KServe)"),
    ("gateway.networking.k8s.io", "v1", "httproutes", True, "make platform (the Gateway API)"),
    ("trainer.kubeflow.org", "v1alpha1", "trainjobs", False, "make platform (Kubeflow Trainer): training over several nodes"),
    ("monitoring.coreos.com", "v1", "podmonitors", False, "make platform (the Prometheus operator): metrics and alerts"),
)


def version(kube: Kube) -> Finding:
    """Which cluster it is, and its version. Raises `KubeFault` where it does not answer."""
    found = kube.request("GET", "/version")
    return ok("cluster", f"context {kube.context}, {kube.host}, Kubernetes {found.get('gitVersion', '?')}")


def served(place: Place) -> list[Finding]:
    """The resources Sluice works with, in the version it speaks."""
    there: dict[str, Object | None] = {}
    lacks: dict[tuple[bool, str], list[str]] = {}
    good = []
    for group, version_, resource, needed, brings in SERVED:
        path = f"/apis/{group}/{version_}"
        if path not in there:
            there[path] = place.kube.get(path)
        if resource in {r["name"] for r in (there[path] or {}).get("resources", [])}:
            good.append(f"{resource}.{group}/{version_}")
            continue
        others = [v["version"] for v in ((place.kube.get(f"/apis/{group}") or {}).get("versions") or [])]
        lacks.setdefault((needed, brings), []).append(f"{resource}.{group}/{version_}" + (f" (only {', '.join(others)})" if others else ""))
    found = [
        (fault if needed else note)("resources", f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not served", brings)
        for (needed, brings), names in lacks.items()
    ]
    return [*([ok("resources", ", ".join(good))] if good else []), *found]


def configuration(place: Place, error: str = "") -> list[Finding]:
    """The environment's ConfigMap: there, readable, whole for a project that says nothing itself."""
    name = f"ConfigMap {place.environment}/{site.NAME}"
    if place.site is None:
        said = error or f"{name} is not there"
        return [fault("configuration", said, f"{APPLY}; or name Sluice's namespace: --environment NS")]
    from sluice.project import parse

    project = parse({"name": "doctor", "task": "image", "data": {"source": "sklearn://digits"}, "model": {"channels": 1, "size": [8, 8]}})
    ready = project.model_copy(update={"cluster": place.site.under(project.cluster)})
    lacks: list[Need] = needs.of_steps(ready, Told(place.site))
    env = place.step().env
    said = f"{name}: packages in {env.get(site.STORE_ENV, '?')}, registry {env.get(site.TRACKING_ENV, '?')}"
    return [ok("configuration", said), *(fault("configuration", f"{n.field}: {n.message}", n.fix) for n in lacks), *image(place)]


def image(place: Place) -> list[Finding]:
    """The steps' image is named by digest."""
    named = place.site.image if place.site else ""
    mend = f'kubectl -n {place.environment} patch configmap {site.NAME} --type merge -p \'{{"data": {{"image": "REGISTRY/sluice/pipeline@sha256:..."}}}}\''
    if not named:
        return [
            note(
                "image",
                "the environment names none: --image, or SLUICE_PIPELINE_IMAGE",
                mend + "; on kind: PARTS='images sluice' make kind-up",
            )
        ]
    wrong = images.fault(named)
    return (
        [fault("image", f"{named} {wrong[0]}", mend + "; on kind: PARTS='images sluice' make kind-up")] if wrong else [ok("image", named)]
    )


def deployments(place: Place) -> list[Finding]:
    """The controller and MLflow are up, and one controller leads."""
    found = []
    for check, name, needed in (("controller", "sluice-controller", True), ("MLflow", "mlflow", False)):
        obj = place.kube.get(place.namespaced(f"apps/v1:deployments/{name}"))
        if obj is None:
            why = f"there is no Deployment {name} in namespace {place.environment}"
            tracking = place.step().env.get(site.TRACKING_ENV, "")
            if needed or f"//mlflow.{place.environment}" in tracking:
                found.append(fault(check, why, APPLY))
            else:
                found.append(note(check, f"{why}; steps are told of {tracking or 'none'}"))
            continue
        status, wanted = obj.get("status") or {}, int((obj.get("spec") or {}).get("replicas", 1))
        up = int(status.get("availableReplicas") or 0)
        image_ = obj["spec"]["template"]["spec"]["containers"][0]["image"]
        look_ = f"kubectl -n {place.environment} describe deployment/{name}; kubectl -n {place.environment} logs deployment/{name}"
        if wanted == 0:
            found.append(
                fault(check, f"Deployment {name} is scaled to 0", f"kubectl -n {place.environment} scale deployment/{name} --replicas=1")
            )
        elif up == 0:
            found.append(fault(check, f"Deployment {name}: none of {wanted} is available", look_))
        else:
            found.append(ok(check, f"{up} of {wanted} up, {image_}"))
    return found


def gateway(place: Place) -> list[Finding]:
    """The way in: the Gateway models attach to is programmed."""
    from sluice.rollouts.manifest import GATEWAY_ENV, Target

    space, _, name = (place.step().env.get(GATEWAY_ENV) or Target("").gateway).rpartition("/")
    space = space or place.environment
    found = place.kube.get(f"/apis/gateway.networking.k8s.io/v1/namespaces/{space}/gateways/{name}")
    if found is None:
        return [
            fault(
                "gateway", f"there is no Gateway {name} in namespace {space}", f"make platform, or name yours: {GATEWAY_ENV} in {site.NAME}"
            )
        ]
    status = found.get("status") or {}
    programmed = next(
        (c for c in status.get("conditions") or [] if c["type"] == "Programmed"),
        {"status": "Unknown", "message": "no controller has looked at it"},
    )
    at = ", ".join(a["value"] for a in status.get("addresses") or [])
    if programmed["status"] != "True":
        return [
            fault(
                "gateway",
                f"{space}/{name} is not programmed: {programmed.get('message', '')}",
                f"kubectl -n {space} describe gateway {name}",
            )
        ]
    return [ok("gateway", f"{space}/{name} at {at or 'no address'}")]


def prometheus(place: Place) -> list[Finding]:
    """Evidence and alerts: one of the addresses the controller may ask answers."""
    obj = place.kube.get(place.namespaced("apps/v1:deployments/sluice-controller")) or {}
    args = [
        str(a)
        for c in ((((obj.get("spec") or {}).get("template") or {}).get("spec") or {}).get("containers") or [])
        for a in c.get("args") or []
    ]
    named = [after.removeprefix("http://") for before, after in zip(args, args[1:], strict=False) if before == "--prometheus"]
    for at in named:
        host, _, port = at.partition(":")
        service, _, space = host.partition(".")
        try:
            if place.kube.get(f"/api/v1/namespaces/{space}/services/{service}:{port or 80}/proxy/-/ready") is not None:
                return [ok("Prometheus", f"{at} is ready")]
        except KubeFault as e:
            if e.status in (401, 403):
                return [note("Prometheus", f"you may not ask {at} through the API server")]
    return [
        note(
            "Prometheus",
            f"none of {', '.join(named) or 'no address'} answers: rollouts judge by what pods count; alerts and dashboards are missing",
            "make platform",
        )
    ]


def policies(place: Place) -> list[Finding]:
    """Default deny stands in the environment, with what is needed opened; a namespace of runs that denies lets steps out."""
    items = place.kube.request("GET", place.namespaced("networking.k8s.io/v1:networkpolicies"))["items"]
    names = {i["metadata"]["name"] for i in items}
    wanted = {"dns", "predictors", "controller", "mlflow", "steps"}
    if place.step().env.get(site.STORE_ENV, "").startswith("s3://"):
        wanted.add("store")
    found = []
    if "default-deny" not in names:
        found.append(note("policies", f"namespace {place.environment} denies nothing by default", APPLY))
    elif wanted - names:
        found.append(
            fault("policies", f"namespace {place.environment} denies by default and lacks {', '.join(sorted(wanted - names))}", APPLY)
        )
    else:
        found.append(ok("policies", f"{place.environment}: default-deny, {', '.join(sorted(wanted))}"))
    if place.runs != place.environment:
        items = place.kube.request("GET", place.namespaced("networking.k8s.io/v1:networkpolicies", place.runs))["items"]
        denies = [
            i["metadata"]["name"] for i in items if i["spec"].get("podSelector") == {} and "Egress" in (i["spec"].get("policyTypes") or [])
        ]
        if denies and f"{place.environment}-steps" not in {i["metadata"]["name"] for i in items}:
            found.append(
                fault(
                    "policies",
                    f"namespace {place.runs} denies by default ({', '.join(denies)}), and nothing lets steps out",
                    "kubectl apply --server-side -k manifests/runs (chart: networkPolicies.steps)",
                )
            )
    return found


def runtime(place: Place) -> list[Finding]:
    """What model servers are made from."""
    lacks = [
        n
        for n, path in (
            ("ServingRuntime sluice", place.namespaced("serving.kserve.io/v1alpha1:servingruntimes/sluice")),
            ("PriorityClass sluice-serving", "/apis/scheduling.k8s.io/v1/priorityclasses/sluice-serving"),
        )
        if place.kube.get(path) is None
    ]
    return (
        [fault("serving", f"there is no {' and no '.join(lacks)}", APPLY)]
        if lacks
        else [ok("serving", "ServingRuntime sluice, PriorityClass sluice-serving")]
    )


def pipelines(place: Place, connect: Callable[[], Api], namespace: Callable[[Any], str | None]) -> list[Finding]:
    """Kubeflow Pipelines answers, is of the version Sluice speaks, and has the pipeline for any project."""
    api = connect()
    health = api.health()
    tag = str(health.get("tag_name") or "")
    said = f"{api.connection.how}, {'many users' if health.get('multi_user') else 'one user'}" + (
        f", version {tag}" if tag[:1].isdigit() else ""
    )
    found = [ok("Kubeflow Pipelines", said)]
    if tag[:1].isdigit() and not tag.startswith("2."):
        found.append(fault("Kubeflow Pipelines", f"is version {tag}: Sluice speaks to 2.x", "install Kubeflow Pipelines 2.17"))
    if place.site and place.site.pipeline:
        try:
            there = api.pipeline(place.site.pipeline, namespace(api))
        except ProjectError as e:
            return [*found, note("pipelines", e.message, e.fix or "")]
        upload = f"sluice upload --environment {place.environment}"
        found.append(
            ok("pipelines", f"{place.site.pipeline} takes any project")
            if there
            else fault("pipelines", f"{place.site.pipeline}, the pipeline for any project, is not there", upload)
        )
    return found
