"""What moves traffic on a cluster, by the name in `spec.traffic.backend`."""

from __future__ import annotations

from serving.controller.rollouts.backends.base import ClusterBackend
from serving.controller.rollouts.backends.gateway import Gateway
from serving.controller.rollouts.backends.kserve_canary import KServeCanary
from serving.controller.rollouts.backends.serverless import Serverless

BACKENDS: dict[str, type[ClusterBackend]] = {"Gateway": Gateway, "Serverless": Serverless, "KServeCanary": KServeCanary}

__all__ = ["BACKENDS", "ClusterBackend", "Gateway", "KServeCanary", "Serverless"]
