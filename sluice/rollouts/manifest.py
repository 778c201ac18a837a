"""The ``ModelRollout`` that a project's package asks for, and the environment it is asked of.

It is named after the project. The first hand-over makes it; later ones change the model, and of strategy and analysis what the project
file says: routes, gateway and predictor stay as the platform set them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice.core.errors import ProjectError
from sluice.kfp.site import NAMESPACE_ENV
from sluice.kube.objects import GROUP, VERSION
from sluice.rollouts.spec import RolloutSpec

#: Environment of a step beside the namespace models are served in: the gateway (``[namespace/]name``), and its domain.
GATEWAY_ENV, DOMAIN_ENV = "SLUICE_GATEWAY", "SLUICE_DOMAIN"
#: Where model servers write predictions (``s3://bucket/prefix``), the Secret with the keys of that store, and whether every model is watched.
LOG_ENV, LOG_SECRET_ENV, WATCH_ENV = "SLUICE_LOG", "SLUICE_LOG_SECRET", "SLUICE_MONITOR"
#: What else a server needs to reach that store, as steps have it.
_STORE = ("AWS_ENDPOINT_URL_S3", "AWS_REGION")
_LOG = re.compile(r"s3://[a-z0-9.-]+(/.*)?")

_NAME_LIMIT = 40
_STRATEGY = (
    "steps",
    "shadow",
    "minimum_requests",
    "settle_seconds",
    "step_deadline_seconds",
    "ready_seconds",
    "warmup_seconds",
    "verify_seconds",
    "keep_seconds",
    "hold_back",
    "unready_seconds",
    "restarts",
    "trouble_seconds",
)
_ANALYSIS = ("alpha", "latency_slo_ms", "errors", "error_ceiling", "slow", "wrong", "shift", "cost")
_MAY_BE_OFF = ("slow", "wrong", "shift", "cost")


@dataclass(frozen=True)
class Target:
    """Where models of an environment are served.

    Attributes:
        namespace: of the environment. gateway: ``[namespace/]name``. domain: a model answers at ``<name>.<domain>``.
        log: where predictions are logged, empty where that is not said. log_secret: with the store's keys. log_env: of the servers, for it.
        watch_all: models whose project says nothing of it are watched too.
    """

    namespace: str
    gateway: str = "kserve/kserve-ingress-gateway"
    domain: str = "example.com"
    log: str = ""
    log_secret: str = "sluice-store"
    log_env: Mapping[str, str] = field(default_factory=dict)
    watch_all: bool = False


def target(environ: Mapping[str, str] | None = None) -> Target | None:
    """The environment a step hands its models to; None where ``SLUICE_NAMESPACE`` is not set: the rollout is then done here.

    Raises:
        ProjectError: ``SLUICE_LOG`` or ``SLUICE_MONITOR`` is nothing that can be.
    """
    env = os.environ if environ is None else environ
    if not env.get(NAMESPACE_ENV):
        return None
    given: dict[str, Any] = {"gateway": env.get(GATEWAY_ENV), "domain": env.get(DOMAIN_ENV), "log_secret": env.get(LOG_SECRET_ENV)}
    if log := env.get(LOG_ENV, "").rstrip("/"):
        given |= {"log": _checked(log), "log_env": {k: env[k] for k in _STORE if env.get(k)}, "watch_all": _truth(env.get(WATCH_ENV, ""))}
    return Target(env[NAMESPACE_ENV], **{k: v for k, v in given.items() if v})


def _checked(log: str) -> str:
    if not _LOG.fullmatch(log):
        fix = "name a bucket, s3://bucket/prefix, in the ConfigMap sluice-cluster"
        raise ProjectError("is no place where model servers write a log that a ModelMonitor reads", field=LOG_ENV, value=log, fix=fix)
    return log


def _truth(value: str) -> bool:
    if value.lower() not in ("", "true", "false"):
        raise ProjectError("is neither true nor false", field=WATCH_ENV, value=value, fix="set it so in the ConfigMap sluice-cluster")
    return value.lower() == "true"


def plan_of(plan: RolloutSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """``(spec.strategy, spec.analysis)`` of what the project file sets; the controller's own defaults hold for the rest."""
    said = plan.model_dump(mode="json", include=plan.model_fields_set, exclude_unset=True)
    strategy = {camel(k): said[k] for k in _STRATEGY if k in said}
    if "strategy" in said:
        strategy["kind"] = {"canary": "Canary", "ab": "AB"}[said["strategy"]]
    if "on_deadline" in said:
        strategy["onDeadline"] = said["on_deadline"].capitalize()
    analysis = {camel(k): said[k] for k in _ANALYSIS if k in said}
    for name in _MAY_BE_OFF:
        if name in analysis:
            analysis[name] = {"off": True} if analysis[name] is None else {**analysis[name], "off": False}
    return strategy, analysis


def manifest(
    name: str, digest: str, uri: str, plan: RolloutSpec, where: Target, signature: str = "", *, logged: bool = False
) -> dict[str, Any]:
    """The ``ModelRollout`` of a project's first model.

    Args:
        signature: of the package, as it lies beside it; empty for none. logged: its servers write predictions to `where.log`.

    Raises:
        ProjectError: the name is too long, the package lies where KServe cannot fetch it, or `plan` needs what only a person can write.
    """
    if len(name) > _NAME_LIMIT:
        raise ProjectError(
            f"has more than the {_NAME_LIMIT} characters a rollout's name may have on a cluster",
            field="name",
            value=name,
            fix="choose a shorter one",
        )
    if plan.business is not None:
        raise ProjectError(
            "needs users who stay with a model, which a project file has no place for",
            field="rollout.business",
            fix=f"apply a ModelRollout {name} with spec.traffic.sticky and spec.analysis.business once; runs then change its model",
        )
    strategy, analysis = plan_of(plan)
    space, _, gateway = where.gateway.rpartition("/")
    restricted = {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    predictor = {
        "minReplicas": 1,
        "serviceAccountName": "sluice-predictor",
        "automountServiceAccountToken": False,
        "priorityClassName": "sluice-serving",
        "securityContext": restricted,
        "model": _container(where if logged else None),
    }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "ModelRollout",
        "metadata": {"name": name, "namespace": where.namespace, "labels": {"app.kubernetes.io/part-of": "sluice"}},
        "spec": {
            "model": model(name, digest, uri, signature),
            "strategy": strategy,
            "analysis": analysis,
            "dryRun": plan.dry_run,
            "traffic": {
                "backend": "Gateway",
                "gateway": {"name": gateway} | ({"namespace": space} if space else {}),
                "hostname": f"{name}.{where.domain}",
            },
            "serving": {"predictor": predictor},
        },
    }


def _container(where: Target | None) -> dict[str, Any]:
    """``serving.predictor.model``; with a target, of servers that write a log there."""
    args = ["--digest=$(DIGEST)", "--name=$(NAME)"]
    if where is None:
        return {"args": args}
    return {
        "args": [*args, f"--log={where.log}"],
        "env": [{"name": k, "value": v} for k, v in where.log_env.items()],
        "envFrom": [{"secretRef": {"name": where.log_secret, "optional": True}}],
    }


def model(name: str, digest: str, uri: str, signature: str = "") -> dict[str, str]:
    """``spec.model``. Raises `ProjectError` when KServe cannot fetch from `uri`."""
    if uri.partition("://")[0] not in ("s3", "gs", "https", "pvc", "hf", "oci"):
        raise ProjectError(
            "is not an address KServe can fetch a package from",
            field="SLUICE_STORE",
            value=uri,
            fix="give the steps SLUICE_STORE=s3://bucket/prefix",
        )
    return {"name": name, "digest": digest, "uri": uri} | ({"signature": signature} if signature else {})


def camel(name: str) -> str:
    """A setting as a resource spells it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
