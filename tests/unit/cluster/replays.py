"""Answers that a real KFP 2.17 gave, kept in `recorded/`, given again over HTTP."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sluice.core.events import mark

RECORDED = Path(__file__).with_name("recorded")
Recording = dict[str, Any]


def recording(name: str) -> Recording:
    """``{"run": the run, "logs": {pod: its log}}``; ``status`` makes every answer a failure, ``after`` is called before each look at the run."""
    found = json.loads((RECORDED / f"{name}.json").read_text())
    run = found["run"]["run_id"]  # when these were recorded, events did not begin with it yet
    logs = {pod: re.sub(r"^::sluice::", mark(run), log, flags=re.M) for pod, log in found.get("logs", {}).items()}
    return {**found, "logs": logs}


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, Recording]]:
    """The server's address, and what it answers from; what is not in it is missing as KFP says it."""
    kept: Recording = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            *_, last = self.path.split("/")
            if last == "log":
                pod = self.path.split("/")[-2]
                body = kept["logs"].get(pod, '{"error_message":"pods not found","error_details":"x"}').encode()
            elif last == "healthz":
                body = json.dumps({"multi_user": kept.get("multi_user", False)}).encode()
            else:
                kept.get("before", lambda: None)()
                body = json.dumps(kept["run"]).encode()
            self.send_response(kept.get("status", 200))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def beside(found: Recording, *, without: tuple[str, ...] = (), more: tuple[dict[str, Any], ...] = ()) -> Recording:
    """A recording as the run's own report sees it: no boxes for conditions, the report itself running, what is `without` not there yet."""
    details = found["run"]["run_details"]
    gone = tuple(f"{w}{end}" for w in without for end in ("", "(0)", "-driver", "-driver(0)"))
    kept = [
        t
        for t in details["task_details"]
        if not str(t.get("display_name")).startswith(("condition-", "root")) and t.get("display_name") not in gone
    ]
    own = [
        {"display_name": "report-driver", "state": "SUCCEEDED"},
        {"display_name": "report", "state": "RUNNING"},
        {"display_name": "root-driver", "state": "SUCCEEDED"},
        {"display_name": "root", "state": "RUNNING"},
    ]
    details["task_details"] = [*kept, *own, *more]
    marks = [f'"step":"{w.replace("-", "_")}"' for w in without]
    found["logs"] = {pod: log for pod, log in found["logs"].items() if not any(m in log for m in marks)}
    found["run"] |= {"state": "RUNNING", "finished_at": "0001-01-01T00:00:00Z"}
    return found


def skipped(*steps: str) -> tuple[dict[str, Any], ...]:
    """Tasks behind a shut gate: the first was asked and skipped, those behind it were never reached."""
    first, *rest = steps
    return (
        {"display_name": f"{first}-driver", "state": "SUCCEEDED"},
        {"display_name": first, "state": "SKIPPED"},
        *({"display_name": n} for s in rest for n in (f"{s}-driver", s)),
    )
