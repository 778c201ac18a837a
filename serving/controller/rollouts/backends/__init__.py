"""What moves traffic on a cluster, by the name in `spec.traffic.backend`; imported when a rollout asks for it."""

from __future__ import annotations

from sluice.core.registry import Registry

_HERE = "serving.controller.rollouts.backends"
#: Each is a `ClusterBackend`: made from the objects, the rollout and the source of its counters.
BACKENDS = Registry(
    "backend",
    {
        "Gateway": f"{_HERE}.gateway:Gateway",
        "Serverless": f"{_HERE}.serverless:Serverless",
        "KServeCanary": f"{_HERE}.kserve_canary:KServeCanary",
    },
)
