"""Who may do what: reviews of rights by the API server, each missing one with the command that gives it."""

from __future__ import annotations

from collections.abc import Sequence

from sluice.doctor.finding import Finding, fault, note, ok
from sluice.doctor.place import APPLY, Place
from sluice.kfp import site
from sluice.kube.client import KubeFault

#: What each identity does: (verb, group, resource).
PERSON = (
    ("get", "", "configmaps"),
    ("list", "sluice.dev", "modelrollouts"),
    ("patch", "sluice.dev", "modelrollouts"),
    ("create", "sluice.dev", "pipelineruns"),
)
STEP = tuple((verb, "sluice.dev", resource) for resource in ("modelrollouts", "modelmonitors") for verb in ("get", "create", "patch"))
CONTROLLER = (
    ("patch", "sluice.dev", "modelrollouts"),
    ("patch", "sluice.dev", "modelrollouts/status"),
    ("patch", "sluice.dev", "pipelineruns/status"),
    ("create", "sluice.dev", "pipelineruns"),
    ("patch", "sluice.dev", "modelmonitors/status"),
    ("create", "serving.kserve.io", "inferenceservices"),
    ("patch", "gateway.networking.k8s.io", "httproutes"),
    ("get", "", "configmaps"),
    ("update", "coordination.k8s.io", "leases"),
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
    """What the account of the runs may do in the environment."""
    fix = (
        f"kubectl -n {place.environment} create rolebinding sluice-steps-{place.runs} --role=sluice-pipeline --serviceaccount={place.runs}:{place.account}"
        " (chart: pipelines.runners)"
    )
    return rights_of(place, "rights of steps", place.runs, place.account, STEP, fix)


def rights_of_controller(place: Place) -> list[Finding]:
    """What the controller's account may do in the environment."""
    return rights_of(place, "rights of the controller", place.environment, "sluice-controller", CONTROLLER, APPLY)
