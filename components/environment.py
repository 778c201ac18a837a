"""What the steps of a run on a cluster must be told: a pod's own files go with it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sluice.kfp import needs
from sluice.project import Project

#: Kubeflow Pipelines gives it to every step's pod; runs on this machine do not have it.
POD_ENV = "KFP_POD_NAME"


def check(project: Project, environ: Mapping[str, str] | None = None) -> None:
    """Refuse a run whose last steps could not do their work, before its first step has done any.

    Raises:
        ProjectError: on a cluster no registry, store or namespace is named, or the project cannot be rolled out there; all of it is told.
    """
    env = os.environ if environ is None else environ
    if env.get(POD_ENV):
        needs.require(needs.lacking(project, env))
