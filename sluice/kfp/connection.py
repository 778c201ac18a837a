"""Where Kubeflow Pipelines' API is, and how to be let in: a URL, the pod's own cluster, or a kubeconfig."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from sluice.core.errors import MissingExtra, ProjectError
from sluice.kube.client import ACCOUNT, KubeFault, own_namespace, settings_of

ENDPOINT_VARIABLE, TOKEN_VARIABLE, UI_VARIABLE = "KF_PIPELINES_ENDPOINT", "KF_PIPELINES_TOKEN", "KF_PIPELINES_UI_ENDPOINT"
#: A service account's token for the API, where the pod mounts one; the variable is KFP's own.
TOKEN_PATH_VARIABLE, TOKEN_PATH = "KF_PIPELINES_SA_TOKEN_PATH", "/var/run/secrets/kubeflow/pipelines/token"
#: The namespace the API is installed in, for the roads that look for it: `kubeflow` unless this variable names another.
INSTALLATION_VARIABLE = "SLUICE_KFP_NAMESPACE"
#: What stands in place of a link that would not open.
NO_PAGE = (
    f"set {UI_VARIABLE} to the dashboard's address for a link (kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80 makes it "
    "http://localhost:8080)"
)


def installation() -> str:
    """The namespace Kubeflow Pipelines is installed in: where runs' pods are, unless it has many users."""
    return os.environ.get(INSTALLATION_VARIABLE) or "kubeflow"


@dataclasses.dataclass(frozen=True)
class Connection:
    """Everything a request needs.

    Attributes:
        url: the API's root, without a slash at the end.
        namespace: the user's namespace where the installation has many users; null: not given.
        token: gives the bearer token anew for each request, because mounted ones are renewed; null: none.
        ca, cert, key: files for TLS: who to trust, and who we are.
        verify: whether the endpoint must show a certificate that is trusted; only a kubeconfig can say no.
        ui: the dashboard's root, for links; null: nobody named it.
        how: in words, for errors.
    """

    url: str
    namespace: str | None = None
    token: Callable[[], str | None] = dataclasses.field(default=lambda: None, repr=False)
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True
    ui: str | None = None
    how: str = "--endpoint"


def connect(
    endpoint: str | None = None,
    *,
    namespace: str | None = None,
    token: str | None = None,
    token_file: str | Path | None = None,
    context: str | None = None,
    ca: str | None = None,
) -> Connection:
    """Find the endpoint.

    Args:
        endpoint: a URL, ``in-cluster`` or ``kubeconfig``; default ``$KF_PIPELINES_ENDPOINT``, else the pod's
            own cluster where this is a pod, else the kubeconfig.
        namespace: the user's namespace in a multi-user installation; a single-user one ignores it.
        token, token_file: a bearer token, or the file it is in; default ``$KF_PIPELINES_TOKEN``.
        context: a kubeconfig's context; default its current one.
        ca: a file of certificates to trust, in place of the system's.

    Raises:
        ProjectError: not a URL, an unreadable token file. MissingExtra: no Kubernetes client for a kubeconfig.
    """
    wanted = endpoint or os.environ.get(ENDPOINT_VARIABLE)
    if not wanted:
        wanted = "in-cluster" if (ACCOUNT / "token").exists() else "kubeconfig"
    bearer = _token(token, token_file)
    ui = os.environ.get(UI_VARIABLE)
    if wanted == "in-cluster":
        mounted = Path(os.environ.get(TOKEN_PATH_VARIABLE, TOKEN_PATH))
        if token is None and token_file is None and mounted.exists():
            bearer = lambda: read_token(mounted)  # noqa: E731
        return Connection(
            f"http://ml-pipeline.{installation()}.svc:8888", namespace or own_namespace(), bearer, ca, ui=ui, how="in-cluster"
        )
    if wanted == "kubeconfig":
        return _from_kubeconfig(namespace, context, bearer, ui)
    parts = urlsplit(wanted)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ProjectError(
            "is no URL of an endpoint", field="--endpoint", value=wanted, fix="http(s)://HOST[:PORT][/PATH], in-cluster, or kubeconfig"
        )
    if parts.username or parts.password:
        raise ProjectError(
            "carries a password", field="--endpoint", value=f"{parts.scheme}://...@{parts.hostname}", fix="--token-file, or a port-forward"
        )
    try:
        _ = parts.port
    except ValueError as e:
        raise ProjectError("has no valid port", field="--endpoint", value=wanted, fix="a number up to 65535") from e
    return Connection(wanted.rstrip("/"), namespace, bearer, ca, ui=ui, how=f"--endpoint {wanted}")


def _token(token: str | None, token_file: str | Path | None) -> Callable[[], str | None]:
    if token and token_file:
        raise ProjectError("both were given", field="token, token_file", fix="give one")
    if token_file:
        path = Path(token_file)
        read_token(path)
        return lambda: read_token(path)
    found = token or os.environ.get(TOKEN_VARIABLE)
    if found is not None and (not found.strip() or not found.strip().isascii() or any(c.isspace() for c in found.strip())):
        raise ProjectError(
            "is no bearer token: empty, or with spaces or other signs in it", field="token", fix="paste it whole, or name its file"
        )
    return lambda: found.strip() if found else None


def read_token(path: Path, field: str = "--token-file") -> str:
    """The bearer token in a file; `field` is the setting that named it. Raises `ProjectError`."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as e:
        what = e.strerror if isinstance(e, OSError) else "is no text"
        raise ProjectError(
            f"the token cannot be read: {what}", field=field, value=str(path), fix="name a file that holds the token alone"
        ) from e
    if not text or any(c.isspace() for c in text):
        raise ProjectError("holds no token, or more than one", field=field, value=str(path), fix="name a file that holds the token alone")
    return text


def _from_kubeconfig(namespace: str | None, context: str | None, bearer: Callable[[], str | None], ui: str | None) -> Connection:
    """Through the Kubernetes API server's proxy to the service: no port-forward is needed."""
    try:
        settings, _ = settings_of(context, pod=False)
    except MissingExtra as e:
        raise MissingExtra("a kubeconfig needs the Kubernetes client", field="kubernetes", fix=f"{e.fix}, or give --endpoint URL") from None
    except KubeFault as e:
        raise ProjectError(
            f"no endpoint was given, and no kubeconfig can be used: {e.message.removeprefix('no cluster is configured: ')}",
            field="--endpoint",
            fix=f"--endpoint URL, {ENDPOINT_VARIABLE}, or KUBECONFIG",
        ) from e

    def identity() -> str | None:
        given = settings.get_api_key_with_prefix("authorization") or settings.get_api_key_with_prefix("BearerToken")
        return str(given).removeprefix("Bearer ") if given else bearer()

    url = f"{settings.host.rstrip('/')}/api/v1/namespaces/{installation()}/services/ml-pipeline:8888/proxy"
    return Connection(
        url,
        namespace,
        identity,
        settings.ssl_ca_cert,
        settings.cert_file,
        settings.key_file,
        bool(settings.verify_ssl),
        ui,
        how=f"kubeconfig, context {context or 'current'}",
    )
