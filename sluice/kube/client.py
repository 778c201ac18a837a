"""The Kubernetes API as people and steps ask it: plain dictionaries, a limit on every wait, one typed failure."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluice.core.errors import MissingExtra, SluiceError

Object = dict[str, Any]
#: Seconds to connect, and to wait for an answer.
CONNECT, READ = 3.0, 10.0
_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class KubeFault(SluiceError):
    """The API server refused or did not answer.

    Attributes:
        status: HTTP status; 0 when there was no answer, or no cluster is configured.
    """

    def __init__(self, message: str, status: int, **kwargs: Any):
        super().__init__(message, **kwargs)
        self.status = status


class Kube:
    """The cluster of this pod, or of a kubeconfig's context.

    Args:
        context: a kubeconfig's context; default: the pod's own cluster where this is a pod, else the current one.

    Raises:
        KubeFault: no cluster is configured. MissingExtra: the Kubernetes client is not installed.
    """

    def __init__(self, context: str | None = None, *, connect: float = CONNECT, read: float = READ):
        try:
            from kubernetes import client, config
        except ImportError:
            raise MissingExtra(
                "a cluster needs the Kubernetes client", field="kubernetes", fix="pip install 'sluice-ml[cluster]'"
            ) from None
        settings: Any = client.Configuration()
        settings.retries = False
        file = os.environ.get("KUBECONFIG") or None  # the client's own default is read once, when it is imported
        self._limits, self.context = (connect, read), context
        try:
            if context is None and _TOKEN.exists():
                config.load_incluster_config(client_configuration=settings)
                self.context = "in-cluster"
            else:
                config.load_kube_config(file, context, client_configuration=settings)
                self.context = context or str(config.list_kube_config_contexts(file)[1]["name"])
        except (config.ConfigException, OSError) as e:
            raise KubeFault(
                f"no cluster is configured: {e}", 0, field="kubeconfig", fix="set KUBECONFIG, or name a context: --context NAME"
            ) from e
        self.host = str(settings.host)
        self._client = client.ApiClient(settings)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        read: float | None = None,
    ) -> Any:
        """One call, tried once: the object or list, or the text where the answer is no JSON.

        Args:
            read: seconds to wait for this answer, in place of the client's own.

        Raises:
            KubeFault: refused, or no answer in time.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = self._client.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                auth_settings=["BearerToken"],
                _preload_content=False,
                body=body,
                header_params={"Accept": "application/json, text/plain, */*", "Content-Type": content},
                _request_timeout=(self._limits[0], read or self._limits[1]),
                _return_http_data_only=True,
            )
            data = bytes(answer.data)
        except ApiException as e:
            raise KubeFault(_said(e), int(e.status or 0), field=f"{method} {path}") from e
        except (HTTPError, OSError) as e:
            reason = getattr(e, "reason", None) or e
            raise KubeFault(
                f"the API server does not answer: {str(reason).rpartition('>: ')[2][:200] or type(reason).__name__}",
                0,
                field=self.host,
                fix="kubectl cluster-info; is the cluster up, and this the context you mean?",
            ) from e
        if data[:1] not in (b"{", b"["):
            return data.decode("utf-8", "replace")
        try:
            return json.loads(data)
        except ValueError:
            return data.decode("utf-8", "replace")

    def get(self, path: str) -> Object | None:
        """The object at a path, None when there is none (404)."""
        try:
            found: Object = self.request("GET", path)
            return found
        except KubeFault as e:
            if e.status == 404:
                return None
            raise

    def may(self, verb: str, group: str, resource: str, namespace: str, *, user: str = "", name: str = "") -> tuple[bool, str]:
        """Whether we, or with `user` somebody else (``system:serviceaccount:NS:NAME``), may do something, and the server's reason.

        Raises:
            KubeFault: refused (asking about others is a right of its own), or no answer.
        """
        resource, _, sub = resource.partition("/")
        what = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        what |= {k: v for k, v in (("subresource", sub), ("name", name)) if v}
        kind = "SubjectAccessReview" if user else "SelfSubjectAccessReview"
        spec: Object = {"resourceAttributes": what}
        if user:
            space = user.split(":")[2] if user.count(":") == 3 else ""
            groups = (
                ["system:serviceaccounts", f"system:serviceaccounts:{space}", "system:authenticated"] if space else ["system:authenticated"]
            )
            spec |= {"user": user, "groups": groups}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        status = self.request("POST", f"/apis/authorization.k8s.io/v1/{kind.lower()}s", body)["status"]
        return bool(status.get("allowed")), str(status.get("reason") or status.get("evaluationError") or "")


def _said(e: Any) -> str:
    try:
        return str(json.loads(e.body)["message"])[:500]
    except (ValueError, TypeError, KeyError):
        return " ".join(str(e.reason or e).split())[:500]
