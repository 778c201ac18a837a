"""An HTTP server that answers as Kubeflow Pipelines 2.17 does where schedules and runs are concerned, with faults on demand.

What it holds to was read off the real one: recurring runs cannot change, their cron has six fields in
one time zone, a disabled one that is enabled runs what it missed (the last only, without catching up),
names repeat, lists come in pages, an ended run is FAILED, a missing thing is 404 with a JSON body.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from croniter import croniter

from sluice.kfp.form import defaults

Object = dict[str, Any]
#: (method, path) -> what goes wrong: (status, body), "drop" before it is done, "lose" the answer after it, or nothing.
Fault = Callable[[str, str], "tuple[int, bytes] | str | None"]


def stamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")


def form_of(raw: Object) -> Object:
    """The parameters that a compiled project's version declares, as far as the controllers look."""
    kinds: dict[type, str] = {dict: "STRUCT", str: "STRING", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE", list: "LIST"}
    return {k: {"parameterType": kinds[type(v)], "defaultValue": v} for k, v in defaults(raw).items()}


class Pipelines:
    """The state: `now` in seconds since the epoch; everything by id."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.lock = threading.RLock()
        self.pipelines: dict[str, Object] = {}
        self.versions: dict[str, Object] = {}
        self.experiments: dict[str, Object] = {}
        self.recurring: dict[str, Object] = {}
        self.runs: dict[str, Object] = {}
        self.logs: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.fault: Fault = lambda method, path: None
        self.page = 2

    # -- what a test sets up and moves -------------------------------------------------------------

    def add_pipeline(self, name: str, *versions: str, form: Object | None = None) -> str:
        key = self.id()
        self.pipelines[key] = {"pipeline_id": key, "name": name, "display_name": name}
        for n, version in enumerate(versions or ("v1",)):
            self.add_version(key, version, n, form)
        return key

    def add_version(self, key: str, version: str, n: float, form: Object | None = None) -> None:
        """`form`: its parameters, name -> ``{parameterType, defaultValue}``."""
        made = self.id()
        root = {
            "dag": {"tasks": {"fetch": {"componentRef": {"name": "a"}}, "if": {"componentRef": {"name": "c"}}}},
            **({"inputDefinitions": {"parameters": form}} if form else {}),
        }
        self.versions[made] = {
            "pipeline_id": key,
            "pipeline_version_id": made,
            "display_name": version,
            "created_at": stamp(self.now - 100 + n),
            "pipeline_spec": {
                "root": root,
                "components": {"a": {"executorLabel": "x"}, "c": {"dag": {"tasks": {"count": {"componentRef": {"name": "a"}}}}}},
            },
        }

    def id(self) -> str:
        return str(uuid.uuid4())

    def pass_to(self, moment: float) -> None:
        """Time passes, and recurring runs fire."""
        with self.lock:
            while self.now < moment:
                due = [t for r in self.recurring.values() if r["status"] == "ENABLED" and (t := self.tick(r, r["_base"])) > self.now]
                self.now = min([moment, *due])
                for r in self.recurring.values():
                    self.fire(r)

    @staticmethod
    def tick(r: Object, base: float) -> float:
        known: dict[float, float] = r.setdefault("_ticks", {})
        if base not in known:
            known[base] = croniter(r["trigger"]["cron_schedule"]["cron"][2:], base).get_next(float)
        return known[base]

    def fire(self, r: Object) -> None:
        while r["status"] == "ENABLED" and (tick := self.tick(r, r["_base"])) <= self.now:
            later = self.tick(r, tick)
            if r["no_catchup"] and later <= self.now:
                r["_base"] = tick
                continue
            if sum(x["recurring_run_id"] == r["recurring_run_id"] and x["state"] == "RUNNING" for x in self.runs.values()) >= int(
                r["max_concurrency"]
            ):
                return
            r["_base"] = tick
            self.add_run(
                {
                    "display_name": f"run-{len(self.runs)}",
                    "recurring_run_id": r["recurring_run_id"],
                    "experiment_id": r["experiment_id"],
                    "_tick": tick,
                }
            )

    def add_run(self, body: Object) -> Object:
        key = self.id()
        self.runs[key] = {
            "recurring_run_id": "",
            **body,
            "run_id": key,
            "state": "RUNNING",
            "created_at": stamp(self.now),
            "storage_state": "AVAILABLE",
            "run_details": {"task_details": []},
        }
        return self.runs[key]

    def end(self, run: Object, state: str, tasks: list[Object] | None = None) -> None:
        run |= {"state": state, "finished_at": stamp(self.now), "run_details": {"task_details": tasks or []}}

    # -- the interface -----------------------------------------------------------------------------

    def serve(self, method: str, path: str, query: dict[str, str], body: Object) -> tuple[int, Object]:
        head, _, rest = path.removeprefix("/apis/v2beta1/").partition("/")
        name, _, verb = rest.partition(":")
        name = unquote(name)
        if head == "pipelines":
            return self.serve_pipelines(rest, query)
        store, plural = {
            "experiments": (self.experiments, "experiments"),
            "runs": (self.runs, "runs"),
            "recurringruns": (self.recurring, "recurringRuns"),
        }[head]
        if method == "POST" and not name:
            return self.create(head, body)
        if not name:
            return 200, self.listed(list(store.values()), plural, query)
        if name not in store:
            return 404, {"error": f"{head} {name} not found", "code": 5, "message": f"{head} {name} not found"}
        found = store[name]
        if method == "DELETE":
            del store[name]
        elif verb in ("enable", "disable"):
            found["status"] = "ENABLED" if verb == "enable" else "DISABLED"
            self.fire(found)
        elif verb == "terminate":
            if found["state"] == "RUNNING":
                self.end(found, "FAILED")
        elif verb == "archive":
            found["storage_state"] = "ARCHIVED"
        return 200, {k: v for k, v in found.items() if not k.startswith("_")} if method == "GET" else {}

    def create(self, head: str, body: Object) -> tuple[int, Object]:
        if head == "experiments":
            if any(e["display_name"] == body["display_name"] for e in self.experiments.values()):
                return 409, {"message": f"experiment {body['display_name']} already exists", "code": 6}
            made = {"experiment_id": self.id(), "display_name": body["display_name"], "created_at": stamp(self.now)}
            self.experiments[made["experiment_id"]] = made
            return 200, made
        if body["pipeline_version_reference"]["pipeline_id"] not in self.pipelines:
            return 404, {"message": "pipeline not found", "code": 5}
        if "wrong" in (body["runtime_config"].get("parameters") or {}):
            return 400, {"message": "parameter wrong is not one of the pipeline's", "code": 3}
        if head == "runs":
            return 200, self.add_run(body)
        cron = body["trigger"]["cron_schedule"]
        if len(cron["cron"].split()) != 6 or not 1 <= int(body["max_concurrency"]) <= 10:
            return 400, {"message": "Schedule cron is not a supported format", "code": 3}
        key = self.id()
        start = datetime.fromisoformat(cron["start_time"]).timestamp() if cron.get("start_time") else self.now
        self.recurring[key] = {
            **body,
            "recurring_run_id": key,
            "created_at": stamp(self.now),
            "_base": start,
            "status": "ENABLED" if body.get("mode") == "ENABLE" else "DISABLED",
        }
        return 200, self.recurring[key]

    def serve_pipelines(self, rest: str, query: dict[str, str]) -> tuple[int, Object]:
        if rest.startswith("names/"):
            for p in self.pipelines.values():
                if p["name"] == unquote(rest.removeprefix("names/")):
                    return 200, p
            return 404, {"message": f"pipeline {unquote(rest.removeprefix('names/'))} not found", "code": 5}
        match = re.fullmatch(r"([^/]+)/versions(?:/(.+))?", rest)
        assert match, rest
        if match[2]:
            return (200, self.versions[match[2]]) if match[2] in self.versions else (404, {"message": "no such version", "code": 5})
        return 200, self.listed([v for v in self.versions.values() if v["pipeline_id"] == match[1]], "pipeline_versions", query)

    def listed(self, items: list[Object], key: str, query: dict[str, str]) -> Object:
        if "experiment_id" in query:
            items = [i for i in items if i["experiment_id"] == query["experiment_id"]]
        for p in json.loads(query.get("filter", "{}")).get("predicates", []):
            items = [i for i in items if (str(i.get(p["key"])) == p["string_value"]) is (p["operation"] == "EQUALS")]
        if query.get("sort_by") == "created_at desc":
            items = sorted(items, key=lambda i: i["created_at"], reverse=True)
        begin = int(query.get("page_token", "0"))
        size = min(self.page, int(query.get("page_size", self.page)))
        page = [{k: v for k, v in i.items() if not k.startswith("_")} for i in items[begin : begin + size]]
        more = {"next_page_token": str(begin + size)} if begin + size < len(items) else {}
        return {key: page, "total_size": len(items), **more} if page else {}


@contextmanager
def serving(state: Pipelines) -> Iterator[str]:
    """The address it answers on."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with state.lock:
                state.calls.append((self.command, url.path))
                state.headers.append(dict(self.headers))
                wrong = state.fault(self.command, url.path)
                if wrong == "drop":
                    self.close_connection = True
                    return
                if isinstance(wrong, tuple):
                    status, data = wrong
                elif url.path.endswith("/log"):
                    # it answers before it has looked
                    status, data = (
                        200,
                        state.logs.get(url.path.split("/")[-2], '{"error_message":"pods not found","error_details":"x"}').encode(),
                    )
                else:
                    status, found = state.serve(
                        self.command, url.path, {k: v[0] for k, v in parse_qs(url.query).items()}, json.loads(body or b"{}")
                    )
                    data = json.dumps({k: v for k, v in found.items() if not k.startswith("_")}).encode()
            if wrong == "lose":
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def server_bind(self) -> None:
            # without the base class's look-up of the host's name
            TCPServer.server_bind(self)

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
