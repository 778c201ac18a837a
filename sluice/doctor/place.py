"""What is looked at of a cluster: an environment, the runs' namespace, and what the cluster says of itself."""

from __future__ import annotations

import dataclasses

from sluice.kfp.config import ClusterConfig, StepSettings
from sluice.kfp.site import Site
from sluice.kube.client import Kube

#: What brings everything of an environment.
APPLY = "kubectl apply --server-side --force-conflicts -k manifests/overlays/OVERLAY (or helm upgrade)"


@dataclasses.dataclass(frozen=True)
class Place:
    """What is looked at.

    Attributes:
        environment: the namespace Sluice is installed in. runs: the one its runs live in. installation: Kubeflow Pipelines' own.
        account: the service account of the runs. site: what the environment says of itself; null: nothing that can be read.
    """

    kube: Kube
    environment: str
    runs: str
    installation: str
    account: str
    site: Site | None

    def step(self, name: str = "register") -> StepSettings:
        """A step's settings, for a project that says nothing itself."""
        return (self.site.under(ClusterConfig()) if self.site else ClusterConfig()).of(name)

    def namespaced(self, path: str, namespace: str | None = None) -> str:
        """``apps/v1:deployments/x`` as a path of the API, in the environment unless another namespace is named."""
        group, _, rest = path.rpartition(":")
        root = f"/apis/{group}" if group else "/api/v1"
        return f"{root}/namespaces/{namespace or self.environment}/{rest}"
