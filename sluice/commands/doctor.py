"""`sluice doctor`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from sluice.cli import show_json
from sluice.core.errors import MissingExtra, ProjectError, SluiceError
from sluice.core.home import Home
from sluice.doctor import cluster, local, probes, rights, store_keys
from sluice.doctor.finding import Finding, Look, fault, look, note
from sluice.doctor.place import Place
from sluice.kfp import site
from sluice.kfp.client import Api
from sluice.kfp.connection import connect, installation
from sluice.kfp.submit import user_namespace
from sluice.kube.client import Kube, KubeFault

_STYLES = {"ok": "green", "note": "yellow", "fault": "red"}


def doctor(args: argparse.Namespace) -> int:
    """Exit 0 when nothing is at fault, 2 otherwise."""
    here = look(local.looks(Home(args.home)))
    there = [] if args.local else look_at_cluster(args)
    found = [*here, *there]
    wrong = [f for f in found if f.state == "fault"]
    if args.json:
        show_json(
            {
                "outcome": "fault" if wrong else "ok",
                "faults": len(wrong),
                "machine": [f.to_dict() for f in here],
                "cluster": [f.to_dict() for f in there],
            }
        )
    else:
        _show("this machine", here)
        _show("cluster", there)
        print(
            f"{len(wrong)} fault{'s' * (len(wrong) != 1)}, {sum(f.state == 'note' for f in found)} notes"
            if wrong
            else "nothing is at fault"
        )
    return 2 if wrong else 0


def look_at_cluster(args: argparse.Namespace) -> list[Finding]:
    """Every look at the cluster that the arguments name; one line where there is none."""
    environment = site.environment_of(args.environment)
    try:
        kube = Kube(args.context, read=args.timeout)
    except MissingExtra as e:
        return [note("cluster", e.message, e.fix or "")]
    except KubeFault as e:
        return [note("cluster", e.message.replace("\n", " "), e.fix or "")]
    first = look([Look("cluster", lambda: cluster.version(kube), args.timeout)])
    if first[0].state == "fault":
        return [
            dataclasses.replace(first[0], fix=first[0].fix or "kubectl cluster-info; is the cluster up, and this the context you mean?")
        ]
    place, why = _place(args, kube, environment)

    def api() -> Api:
        return Api(
            connect(args.endpoint, namespace=args.namespace, token_file=args.token_file, context=args.context),
            timeout=args.timeout,
            tries=1,
        )

    if place.site is None and not why and kube.get(f"/api/v1/namespaces/{environment}") is None:
        bare = fault(
            "environment",
            f"there is no namespace {environment}: Sluice is not installed here, or elsewhere",
            "make kind-up, kubectl apply -k manifests/overlays/OVERLAY, or helm install; or name its namespace: --environment NS",
        )
        here = [k for k in _looks(args, place, why, api) if k.check in ("resources", "gateway", "Kubeflow Pipelines")]
        return [*first, bare, *look(here)]
    return [*first, *look(_looks(args, place, why, api))]


def _place(args: argparse.Namespace, kube: Kube, environment: str) -> tuple[Place, str]:
    """What is asked of, and why its configuration could not be read; "" where it could, or is not there."""
    said, why = None, ""
    try:
        said = site.read(kube, environment)
    except ProjectError as e:
        why = f"{e.field}: {e.message}"
    except SluiceError as e:
        why = e.message
    installed = installation()
    default = "default-editor" if args.namespace and args.namespace != installed else "pipeline-runner"
    account = str((said.cluster if said else {}).get("service_account") or default)
    return Place(kube, environment, args.namespace or installed, installed, account, said), why


def _looks(args: argparse.Namespace, place: Place, why: str, api: Callable[[], Api]) -> list[Look]:
    """Every look at an environment, those of its pods where they are wanted."""
    seconds = args.timeout
    looks = [
        Look("resources", lambda: cluster.served(place), seconds),
        Look("configuration", lambda: cluster.configuration(place, why), seconds),
        Look("your rights", lambda: rights.rights_of_person(place), seconds),
        Look("rights of steps", lambda: rights.rights_of_steps(place), seconds),
        Look("rights of the controller", lambda: rights.rights_of_controller(place), seconds),
        Look("deployments", lambda: cluster.deployments(place), seconds),
        Look("serving", lambda: cluster.runtime(place), seconds),
        Look("gateway", lambda: cluster.gateway(place), seconds),
        Look("Prometheus", lambda: cluster.prometheus(place), seconds),
        Look("Kubeflow Pipelines", lambda: cluster.pipelines(place, api, user_namespace), seconds),
        Look("policies", lambda: cluster.policies(place), seconds),
        Look("store's keys", lambda: store_keys.store_keys(place), seconds),
    ]
    if not args.no_pods and place.site is not None:
        # a pod has to be scheduled, and to start Python, before it asks anything
        looks += [
            Look("from steps", lambda: probes.from_steps(place, args.pod_timeout), args.pod_timeout + seconds),
            Look("from model servers", lambda: probes.from_servers(place, args.pod_timeout), args.pod_timeout + seconds),
        ]
    return looks


def _show(title: str, found: Sequence[Finding]) -> None:
    if not found:
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(title, style="bold"))
    for f in found:
        console.print(Text.assemble("  ", (f"{f.state:<6}", _STYLES[f.state]), f"{f.check:<26}{f.said}"))
        if f.fix:
            console.print(Text(f"{'':34}{f.fix}", style="cyan" if f.state == "fault" else "dim"))
