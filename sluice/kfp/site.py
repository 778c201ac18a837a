"""`sluice-cluster`: the ConfigMap by which a cluster says how steps reach things there, and what a project's own `cluster:` makes of it."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

from sluice.core import yamlfile
from sluice.core.errors import MissingExtra, ProjectError
from sluice.core.gate import REPORT
from sluice.kfp.config import ClusterConfig, merge
from sluice.kfp.connection import UI_VARIABLE
from sluice.kube.client import Kube, KubeFault
from sluice.steps.step import NAMES

#: Its name, and the namespace Sluice is installed in unless told otherwise.
NAME, ENVIRONMENT = "sluice-cluster", "sluice"
#: Variables of a step: where models are served, where packages are kept, where the registry is.
NAMESPACE_ENV, STORE_ENV, TRACKING_ENV = "SLUICE_NAMESPACE", "SLUICE_STORE", "MLFLOW_TRACKING_URI"
#: Of a step's pod: the environment it works for, of several that share a namespace of runs.
ENVIRONMENT_LABEL = "sluice.dev/environment"
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
#: Keys that are no environment variables of the steps.
KEYS = ("image", "pipeline", "ui", "cluster")


@dataclasses.dataclass(frozen=True)
class Site:
    """What a cluster says of itself.

    Attributes:
        namespace: where Sluice is installed: models are served there.
        image: of the steps. pipeline: the name of the training pipeline for every project. ui: Kubeflow Pipelines' page, as people reach it.
            Each is empty where the cluster says nothing.
        cluster: a project's ``cluster:`` section, as written: the defaults of every project here.
    """

    namespace: str
    image: str = ""
    pipeline: str = ""
    ui: str = ""
    cluster: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def parse(cls, namespace: str, data: Mapping[str, str]) -> Site:
        """Read the ConfigMap's `data`: capitals are environment variables of every step, ``cluster`` is the rest of the section as YAML.

        Raises:
            ProjectError: a key is neither, or the section is wrong.
        """
        where = f"ConfigMap {namespace}/{NAME}"
        for key in data:
            if key not in KEYS and not _VARIABLE.fullmatch(key):
                raise ProjectError(
                    "is neither a variable of the steps (capitals) nor one of " + ", ".join(KEYS),
                    field=f"{where}: {key}",
                    fix=f"kubectl -n {namespace} edit configmap {NAME}",
                )
        raw = yamlfile.load(data.get("cluster") or "{}", f"{where}: cluster")
        if not isinstance(raw, dict):
            raise ProjectError("is no mapping", field=f"{where}: cluster", value=raw, fix="write it as a project's `cluster:` section")
        defaults = dict(raw.get("defaults") or {})
        defaults["env"] = {k: v for k, v in data.items() if _VARIABLE.fullmatch(k) and v} | dict(defaults.get("env") or {})
        raw = {**raw, "defaults": defaults}
        _section(raw, f"{where}: cluster")
        image, pipeline, ui = (str(data.get(k) or "").strip() for k in KEYS[:3])
        return cls(namespace, image, pipeline, ui, raw)

    def under(self, project: ClusterConfig) -> ClusterConfig:
        """The project's section over this one: key by key; of secrets and volumes the project's stand beside the cluster's.

        A variable the project sets, by value or from a Secret, is its own: the cluster's Secrets do not set it again.
        """
        mine, theirs = project.model_dump(exclude_unset=True), self.cluster
        plain = {k: v for k, v in {**theirs, **{k: v for k, v in mine.items() if v is not None}}.items() if k not in ("defaults", "steps")}
        named = [s for s in (*NAMES, REPORT) if s in (theirs.get("steps") or {}) or s in (mine.get("steps") or {})]
        steps = {s: _beside(_whole(theirs, s), _whole(mine, s)) for s in named}
        if self.ui:  # the report links to the run's page
            report = steps.setdefault(REPORT, {})
            report["env"] = {UI_VARIABLE: self.ui} | dict(report.get("env") or {})
        return _section({**plain, "defaults": _beside(theirs.get("defaults") or {}, mine.get("defaults") or {}), "steps": steps}, "cluster")


def _section(raw: Mapping[str, Any], where: str) -> ClusterConfig:
    from pydantic import ValidationError

    try:
        return ClusterConfig.model_validate(raw)
    except ValidationError as e:
        first = e.errors()[0]
        raise ProjectError(
            str(first["msg"]).removeprefix("Value error, "),
            field=".".join([where, *map(str, first["loc"])]),
            value=first.get("input"),
            fix="`sluice schema` prints what the section may hold",
        ) from e


def _whole(section: Mapping[str, Any], step: str) -> dict[str, Any]:
    """All that one section says of a step; of the report, which has little of the defaults, what is said of it alone."""
    return merge({} if step == REPORT else section.get("defaults") or {}, (section.get("steps") or {}).get(step) or {})


def _beside(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A step's settings as the project says them over those of the cluster."""
    made = merge(dict(base), dict(over))
    for key, name in (("secrets", "name"), ("volumes", "mount")):
        taken = {v[name] for v in over.get(key) or []}
        made[key] = [*(v for v in base.get(key) or [] if v[name] not in taken), *(over.get(key) or [])]
    pulls = [*(base.get("image_pull_secrets") or []), *(over.get("image_pull_secrets") or [])]
    made["image_pull_secrets"] = list(dict.fromkeys(pulls))
    given = dict(over.get("env") or {})
    secret = {v for s in over.get("secrets") or [] for v in (s.get("env") or {}).values()}
    made["env"] = {k: v for k, v in (made.get("env") or {}).items() if k in given or k not in secret}
    mine = over.get("secrets") or []
    kept = [s if s in mine else _without(s, {*given, *secret}) for s in made["secrets"]]
    made["secrets"] = [s for s in kept if s]
    return {k: v for k, v in made.items() if v not in ([], {})}


def _without(secret: Mapping[str, Any], variables: set[str]) -> dict[str, Any] | None:
    """A Secret without what is set otherwise; None when nothing is left of it."""
    if not secret.get("env"):
        return dict(secret)
    env = {k: v for k, v in secret["env"].items() if v not in variables}
    return {**secret, "env": env} if env else None


@dataclasses.dataclass(frozen=True)
class Told:
    """What could be learnt of the cluster.

    Attributes:
        site: null where it says nothing. why: then the reason, in words. kube: the way to ask more; null where there is none.
    """

    site: Site | None = None
    why: str = ""
    kube: Kube | None = None


def environment_of(named: str | None = None) -> str:
    """The namespace Sluice is installed in: as given, ``$SLUICE_NAMESPACE``, or ``sluice``."""
    return named or os.environ.get(NAMESPACE_ENV) or ENVIRONMENT


def read(kube: Kube, namespace: str) -> Site | None:
    """The ConfigMap of a namespace, None where there is none.

    Raises:
        KubeFault: refused, or no answer. ProjectError: it is wrong.
    """
    found = kube.get(f"/api/v1/namespaces/{namespace}/configmaps/{NAME}")
    return Site.parse(namespace, found.get("data") or {}) if found else None


def ask(environment: str | None = None, *, context: str | None = None, offline: bool = False) -> Told:
    """What the cluster at hand says, where there is one: nobody needs one to compile.

    Raises:
        ProjectError: its ConfigMap is wrong.
    """
    if offline:
        return Told(why="--offline: no cluster was asked")
    namespace = environment_of(environment)
    try:
        kube = Kube(context, read=5)
        found = read(kube, namespace)
    except MissingExtra as e:
        return Told(why=e.message)
    except KubeFault as e:
        return Told(why=e.message.replace("\n", " "))
    if found is None:
        return Told(
            None, f"there is no ConfigMap {NAME} in namespace {namespace} (context {kube.context}); name Sluice's: --environment NS", kube
        )
    return Told(found, "", kube)
