"""The Kubernetes API as everything here asks it: plain dictionaries, a limit on every wait and every answer, one typed failure."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sluice.core.errors import MissingExtra, SluiceError
from sluice.core.imports import ONE_AT_A_TIME

Object = dict[str, Any]
#: Seconds to connect, and to wait for an answer.
CONNECT, READ = 3.0, 10.0
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: Statuses that may pass: the server is busy, or away.
PASSING = frozenset({0, 429, 500, 502, 503, 504})
#: Of one answer: a list of thousands of objects is a few tens of megabytes, and takes seconds.
_LARGEST, _LONGEST = 128 << 20, 60.0


class KubeFault(SluiceError):
    """The API server refused or did not answer.

    Attributes:
        status: HTTP status; 0 when there was no answer, or no cluster is configured.
    """

    def __init__(self, message: str, status: int, **kwargs: Any):
        super().__init__(message, **kwargs)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether it may be otherwise in a moment."""
        return self.status in PASSING


def settings_of(context: str | None = None, *, pod: bool = True) -> tuple[Any, str]:
    """Address and credentials: the pod's own cluster where this is a pod, else a kubeconfig's context.

    Args:
        context: a kubeconfig's context, also in a pod; default: its current one.
        pod: whether the pod's own cluster goes before a kubeconfig.

    Returns:
        The official client's ``Configuration``, and the context's name.

    Raises:
        KubeFault: no cluster is configured. MissingExtra: the Kubernetes client is not installed.
    """
    try:
        with ONE_AT_A_TIME:
            from kubernetes import client, config
    except ModuleNotFoundError:
        raise MissingExtra("a cluster needs the Kubernetes client", field="kubernetes", fix="pip install 'sluice-ml[cluster]'") from None
    settings: Any = client.Configuration()
    settings.retries = False
    file = os.environ.get("KUBECONFIG") or None  # the client's own default is read once, when it is imported
    try:
        if pod and context is None and (ACCOUNT / "token").exists():
            config.load_incluster_config(client_configuration=settings)
            return settings, "in-cluster"
        config.load_kube_config(file, context, client_configuration=settings)
        return settings, context or str(config.list_kube_config_contexts(file)[1]["name"])
    except (config.ConfigException, OSError) as e:
        fix = "set KUBECONFIG, or name a context: --context NAME"
        raise KubeFault(f"no cluster is configured: {e}", 0, field="kubeconfig", fix=fix) from e


class Kube:
    """The API server of this pod's cluster, or of a kubeconfig's context.

    Args:
        context: a kubeconfig's context; default: the pod's own cluster where this is a pod, else the current one.
        client: in place of the official ``ApiClient`` that `settings_of` leads to.
        connect, read: seconds to connect, and to wait for an answer.
        pauses: seconds between the tries of a call that may be repeated; none: every call is tried once.

    Raises:
        KubeFault: no cluster is configured. MissingExtra: the Kubernetes client is not installed.
    """

    def __init__(
        self,
        context: str | None = None,
        *,
        client: Any = None,
        connect: float = CONNECT,
        read: float = READ,
        pauses: tuple[float, ...] = (),
    ):
        self.calls = 0
        self.context, self.host = context, ""
        self._limits, self._pauses = (connect, read), pauses
        if client is None:
            settings, self.context = settings_of(context)
            self.host = str(settings.host)
            from kubernetes.client import ApiClient

            client = ApiClient(settings)
        self._client = client

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        read: float | None = None,
        again: bool | None = None,
    ) -> Any:
        """One call: the object or list, or the text where the answer is no JSON.

        Args:
            read: seconds to wait for this answer, in place of the client's own.
            again: whether it may be repeated where the server is busy or away; default: all but ``POST``.

        Raises:
            KubeFault: refused, or no answer in time, after the tries.
        """
        repeat = method != "POST" if again is None else again
        for pause in (*(self._pauses if repeat else ()), None):
            try:
                with self._answer(method, path, body, query, content, read or self._limits[1]) as answer:
                    data = _whole(answer)
                break
            except KubeFault as e:
                if pause is None or not e.passing:
                    raise
                time.sleep(pause)
        if data[:1] not in (b"{", b"["):
            return data.decode("utf-8", "replace")
        try:
            return json.loads(data)
        except ValueError:
            return data.decode("utf-8", "replace")

    def stream(self, path: str, *, query: Mapping[str, str] | None = None, read: float = 300.0) -> Iterator[bytes]:
        """The pieces of an answer that grows, a log that is followed or a watch, as they come.

        Args:
            read: seconds for which nothing may come: then it ends, and who follows further asks again from where it was.

        Raises:
            KubeFault: refused, or broken off.
        """
        from urllib3.exceptions import ReadTimeoutError

        with self._answer("GET", path, None, query, "application/json", read) as answer:
            try:
                while piece := answer.read1(1 << 16):
                    yield piece
            except ReadTimeoutError:
                return
            finally:
                # The rest of a stream is not waited for: its connection cannot serve again.
                answer.close()

    def get(self, path: str) -> Object | None:
        """The object at a path, None when there is none (404). Raises as `request` does."""
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

    @contextlib.contextmanager
    def _answer(self, method: str, path: str, body: Any, query: Mapping[str, str] | None, content: str, read: float) -> Iterator[Any]:
        """An answer whose body is still to be read; whatever fails meanwhile is a `KubeFault`."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        self.calls += 1
        try:
            yield self._client.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                auth_settings=["BearerToken"],
                _preload_content=False,
                body=body,
                header_params={"Accept": "application/json, text/plain, */*", "Content-Type": content},
                _request_timeout=(self._limits[0], read),
                _return_http_data_only=True,
            )
        except ApiException as e:
            raise KubeFault(_said(e), int(e.status or 0), field=f"{method} {path}", value=e.status) from e
        except (HTTPError, OSError) as e:
            reason = getattr(e, "reason", None) or e
            raise KubeFault(
                f"the API server does not answer: {str(reason).rpartition('>: ')[2][:200] or type(reason).__name__}",
                0,
                field=self.host or "kubeconfig",
                value=f"{method} {path}",
                fix="kubectl cluster-info; is the cluster up, and this the context you mean?",
            ) from e


def own_namespace() -> str | None:
    """The namespace of this pod; None outside one."""
    try:
        return (ACCOUNT / "namespace").read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _whole(answer: Any) -> bytes:
    """The body of an answer. Raises ``OSError`` for one that is too long, or never ends: a page may be a pod's, passed through."""
    end, body = time.monotonic() + _LONGEST, bytearray()
    try:
        while piece := answer.read1(1 << 16):
            body += piece
            if len(body) > _LARGEST or time.monotonic() > end:
                raise OSError(f"an answer of more than {_LARGEST} bytes or {_LONGEST:g} s")
    except BaseException:
        answer.close()
        raise
    answer.release_conn()
    return bytes(body)


def _said(e: Any) -> str:
    """The server's own words: of its JSON, else its text, else the status's name."""
    body = e.body.decode("utf-8", "replace") if isinstance(e.body, bytes) else str(e.body or "")
    try:
        return str(json.loads(body)["message"])[:500]
    except (ValueError, TypeError, KeyError):
        return " ".join((body or str(e.reason or e)).split())[:500]
