"""A Kubernetes API on a port of this machine: objects by path, reviews of rights by a rule, and a kubeconfig that leads to it."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Object = dict[str, Any]


class Api:
    """What the server answers from.

    Attributes:
        objects: by path; a value that is a text is answered as text, a number is a status.
        allowed: (user or "", attributes) -> whether a review says yes.
        made: what was POSTed, by path, in order. deleted: paths. after: called with (method, path, body) before the answer.
        route: asked first: (method, path, body) -> (status, answer), or null for the rest. delay: seconds before each answer.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.allowed: Callable[[str, Object], bool] = lambda user, what: True
        self.made: list[tuple[str, Object]] = []
        self.deleted: list[str] = []
        self.after: Callable[[str, str, Any], None] = lambda method, path, body: None
        self.route: Callable[[str, str, Any], tuple[int, Any] | None] = lambda method, path, body: None
        self.delay = 0.0
        self.asked: list[str] = []

    def config_map(self, namespace: str, name: str, **data: str) -> None:
        self.objects[f"/api/v1/namespaces/{namespace}/configmaps/{name}"] = {
            "metadata": {"name": name, "namespace": namespace},
            "data": data,
        }

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        self.after(method, path, body)
        if routed := self.route(method, path, body):
            return routed
        if path.startswith("/apis/authorization.k8s.io/"):
            spec = body["spec"]
            return 201, {"status": {"allowed": self.allowed(spec.get("user", ""), spec["resourceAttributes"])}}
        if method == "POST":
            name = body["metadata"].get("name")
            self.made.append((path, body))
            self.objects[f"{path}/{name}"] = body
            return 201, body
        if method == "DELETE":
            self.deleted.append(path)
            self.objects.pop(path, None)
            return 200, {}
        found = self.objects.get(path)
        if isinstance(found, int):
            return found, {"message": f"made up {found}"}
        if found is None:
            return 404, {"message": f"{path} not found"}
        return 200, found


@contextlib.contextmanager
def serving(api: Api, folder: Path) -> Iterator[Path]:
    """The server; gives a kubeconfig's path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            time.sleep(api.delay)
            parts = urlsplit(self.path)
            status, found = api.answer(self.command, parts.path, json.loads(raw) if raw[:1] in (b"{", b"[") else raw.decode() or {})
            data = found.encode() if isinstance(found, str) else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-type", "text/plain" if isinstance(found, str) else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = do_PATCH = _answer

        def log_message(self, *args: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kubeconfig(folder, f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def kubeconfig(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig.json"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": server}}],
            }
        )
    )
    return path
