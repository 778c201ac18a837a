"""A cluster as Sluice needs it: what can be asked of its API server, each missing thing with the command that mends it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from sluice.core.errors import ProjectError
from sluice.doctor.finding import Finding, fault, note, ok
from sluice.kfp import needs, site
from sluice.kfp.client import Api
from sluice.kfp.config import StepSettings
from sluice.kfp.needs import Need
from sluice.kfp.site import Site, Told
from sluice.kube import image as images
from sluice.kube.client import Kube, KubeFault, Object
from sluice.steps.step import NAMES

APPLY = "kubectl apply --server-side --force-conflicts -k manifests/overlays/OVERLAY (or helm upgrade)"
#: What Sluice asks the API server for: (group, version, resource, whether nothing works without it, what brings it).
SERVED = (
    ("sluice.dev", "v1alpha1", "modelrollouts", True, "kubectl apply --server-side --force-conflicts -k manifests/crds"),
    ("sluice.dev", "v1alpha1", "pipelineruns", True, "kubectl apply --server-side --force-conflicts -k manifests/crds"),
    ("sluice.dev", "v1alpha1", "pipelineschedules", True, "kubectl apply --server-side --force-conflicts -k manifests/crds"),
    ("serving.kserve.io", "v1beta1", "inferenceservices", True, "make platform (KServe)"),
    ("serving.kserve.io", "v1alpha1", "servingruntimes", True, "make platform (KServe)"),
    ("gateway.networking.k8s.io", "v1", "httproutes", True, "make platform (the Gateway API)"),
    ("trainer.kubeflow.org", "v1alpha1", "trainjobs", False, "make platform (Kubeflow Trainer): training over several nodes"),
    ("monitoring.coreos.com", "v1", "podmonitors", False, "make platform (the Prometheus operator): metrics and alerts"),
)
#: What each identity does: (verb, group, resource).
PERSON = (
    ("get", "", "configmaps"),
    ("list", "sluice.dev", "modelrollouts"),
    ("patch", "sluice.dev", "modelrollouts"),
    ("create", "sluice.dev", "pipelineruns"),
)
STEP = (("get", "sluice.dev", "modelrollouts"), ("create", "sluice.dev", "modelrollouts"), ("patch", "sluice.dev", "modelrollouts"))
CONTROLLER = (
    ("patch", "sluice.dev", "modelrollouts"),
    ("patch", "sluice.dev", "modelrollouts/status"),
    ("patch", "sluice.dev", "pipelineruns/status"),
    ("create", "serving.kserve.io", "inferenceservices"),
    ("patch", "gateway.networking.k8s.io", "httproutes"),
    ("get", "", "configmaps"),
    ("update", "coordination.k8s.io", "leases"),
)


@dataclasses.dataclass(frozen=True)
class Place:
    """What is looked at.

    Attributes:
        environment: the namespace Sluice is installed in. runs: the one its runs live in. installation: Kubeflow Pipelines' own.
        account: the service account of the runs. site: what the environment says of itself; null: nothing that can be read.
    """

    kube: Kube
    environment: str
    runs: str
    installation: str
    account: str
    site: Site | None

    def step(self, name: str = "register") -> StepSettings:
        """A step's settings, for a project that says nothing itself."""
        from sluice.kfp.config import ClusterConfig

        return (self.site.under(ClusterConfig()) if self.site else ClusterConfig()).of(name)

    def namespaced(self, path: str, namespace: str | None = None) -> str:
        """``apps/v1:deployments/x`` as a path of the API, in the environment unless another namespace is named."""
        group, _, rest = path.rpartition(":")
        root = f"/apis/{group}" if group else "/api/v1"
        return f"{root}/namespaces/{namespace or self.environment}/{rest}"


def version(kube: Kube) -> Finding:
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


def rights_of_person(place: Place) -> list[Finding]:
    """What whoever asks may do: read the environment, steer rollouts, start runs."""
    lacks = [f"{verb} {resource}" for verb, group, resource in PERSON if not place.kube.may(verb, group, resource, place.environment)[0]]
    if not lacks:
        return [ok("your rights", f"in {place.environment}: " + ", ".join(f"{v} {r}" for v, _, r in PERSON))]
    return [
        fault(
            "your rights",
            f"you may not {', '.join(lacks)} in namespace {place.environment}",
            f"somebody who may: kubectl -n {place.environment} create rolebinding YOU --clusterrole=edit --user=YOU, and for sluice.dev: "
            f"kubectl -n {place.environment} create role sluice-user --verb=get,list,watch,create,patch --resource=modelrollouts.sluice.dev,pipelineruns.sluice.dev",
        )
    ]


def rights_of(place: Place, check: str, namespace: str, account: str, wanted: Sequence[tuple[str, str, str]], fix: str) -> list[Finding]:
    """What a service account may do in the environment, by reviews of its rights.

    Args:
        namespace, account: whose. wanted: (verb, group, resource). fix: the command that gives it.
    """
    user = f"system:serviceaccount:{namespace}:{account}"
    if place.kube.get(place.namespaced(f"serviceaccounts/{account}", namespace)) is None:
        mend = APPLY if namespace == place.environment else f"kubectl -n {namespace} create serviceaccount {account}"
        return [fault(check, f"there is no service account {account} in namespace {namespace}", mend)]
    try:
        lacks = [
            f"{verb} {resource}"
            for verb, group, resource in wanted
            if not place.kube.may(verb, group, resource, place.environment, user=user)[0]
        ]
        if check == "rights of steps" and not place.kube.may("get", "", "configmaps", place.environment, user=user, name=site.NAME)[0]:
            lacks.append(f"get configmap {site.NAME}")
    except KubeFault as e:
        if e.status == 403:
            return [note(check, f"you may not ask what {namespace}/{account} may do (subjectaccessreviews)")]
        raise
    if lacks:
        return [fault(check, f"{namespace}/{account} may not {', '.join(lacks)} in namespace {place.environment}", fix)]
    return [ok(check, f"{namespace}/{account} in {place.environment}: " + ", ".join(f"{v} {r}" for v, _, r in wanted))]


def rights_of_steps(place: Place) -> list[Finding]:
    fix = (
        f"kubectl -n {place.environment} create rolebinding sluice-steps-{place.runs} --role=sluice-pipeline --serviceaccount={place.runs}:{place.account}"
        " (chart: pipelines.runners)"
    )
    return rights_of(place, "rights of steps", place.runs, place.account, STEP, fix)


def rights_of_controller(place: Place) -> list[Finding]:
    return rights_of(place, "rights of the controller", place.environment, "sluice-controller", CONTROLLER, APPLY)


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


def store_keys(place: Place) -> list[Finding]:
    """Secrets of the store: for steps in the namespace of the runs, for model servers in the environment, bound to their account."""
    if place.site is None:
        return []
    env, found = place.step().env, []
    kind = env.get(site.STORE_ENV, "").partition("://")[0]
    copied = copy_of_keys(place)
    for secret in {s.name: s for name in NAMES for s in place.step(name).secrets}.values():
        try:
            obj = place.kube.get(place.namespaced(f"secrets/{secret.name}", place.runs))
        except KubeFault as e:
            if e.status == 403:
                found.append(note("store's keys", f"you may not look up Secret {place.runs}/{secret.name}"))
                continue
            raise
        lacks = sorted(set(secret.env) - set((obj or {}).get("data") or {}))
        if obj is None and not secret.optional:
            keys = " ".join(f"--from-literal={k}=..." for k in secret.env)
            found.append(
                fault(
                    "store's keys",
                    f"there is no Secret {secret.name} in namespace {place.runs}, which steps take",
                    f"kubectl -n {place.runs} create secret generic {secret.name} {keys}",
                )
            )
        elif obj is not None and lacks:
            found.append(
                fault(
                    "store's keys",
                    f"Secret {place.runs}/{secret.name} has no key {', '.join(lacks)}",
                    f"kubectl -n {place.runs} edit secret {secret.name}",
                )
            )
    if kind == "pvc":
        claim = env[site.STORE_ENV].removeprefix("pvc://").partition("/")[0]
        for space in dict.fromkeys((place.environment, place.runs)):
            if place.kube.get(place.namespaced(f"persistentvolumeclaims/{claim}", space)) is None:
                found.append(
                    fault(
                        "store's claim",
                        f"there is no PersistentVolumeClaim {claim} in namespace {space}",
                        "kubectl apply --server-side -k manifests/runs/claim, with manifests/components/volume in the overlay (chart: store.volume)",
                    )
                )
        return found or [ok("store's claim", f"{claim} in {place.environment} and {place.runs}")]
    account = place.kube.get(place.namespaced("serviceaccounts/sluice-predictor"))
    bound = [s["name"] for s in (account or {}).get("secrets") or []]
    if account is None:
        return [*found, fault("store's keys", f"there is no service account sluice-predictor in namespace {place.environment}", APPLY)]
    own = bool(env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL"))
    if not bound:
        said = "service account sluice-predictor names no Secret: model servers fetch packages with the cloud's identity, or not at all"
        bind = f'kubectl -n {place.environment} patch serviceaccount sluice-predictor --type merge -p \'{{"secrets": [{{"name": "sluice-store"}}]}}\''
        return [*found, (fault if own else note)("store's keys", said, bind)]
    for name in bound:
        try:
            obj = place.kube.get(place.namespaced(f"secrets/{name}"))
        except KubeFault as e:
            if e.status == 403:
                return [*found, note("store's keys", f"you may not look up Secret {place.environment}/{name}")]
            raise
        if obj is None:
            found.append(
                fault("store's keys", f"there is no Secret {name} in namespace {place.environment}, which model servers fetch with", copied)
            )
        elif own and "serving.kserve.io/s3-endpoint" not in (obj["metadata"].get("annotations") or {}):
            found.append(
                fault(
                    "store's keys",
                    f"Secret {place.environment}/{name} does not say where the store is: KServe would ask AWS",
                    f"kubectl -n {place.environment} annotate secret {name} serving.kserve.io/s3-endpoint=HOST:PORT serving.kserve.io/s3-usehttps=0",
                )
            )
    return found or [ok("store's keys", f"for steps in {place.runs}, for model servers {', '.join(bound)}")]


def copy_of_keys(place: Place) -> str:
    """The command that makes the model servers' Secret from the steps' own."""
    env, mine = place.step().env, place.step().secrets
    keys = {variable: (s.name, key) for s in mine for key, variable in s.env.items() if variable.startswith("AWS_")}
    if len(keys) < 2:
        return f"kubectl -n {place.environment} create secret generic sluice-store --from-literal=AWS_ACCESS_KEY_ID=... --from-literal=AWS_SECRET_ACCESS_KEY=..."
    key = " ".join(
        f'--from-literal={v}="$(kubectl -n {place.runs} get secret {name} -o jsonpath={{.data.{k}}} | base64 -d)"'
        for v, (name, k) in sorted(keys.items())
    )
    host = env.get("AWS_ENDPOINT_URL_S3", "").partition("://")[2]
    where = (
        f" && kubectl -n {place.environment} annotate secret sluice-store serving.kserve.io/s3-endpoint={host} serving.kserve.io/s3-usehttps=0"
        if host
        else ""
    )
    region = f" serving.kserve.io/s3-region={env['AWS_REGION']}" if host and env.get("AWS_REGION") else ""
    return f"kubectl -n {place.environment} create secret generic sluice-store {key}{where}{region}"


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
