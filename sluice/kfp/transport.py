"""How Kubeflow Pipelines' API is asked: a limit on every wait and every answer, tries, and a typed error for each way it fails."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from sluice.core.errors import MissingExtra, ProjectError
from sluice.kfp.answers import said
from sluice.kfp.connection import Connection
from sluice.kfp.errors import Conflict, EndpointError, EndpointFault, NotFound, Rejected, Unauthorised, Unreachable

#: Of one answer: bytes that are kept, and seconds it may take from its first byte to its last.
_LARGEST, _LONGEST = 64 << 20, 300.0
#: What a proxy says that no backend stands behind.
_AWAY = frozenset({429, 502, 503, 504})


class Transport:
    """One endpoint, over a pool of connections.

    Args:
        connection: where it is and who we are.
        timeout: seconds an answer may take to begin; connecting may take 5 of them at most.
        tries: how often a call that may be repeated is tried, with pauses of 0.5, 1, 2... seconds.

    Raises:
        MissingExtra: urllib3 is not installed.
    """

    def __init__(self, connection: Connection, *, timeout: float, tries: int):
        try:
            import urllib3
        except ImportError:
            raise MissingExtra("an endpoint needs urllib3", field="urllib3", fix="pip install 'sluice-ml[cluster]'") from None
        self.connection, self.tries = connection, tries
        tls: dict[str, Any] = {
            k: v for k, v in (("ca_certs", connection.ca), ("cert_file", connection.cert), ("key_file", connection.key)) if v
        }
        if not connection.verify:
            tls["cert_reqs"] = "CERT_NONE"
        limit = urllib3.Timeout(connect=min(5.0, timeout), read=timeout)
        self._pool = urllib3.PoolManager(timeout=limit, retries=False, maxsize=8, **tls)

    def request(
        self, method: str, path: str, body: bytes | None = None, *, kind: str = "application/json", last: int | None = None, again: bool
    ) -> bytes:
        """One call; the answer's body, or its `last` bytes.

        Args:
            kind: of the body. again: whether it is tried again while the server fails or cannot be reached.

        Raises:
            EndpointError: one of its kinds, by the answer.
        """
        for attempt in range(self.tries if again else 1):
            try:
                return self._once(method, path, body, kind, last)
            except (Unreachable, EndpointFault):
                if not again or attempt == self.tries - 1:
                    raise
                time.sleep(0.5 * 2**attempt)
        raise AssertionError("unreachable: the last try returns or raises")

    def is_page(self) -> bool:
        """Whether the endpoint shows pages too: the dashboard passes on what its API is asked."""
        try:
            url = self.connection.url + "/"
            answer = self._pool.request("GET", url, headers={"accept": "text/html"}, redirect=False, timeout=5.0, preload_content=False)
            answer.close()
        except Exception:
            return False
        # A page to log in at stands before pages, and not before an API alone.
        return 300 <= answer.status < 400 or (answer.status == 200 and "html" in str(answer.headers.get("content-type")))

    def _once(self, method: str, path: str, body: bytes | None, kind: str, last: int | None) -> bytes:
        import urllib3

        url = self.connection.url + path
        headers = self._headers(f"{method} {path.partition('?')[0]}", kind if body is not None else None)
        try:
            answer = self._pool.request(method, url, body=body, headers=headers, redirect=False, preload_content=False)
            try:
                data = _read(answer, last)
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as e:  # OSError: a certificate file that cannot be read, an answer without end
            raise self._unreachable(e) from e
        if answer.status >= 300:
            raise self._refused(f"{method} {path.partition('?')[0]}", answer.status, answer.headers.get("location"), said(data))
        return data

    def _headers(self, what: str, kind: str | None) -> Mapping[str, str]:
        headers = {"Accept": "application/json"} | ({"Content-Type": kind} if kind else {})
        try:
            token = self.connection.token()
        except ProjectError as e:  # a mounted token that is not there (yet)
            raise Unauthorised(e.message, field=what, value=e.value, fix=e.fix) from e
        return headers | ({"Authorization": f"Bearer {token}"} if token else {})

    def _unreachable(self, error: Exception) -> Unreachable:
        reason = getattr(error, "reason", None) or error
        what = re.sub(r"<[^>]*>:? ?", "", str(reason)).strip() or type(reason).__name__
        where = {"field": self.connection.how, "value": self.connection.url}
        if "CERTIFICATE" in what.upper():
            fix = "name the authority's file: Client(ca=...), or SSL_CERT_FILE"
            return Unreachable(f"its certificate cannot be trusted: {what}", fix=fix, **where)
        fix = (
            "is Kubeflow Pipelines up, and is this its API's address? kubectl -n kubeflow get svc ml-pipeline; "
            "inside a cluster, does a NetworkPolicy let this pod reach it?"
        )
        return Unreachable(f"does not answer: {what[:200]}", fix=fix, **where)

    def _refused(self, what: str, status: int, location: str | None, words: str) -> EndpointError:
        """The error for an answer's status; the field is the call where it is at fault, else the endpoint."""
        kind, message, fix = self._kind(status, location, words)
        called = kind in (NotFound, Conflict, Rejected)
        found = kind(message + words, field=what if called else self.connection.how, value=None if called else self.connection.url, fix=fix)
        found.status = status
        return found

    def _kind(self, status: int, location: str | None, words: str) -> tuple[type[EndpointError], str, str]:
        if status in (401, 403) or 300 <= status < 400:
            known = {401: "does not know who asks (401)", 403: "does not let you do this (403)"}
            fix = "a token of an account with that right: --token-file FILE; and your own --namespace"
            if status == 401 and self.connection.token():
                fix = "a token that is valid still, and meant for it: kubectl -n NS create token default-editor --audience pipelines.kubeflow.org"
            return Unauthorised, known.get(status, f"sends elsewhere to log in ({location})"), fix
        if status == 404:
            return NotFound, "has no such thing (404)", "check the id; or the address: the API's root has no /apis at its end"
        if status == 409 or "AlreadyExist" in words or "already exist" in words:
            return Conflict, "has one of that name (409)", "use another name"
        if status in _AWAY:
            return Unreachable, f"does not answer for now ({status})", "try again; `kubectl -n kubeflow get pods` says more"
        if status < 500:
            return Rejected, f"refused the request ({status})", "read its reason; is the endpoint KFP 2.17?"
        return EndpointFault, f"failed ({status})", "try again; `kubectl -n kubeflow logs deploy/ml-pipeline` says more"


def _read(answer: Any, last: int | None) -> bytes:
    """A body, or its last bytes, never more than twice as much in memory. Raises ``OSError`` for one that is too long, or never ends."""
    keep, end, kept = last or _LARGEST, time.monotonic() + _LONGEST, bytearray()
    for piece in answer.stream(1 << 16):
        kept += piece
        if time.monotonic() > end or (last is None and len(kept) > _LARGEST):
            raise OSError(f"an answer of more than {_LARGEST} bytes or {_LONGEST:g} s")
        if len(kept) > 2 * keep:
            del kept[:-keep]
    return bytes(kept if last is None else kept[-keep:])
