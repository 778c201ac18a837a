"""A step's own token for Kubeflow Pipelines' API, where that has many users and asks who calls."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable
from pathlib import Path

from sluice.kfp.errors import Unauthorised
from sluice.kube.client import ACCOUNT, Kube, KubeFault

AUDIENCE = "pipelines.kubeflow.org"
#: Kubernetes mounts an account's token here; it is for Kubernetes' own API alone.
MOUNTED = ACCOUNT / "token"
_SECONDS = 3600


class OwnToken:
    """A token of this pod's service account with the audience of Kubeflow Pipelines, asked of Kubernetes and renewed in time.

    A pod of a pipeline cannot mount such a token: KFP's Kubernetes settings know no projected volumes. It may ask for one where its
    account has the right to (`create` on its own `serviceaccounts/token`).

    Args:
        kube: the cluster; default: the pod's own.
        mounted: the token that says who we are.
        clock: seconds since 1970.
    """

    def __init__(self, kube: Kube | None = None, mounted: Path = MOUNTED, clock: Callable[[], float] = time.time):
        self._kube, self._mounted, self._clock = kube, mounted, clock
        self._token, self._until = "", 0.0

    def __call__(self) -> str:
        """The token. Raises `Unauthorised`: there is no account, or it may not have one."""
        if self._clock() >= self._until:
            self._ask()
        return self._token

    def _ask(self) -> None:
        namespace, name = _who(self._mounted)
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [AUDIENCE], "expirationSeconds": _SECONDS},
        }
        try:
            kube = self._kube or Kube()
            self._token = str(kube.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", body)["status"]["token"])
        except KubeFault as e:
            raise Unauthorised(
                f"has many users, and a token for it was not to be had: {e.message}",
                field=f"service account {namespace}/{name}",
                value=AUDIENCE,
                fix=f"name it in the chart's pipelines.runners; or kubectl -n {namespace} create role sluice-report "
                f"--verb=create --resource=serviceaccounts/token --resource-name={name}, and bind it to it",
            ) from e
        self._until = self._clock() + 0.8 * _SECONDS


def _who(mounted: Path) -> tuple[str, str]:
    """Namespace and name of the account whose token is mounted."""
    try:
        middle = mounted.read_text(encoding="ascii").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))["kubernetes.io"]
        return str(claims["namespace"]), str(claims["serviceaccount"]["name"])
    except (OSError, UnicodeDecodeError, IndexError, binascii.Error, ValueError, KeyError, TypeError) as e:
        raise Unauthorised(
            "has many users, and this pod has no account to show",
            field=str(mounted),
            value=type(e).__name__,
            fix="let the pod mount its service account's token: automountServiceAccountToken",
        ) from e
