"""What the steps of a run on a cluster need, checked before anything is started and told all at once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sluice.core.errors import ProjectError, shown
from sluice.kfp.config import ClusterConfig, StepSettings
from sluice.kfp.site import NAME, NAMESPACE_ENV, STORE_ENV, TRACKING_ENV, Told
from sluice.kube import image as images
from sluice.kube.client import KubeFault
from sluice.package.store import MOUNT, MOUNT_ENV
from sluice.project import Project
from sluice.proof.keys import SIGNING_KEY_ENV
from sluice.steps.step import NAMES

IMAGE_VARIABLE = "SLUICE_PIPELINE_IMAGE"
#: Folders a step may write to whatever is mounted.
_WRITABLE = ("/tmp",)
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@dataclasses.dataclass(frozen=True)
class Need:
    """One thing that is missing.

    Attributes:
        field: what it is called. message: what is wrong with it. value: what stands there. fix: the command or line that mends it.
    """

    field: str
    message: str
    fix: str
    value: Any = None

    def __str__(self) -> str:
        got = "" if self.value is None else f" (got {shown(self.value, 120)})"
        return f"{self.field}: {self.message}{got}\n      {self.fix}"


@dataclasses.dataclass(frozen=True)
class Ready:
    """A project as it is compiled for a cluster.

    Attributes:
        project: with the cluster's settings under its own. image: of the steps. told: what the cluster said.
        missing: what was found missing, where that was let pass.
    """

    project: Project
    image: str
    told: Told
    missing: tuple[Need, ...] = ()


def require(missing: Iterable[Need], why: str = "") -> None:
    """Raise `ProjectError` with all of them, each with what mends it; `why`: the reason that no cluster said it."""
    found = list(missing)
    if not found:
        return
    fix = "each of these lines" + (f"; or let the cluster say it by its ConfigMap {NAME}, which could not be asked: {why}" if why else "")
    if len(found) == 1:
        value = {} if found[0].value is None else {"value": found[0].value}
        raise ProjectError(found[0].message, field=found[0].field, fix=found[0].fix + (f"\n  ({why})" if why else ""), **value)
    raise ProjectError(
        f"{len(found)} things that the steps need are missing\n  - " + "\n  - ".join(map(str, found)), field="on the cluster", fix=fix
    )


def prepare(
    project: Project, told: Told, *, image: str | None = None, allow_tag: bool = False, runs: str | None = None, unchecked: bool = False
) -> Ready:
    """A project with the cluster's settings under its own, once nothing is missing that its steps need.

    Args:
        told: what the cluster says, from `site.ask`.
        image: of the steps; default ``$SLUICE_PIPELINE_IMAGE``, else the cluster's own.
        runs: the namespace runs live in; null: not known, and what is in it is not looked up.
        unchecked: let pass what is missing: something else gives it to the steps.

    Raises:
        ProjectError: something is missing; all of it is told.
    """
    site = told.site
    cluster = site.under(project.cluster) if site else project.cluster
    field = "--image" if image else IMAGE_VARIABLE if os.environ.get(IMAGE_VARIABLE) else f"image of {NAME}"
    image = image or os.environ.get(IMAGE_VARIABLE) or (site.image if site else "")
    ready = project.model_copy(update={"cluster": cluster})
    missing = [*_image(image, field, allow_tag), *of_steps(ready, told), *_objects(cluster, told, runs)]
    if missing and not unchecked:
        require(missing, "" if site else told.why)
    return Ready(ready, image, told, tuple(missing))


def _image(image: str, field: str, allow_tag: bool) -> list[Need]:
    if not image:
        return [
            Need(
                "image",
                "no image was given for the steps",
                f"--image REGISTRY/sluice/pipeline@sha256:..., or set {IMAGE_VARIABLE}; `make images` builds it",
            )
        ]
    found = images.fault(image, allow_tag=allow_tag)
    return [Need(field, found[0], found[1], image)] if found else []


def of_steps(project: Project, told: Told) -> list[Need]:
    """What the environment of the project's steps lacks, as compiled: a variable that all lack is told once."""
    lacked: dict[Need, list[str]] = {}
    for step in NAMES:
        settings = project.cluster.of(step)
        secret = {v for s in settings.secrets for v in s.env.values()}
        for need in lacking(
            project, settings.env, secret=secret, mounts=[v.mount for v in settings.volumes], site=told.site.namespace if told.site else ""
        ):
            lacked.setdefault(need, []).append(step)
    found = [
        n if len(steps) == len(NAMES) else dataclasses.replace(n, message=f"{n.message} (steps {', '.join(steps)})")
        for n, steps in lacked.items()
    ]
    return found + _key(project, project.cluster.of("register"))


def _key(project: Project, register: StepSettings) -> list[Need]:
    """A key to sign with, where nothing is registered without a signature."""
    wanted, given = project.provenance, {v for s in register.secrets for v in s.env.values()} | set(register.env)
    mounts = [s.mount for s in register.secrets if s.mount] + [v.mount for v in register.volumes]
    named = wanted.key is not None and any(wanted.key.startswith(m.rstrip("/") + "/") for m in mounts)
    if not wanted.required or named or (SIGNING_KEY_ENV in given and wanted.key is None):
        return []
    return [
        Need(
            "cluster.steps.register.secrets",
            "give the step no key to sign with, and provenance.required wants a signature",
            f"secrets: [{{name: signing-key, env: {{signing.pem: {SIGNING_KEY_ENV}}}}}]   below cluster.steps.register; "
            "kubectl create secret generic signing-key --from-file=signing.pem",
            wanted.key,
        )
    ]


def lacking(
    project: Project, env: Mapping[str, str], *, secret: Collection[str] = (), mounts: Collection[str] | None = None, site: str = ""
) -> list[Need]:
    """What a step with this environment would lack for its work. Pure.

    Args:
        env: variables by value. secret: names of those that come from Secrets.
        mounts: folders of volumes; null: not known, as in the step itself.
        site: the namespace whose ConfigMap could say it for every project; empty: none.
    """
    found: list[Need] = []
    tracking = project.tracking.uri or env.get(TRACKING_ENV, "")
    if (not tracking and TRACKING_ENV not in secret) or tracking.startswith("sqlite:"):
        why = "names no server: what the steps write down would go with their pods"
        found.append(_variable(TRACKING_ENV, why, f"http://mlflow.{site or 'sluice'}:5000", site, tracking))
    if STORE_ENV not in secret:
        found += _store(env, mounts, site)
    found += _keys(env, secret, mounts)
    if NAMESPACE_ENV not in secret and not env.get(NAMESPACE_ENV):
        why = "is not set: which environment's controller rolls the model out?"
        found.append(_variable(NAMESPACE_ENV, why, site or "sluice", site))
    return [*found, *_home(env.get("SLUICE_HOME", ""), mounts), *_rollout(project, env)]


def _variable(name: str, message: str, example: str, site: str, value: str | None = None) -> Need:
    """A variable that is missing, or says what cannot be."""
    fix = f"{name}: {example}   below cluster.defaults.env"
    if site:
        fix += f'; for every project: kubectl -n {site} patch configmap {NAME} --type merge -p \'{{"data": {{"{name}": "{example}"}}}}\''
    return Need(f"cluster.defaults.env.{name}", message, fix, value or None)


def _store(env: Mapping[str, str], mounts: Collection[str] | None, site: str) -> list[Need]:
    """A store that everybody reaches."""
    store, mount = env.get(STORE_ENV, ""), env.get(MOUNT_ENV) or MOUNT
    if store.startswith("s3://"):
        return []
    if not store.startswith("pvc://"):
        return [_variable(STORE_ENV, "names no store that steps and model servers both reach", "s3://bucket/prefix", site, store)]
    if mounts is None or any(mount == m.rstrip("/") for m in mounts):
        return []
    return [
        Need(
            "cluster.defaults.volumes",
            f"none is mounted at {mount}, where the store {store} is looked for",
            f"volumes: [{{claim: {store.removeprefix('pvc://').partition('/')[0]}, mount: {mount}}}]   below cluster.defaults",
        )
    ]


def _keys(env: Mapping[str, str], secret: Collection[str], mounts: Collection[str] | None) -> list[Need]:
    """Keys of a store that is not Amazon's, which knows no pod by its account."""

    def given(name: str) -> bool:
        return name in secret or bool(env.get(name))

    store, lacks = env.get(STORE_ENV, ""), [k for k in _KEYS if not given(k)]
    own = given("AWS_ENDPOINT_URL_S3") or given("AWS_ENDPOINT_URL")
    if mounts is None or not store.startswith("s3://") or not own or not lacks:
        return []
    return [
        Need(
            "cluster.defaults.secrets",
            f"give the steps no {', '.join(lacks)} for the store {store} at {env.get('AWS_ENDPOINT_URL_S3', 'its endpoint')}",
            "secrets: [{name: SECRET, env: {accesskey: AWS_ACCESS_KEY_ID, secretkey: AWS_SECRET_ACCESS_KEY}}]   below cluster.defaults",
        )
    ]


def _home(home: str, mounts: Collection[str] | None) -> list[Need]:
    """A home that can be written to."""
    if mounts is None or not home:
        return []
    if any(home == p.rstrip("/") or home.startswith(p.rstrip("/") + "/") for p in (*_WRITABLE, *mounts)):
        return []
    return [
        Need(
            "cluster.defaults.env.SLUICE_HOME",
            "is on no volume of the step, and its image is read-only",
            "leave it out (it is below /tmp then), or put it below a mount of cluster.defaults.volumes",
            home,
        )
    ]


def _rollout(project: Project, env: Mapping[str, str]) -> list[Need]:
    """What the last step would find wrong with the project itself."""
    from sluice.rollouts.manifest import Target, manifest

    if project.rollout.business is not None:
        return []
    store = env.get(STORE_ENV, "")
    try:
        manifest(
            project.name, "0" * 64, store if store.startswith(("s3://", "pvc://")) else "s3://bucket", project.rollout, Target("sluice")
        )
    except ProjectError as e:
        return [Need(str(e.field), e.message, str(e.fix), e.value)]
    return []


def _objects(cluster: ClusterConfig, told: Told, runs: str | None) -> list[Need]:
    """Secrets, claims and the service account that the steps name and the namespace of the runs does not have.

    What may not be looked up is not missed.
    """
    if told.kube is None or not runs:
        return []
    settings: list[StepSettings] = [cluster.of(step) for step in NAMES]
    secrets = {
        s.name: ", ".join(f"--from-literal={k}=..." for k in s.env) or "--from-file=..."
        for x in settings
        for s in x.secrets
        if not s.optional
    }
    secrets |= {n: "" for x in settings for n in x.image_pull_secrets}
    wanted = [("secrets", "Secret", n, f"kubectl -n {runs} create secret generic {n} {how.replace(',', '')}") for n, how in secrets.items()]
    claims = {v.claim for x in settings for v in x.volumes}
    wanted += [
        ("persistentvolumeclaims", "PersistentVolumeClaim", n, f"a claim {n} in namespace {runs}: kubectl -n {runs} get pvc")
        for n in sorted(claims)
    ]
    if cluster.service_account:
        name = cluster.service_account
        wanted.append(
            ("serviceaccounts", "service account", name, f"kubectl -n {runs} create serviceaccount {name}, and its rights: `sluice doctor`")
        )
    missing = []
    for plural, kind, name, fix in wanted:
        try:
            if told.kube.get(f"/api/v1/namespaces/{runs}/{plural}/{name}") is None:
                missing.append(Need(f"{kind} {runs}/{name}", "is not there", fix))
        except KubeFault as e:
            if e.status not in (401, 403):
                break
    return missing
