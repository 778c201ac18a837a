"""The keys of the store: of steps, in the namespace of the runs; of model servers, in the environment, bound to their account."""

from __future__ import annotations

from collections.abc import Mapping

from sluice.doctor.finding import Finding, fault, note, ok
from sluice.doctor.place import APPLY, Place
from sluice.kfp import site
from sluice.kube.client import KubeFault
from sluice.steps.step import NAMES


def store_keys(place: Place) -> list[Finding]:
    """Secrets of the store, or its claim: what lacks, or that nothing does."""
    if place.site is None:
        return []
    env, found = place.step().env, _keys_of_steps(place)
    if env.get(site.STORE_ENV, "").startswith("pvc:"):
        claim = env[site.STORE_ENV].removeprefix("pvc://").partition("/")[0]
        found += _claim(place, claim)
        return found or [ok("store's claim", f"{claim} in {place.environment} and {place.runs}")]
    more, bound = _keys_of_servers(place, env)
    return [*found, *more] or [ok("store's keys", f"for steps in {place.runs}, for model servers {', '.join(bound)}")]


def _keys_of_steps(place: Place) -> list[Finding]:
    found = []
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
    return found


def _claim(place: Place, claim: str) -> list[Finding]:
    found = []
    for space in dict.fromkeys((place.environment, place.runs)):
        if place.kube.get(place.namespaced(f"persistentvolumeclaims/{claim}", space)) is None:
            found.append(
                fault(
                    "store's claim",
                    f"there is no PersistentVolumeClaim {claim} in namespace {space}",
                    "kubectl apply --server-side -k manifests/runs/claim, with manifests/components/volume in the overlay (chart: store.volume)",
                )
            )
    return found


def _keys_of_servers(place: Place, env: Mapping[str, str]) -> tuple[list[Finding], list[str]]:
    """What lacks for model servers; the Secrets that their account names."""
    found: list[Finding] = []
    account = place.kube.get(place.namespaced("serviceaccounts/sluice-predictor"))
    bound = [s["name"] for s in (account or {}).get("secrets") or []]
    if account is None:
        return [fault("store's keys", f"there is no service account sluice-predictor in namespace {place.environment}", APPLY)], bound
    own = bool(env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL"))
    if not bound:
        said = "service account sluice-predictor names no Secret: model servers fetch packages with the cloud's identity, or not at all"
        bind = f'kubectl -n {place.environment} patch serviceaccount sluice-predictor --type merge -p \'{{"secrets": [{{"name": "sluice-store"}}]}}\''
        return [(fault if own else note)("store's keys", said, bind)], bound
    for name in bound:
        try:
            obj = place.kube.get(place.namespaced(f"secrets/{name}"))
        except KubeFault as e:
            if e.status == 403:
                return [*found, note("store's keys", f"you may not look up Secret {place.environment}/{name}")], bound
            raise
        if obj is None:
            found.append(
                fault(
                    "store's keys",
                    f"there is no Secret {name} in namespace {place.environment}, which model servers fetch with",
                    _copy_of_keys(place),
                )
            )
        elif own and "serving.kserve.io/s3-endpoint" not in (obj["metadata"].get("annotations") or {}):
            found.append(
                fault(
                    "store's keys",
                    f"Secret {place.environment}/{name} does not say where the store is: KServe would ask AWS",
                    f"kubectl -n {place.environment} annotate secret {name} serving.kserve.io/s3-endpoint=HOST:PORT serving.kserve.io/s3-usehttps=0",
                )
            )
    return found, bound


def _copy_of_keys(place: Place) -> str:
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
