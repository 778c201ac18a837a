"""What the steps of a run on a cluster must be told: a pod's own files go with it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sluice.errors import ProjectError
from sluice.project import Project
from sluice.rollouts.handover import NAMESPACE_ENV, manifest, target

#: Kubeflow Pipelines gives it to every step's pod; runs on this machine do not have it.
POD_ENV = "KFP_POD_NAME"
STORE_ENV, TRACKING_ENV = "SLUICE_STORE", "MLFLOW_TRACKING_URI"


def check(project: Project, environ: Mapping[str, str] | None = None) -> None:
    """Refuse a run whose last steps could not do their work, before its first step has done any.

    Raises:
        ProjectError: on a cluster no registry, object store or namespace is named, or the project cannot be rolled out there.
    """
    env = os.environ if environ is None else environ
    if not env.get(POD_ENV):
        return
    tracking = project.tracking.uri or env.get(TRACKING_ENV, "")
    if not tracking or tracking.startswith("sqlite:"):
        raise ProjectError("names no server: what the steps write down would go with their pods", field=f"cluster.defaults.env.{TRACKING_ENV}",
                           value=tracking or None, fix="http://mlflow.sluice:5000, or where MLflow is; tracking.uri serves as well")  # fmt: skip
    if not env.get(STORE_ENV, "").startswith("s3://"):
        raise ProjectError("names no object store that steps and model servers both reach", field=f"cluster.defaults.env.{STORE_ENV}",
                           value=env.get(STORE_ENV), fix="s3://bucket/prefix")  # fmt: skip
    where = target(env)
    if where is None:
        raise ProjectError("is not set: which environment's controller rolls the model out?", field=f"cluster.defaults.env.{NAMESPACE_ENV}",
                           fix="the namespace Sluice is installed in, for example sluice")  # fmt: skip
    if project.rollout.business is None:
        manifest(project.name, "0" * 64, env[STORE_ENV], project.rollout, where)
