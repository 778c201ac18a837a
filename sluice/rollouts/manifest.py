"""The ``ModelRollout`` that a project's package asks for, and the environment it is asked of.

It is named after the project. The first hand-over makes it; later ones change the model, and of strategy and analysis what the project
file says: routes, gateway and predictor stay as the platform set them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluice.core.errors import ProjectError
from sluice.kfp.site import NAMESPACE_ENV
from sluice.kube.objects import GROUP, VERSION
from sluice.rollouts.spec import RolloutSpec

#: Environment of a step beside the namespace models are served in: the gateway (``[namespace/]name``), and its domain.
GATEWAY_ENV, DOMAIN_ENV = "SLUICE_GATEWAY", "SLUICE_DOMAIN"

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
_ANALYSIS = ("alpha", "latency_slo_ms", "errors", "error_ceiling", "slow", "wrong", "shift")
_MAY_BE_OFF = ("slow", "wrong", "shift")


@dataclass(frozen=True)
class Target:
    """Where models of an environment are served.

    Attributes:
        namespace: of the environment. gateway: ``[namespace/]name``. domain: a model answers at ``<name>.<domain>``.
    """

    namespace: str
    gateway: str = "kserve/kserve-ingress-gateway"
    domain: str = "example.com"


def target(environ: Mapping[str, str] | None = None) -> Target | None:
    """The environment a step hands its models to; None where ``SLUICE_NAMESPACE`` is not set: the rollout is then done here."""
    env = os.environ if environ is None else environ
    if not env.get(NAMESPACE_ENV):
        return None
    given = {"gateway": env.get(GATEWAY_ENV), "domain": env.get(DOMAIN_ENV)}
    return Target(env[NAMESPACE_ENV], **{k: v for k, v in given.items() if v})


def plan_of(plan: RolloutSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """``(spec.strategy, spec.analysis)`` of what the project file sets; the controller's own defaults hold for the rest."""
    said = plan.model_dump(mode="json", include=plan.model_fields_set, exclude_unset=True)
    strategy = {_camel(k): said[k] for k in _STRATEGY if k in said}
    if "strategy" in said:
        strategy["kind"] = {"canary": "Canary", "ab": "AB"}[said["strategy"]]
    if "on_deadline" in said:
        strategy["onDeadline"] = said["on_deadline"].capitalize()
    analysis = {_camel(k): said[k] for k in _ANALYSIS if k in said}
    for name in _MAY_BE_OFF:
        if name in analysis:
            analysis[name] = {"off": True} if analysis[name] is None else {**analysis[name], "off": False}
    return strategy, analysis


def manifest(name: str, digest: str, uri: str, plan: RolloutSpec, where: Target, signature: str = "") -> dict[str, Any]:
    """The ``ModelRollout`` of a project's first model.

    Args:
        signature: of the package, as it lies beside it; empty for none.

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
        "model": {"args": ["--digest=$(DIGEST)", "--name=$(NAME)"]},
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


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
