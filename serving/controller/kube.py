"""How the controller asks Kubernetes: the one client, tried again in a moment, under its own name."""

from __future__ import annotations

from typing import Any

from sluice.kube.client import Kube
from sluice.kube.objects import Objects

#: Of the fields the controller applies, and of its events.
MANAGER = "sluice-rollout"
_PAUSES = (0.2, 0.6)


def connect(client: Any = None) -> Objects:
    """The cluster of this pod or of the kubeconfig; `client`: in place of the official ``ApiClient``.

    Raises:
        KubeFault: no cluster is configured.
    """
    return Objects(Kube(client=client, pauses=_PAUSES), manager=MANAGER)
