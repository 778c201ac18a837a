"""Every panel's query and every rule, run by a real Prometheus over what real programs write."""

from __future__ import annotations

import dataclasses
import http.client
import json
import math
import re
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from serving.controller.metrics import Metrics
from serving.controller.monitors.gauges import Gauges
from serving.controller.monitors.resource import monitor
from serving.controller.monitors.seen import Quality, Seen, Watched
from serving.controller.rollouts.resource import read
from sluice.core.processes import free_port, spawn, stop, wait_until
from sluice.learners.torch.telemetry import Gpus, Telemetry
from sluice.rollouts.backend import View
from sluice.rollouts.envoy import binary
from sluice.rollouts.state import Note, Routed, State
from tests.integration.monitoring import exporters
from tests.integration.serving.server import Server, serving
from tests.support.endpoint import Scripted
from tests.support.prompts import prompt_package
from tests.tools import dashboards, prometheus
from tests.unit.serving import builders

#: Asks for what is bad, and says "0" or nothing while all is well.
QUIET = {"Paused", "Rolled back", "Failed", "With a fault", "Under the floor"}
#: Is of answers with passages: the prompt asked here retrieves none.
PASSAGES = {"Unsupported claims"}


class Controller:
    """The rollout controller's own metrics, moved as it moves them."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        spec = {"model": {"digest": "b" * 64, "uri": "s3://x/y"}, "traffic": {"backend": "Gateway"}}
        self.rollout = read({"metadata": {"name": "digits", "namespace": "prod", "uid": "u"}, "spec": spec})
        self.metrics.leading.set(1)
        self.watching = Gauges(self.metrics.registry)
        policy = {"run": {"pipeline": {"name": "digits"}}, "quality": {"floor": 0.9}}
        watch = {"model": "digits", "rollout": "digits", "log": "s3://logs/x", "retrain": policy}
        self.monitor = monitor({"metadata": {"name": "digits", "namespace": "prod", "uid": "u"}, "spec": watch})

    def look(self) -> str:
        with self.metrics.looks.time():
            self.metrics.seen(self.rollout, State(stable="a", candidate="b", phase="Step"), View(routed=Routed({"a": 90, "b": 10})))
        self.metrics.decided(Note(1, "phase", "", {"phase": "Step", "checks": []}))
        self.metrics.faults.labels("Route").inc()
        now = time.time()
        seen = Seen(b"", now, rows=5000, windows=10, labelled=400, newest=now, newest_label=now - 60, scores={"age": ("psi", 0.31)})
        seen = dataclasses.replace(seen, quality=Quality("accuracy", 0.93, 0.9, 0.95, 500, share=0.2), drifted="age is 0.31 away")
        status = {"retrainings": {"drift/promoted": 2}, "retraining": {"failed": 0, "run": {"at": now - 30, "ended": None}}}
        self.watching.seen(self.monitor, Watched("s3://m/x", "b" * 64), seen, status)
        return generate_latest(self.metrics.registry).decode()


class TwoGpus(Gpus):
    """What NVML would say on a machine that has them."""

    def __init__(self) -> None:
        self._handles = [0, 1]

    def sample(self) -> list[tuple[float, int]]:
        return [(0.93, 61 << 30), (0.88, 61 << 30)]


def training(port: int) -> Telemetry:
    """The metrics a training serves, after a few steps, an epoch and a warning."""
    told = Telemetry(lambda event: None, "digits", port, TwoGpus())
    told.emit({"kind": "step", "epoch": 1, "step": 40, "steps": 200, "loss": 0.71, "samples_per_second": 5100.0, "seconds_left": 12.0})
    told.emit({"kind": "epoch", "epoch": 1, "train_loss": 0.7, "validation_loss": 0.6})
    told.emit({"kind": "warning", "text": "a checkpoint could not be written"})
    return told


def envoy(folder: Path, target: int) -> dict[str, Any]:
    """One route, its cluster named as Envoy Gateway names an HTTPRoute's."""
    name = "httproute/prod/digits/rule/0"

    def socket(port: int) -> dict[str, Any]:
        return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}

    listen, admin = free_port(), free_port()
    kind = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
    routes = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": name}}]}]}
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": routes,
        "http_filters": [router],
    }
    listener = {**socket(listen), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}
    endpoints = {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": socket(target)}]}]}
    config = {
        "admin": socket(admin),
        "static_resources": {"listeners": [listener], "clusters": [{"name": name, "connect_timeout": "1s", "load_assignment": endpoints}]},
    }
    (folder / "envoy.json").write_text(json.dumps(config))
    return {"listen": listen, "admin": admin, "config": folder / "envoy.json"}


class Prometheus:
    """A process with the tree's rules, scraping every second."""

    def __init__(self, folder: Path, targets: dict[str, tuple[str, str, dict[str, str]]]):
        self.address = f"127.0.0.1:{free_port()}"
        jobs = [
            {
                "job_name": job,
                "metrics_path": path,
                "honor_labels": job in ("sluice-controller", "dcgm", "platform"),
                "static_configs": [{"targets": [where], "labels": labels}],
            }
            for job, (where, path, labels) in targets.items()
        ]
        # windows of hours would take hours to fill
        (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": prometheus.groups()}))
        config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["rules.yaml"], "scrape_configs": jobs}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        log = folder / "prometheus.log"
        self.process = spawn(
            [
                prometheus.program("prometheus"),
                f"--config.file={folder}/prometheus.yaml",
                f"--storage.tsdb.path={folder}/tsdb",
                f"--web.listen-address={self.address}",
            ],
            log=log,
        )
        try:
            wait_until(self.ready, what="Prometheus", seconds=60, process=self.process, log=log)
        except BaseException:
            stop(self.process)
            raise

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def ask(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def numbers(self, expr: str) -> list[float]:
        """Values of an instant query that are numbers."""
        return [v for r in self.ask("query", query=expr)["result"] if not math.isnan(v := float(r["value"][1]))]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    prometheus.program("prometheus")
    with observed(tmp_path_factory.mktemp("watched")) as found:
        yield found


@contextmanager
def observed(root: Path) -> Iterator[Prometheus]:
    """A Prometheus that watches a model server and a prompt's under load, a controller, a training, an Envoy and what exporters write."""
    made = [make(root / "packages" / make.__name__).root for make in (builders.classifier, builders.echo, builders.nan)]
    controller, done = Controller(), threading.Event()
    with ExitStack() as stack:
        played = stack.enter_context(Scripted(lambda body, n: "429" if n % 5 == 4 else "ok").serving())
        price = {"input": 1, "output": 2}
        made.append(prompt_package(root / "packages" / "asked", played.url, budget={"tokens": 10_000_000}, price=price).root)
        server = stack.enter_context(
            serving(root / "log", *made, "--workers", "1", "--cache", "1000000", "--slo-ms", "1000", "--log", root / "predictions")
        )
        front = envoy(root, server.port)
        proxy = spawn(
            [str(binary()), "-c", str(front["config"]), "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"],
            log=root / "envoy.log",
        )
        stack.callback(stop, proxy)
        load = threading.Thread(target=requests, args=(server, front["listen"], done), daemon=True)
        stack.callback(load.join, 20)
        stack.callback(done.set)
        load.start()
        port = free_port()
        training(port)
        pod = {"namespace": "prod", "pod": "digits-1", "inferenceservice": "digits-bbbbbbbb", "rollout": "digits"}
        found = Prometheus(
            root,
            {
                "prod/sluice-models": (f"127.0.0.1:{server.port}", "/metrics", pod),
                "sluice-controller": (stack.enter_context(exporters.page(controller.look)), "/metrics", {"namespace": "prod", "pod": "c1"}),
                "prod/sluice-training": (
                    f"127.0.0.1:{port}",
                    "/metrics",
                    {"namespace": "prod", "pod": "digits-node-0-0-x7b2k", "trainjob": "digits"},
                ),
                "prod/sluice-gateway": (f"127.0.0.1:{front['admin']}", "/stats/prometheus", {"namespace": "envoy-gateway-system"}),
                "prod/sluice-kserve": (
                    stack.enter_context(exporters.page(exporters.controller_runtime)),
                    "/metrics",
                    {"namespace": "kserve"},
                ),
                "platform": (stack.enter_context(exporters.page(exporters.platform)), "/metrics", {}),
                "dcgm": (stack.enter_context(exporters.page(exporters.dcgm)), "/metrics", {"namespace": "gpu-operator"}),
            },
        )
        stack.callback(stop, found.process)
        # the last recording has its rates, and so have all before it
        wait_until(
            lambda: bool(found.numbers("sluice:slow:ratio_rate5m")) and bool(found.numbers("sluice:errors:ratio_rate6h > 0")),
            what="rules",
            seconds=60,
        )
        wait_until(lambda: bool(found.numbers("sum(rate(envoy_cluster_upstream_rq_xx[10s])) > 0")), what="Envoy's rates", seconds=30)
        yield found


def requests(server: Server, proxy: int, done: threading.Event) -> None:
    """Answers, faults of the model, and what is no HTTP, directly and through the proxy, until told to stop."""
    number = 0
    while not done.wait(0.1):
        number += 1
        server.predict("points", [1.0, 0.0, number % 3, 0.0])
        server.predict("echo", float(number))
        # an answer repeats what it is asked
        said = ("how are you?", "I am sorry, I cannot help with that.", "write to ann@example.com, you idiot")[number % 3]
        asked = {"model": "asked", "messages": [{"role": "user", "content": said}], "stream": number % 2 == 0}
        headers = server.request("POST", "/v1/chat/completions", asked)[1]
        server.request("POST", "/v2/models/asked/feedback", {"request_id": headers.get("x-request-id", ""), "outcome": 1})
        server.request("POST", "/v1/models/constant:predict", {"instances": [-1.0]})
        for raw in (b"NOT HTTP\r\n\r\n",):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
            connection.connect()
            connection.sock.sendall(raw)
            connection.sock.recv(1000)
            connection.close()
        try:
            through = http.client.HTTPConnection("127.0.0.1", proxy, timeout=5)
            through.request("GET", "/v2/health/ready")
            through.getresponse().read()
            through.close()
        except OSError:  # Envoy is still starting
            continue


def test_every_panel_draws_something(watched: Prometheus) -> None:
    empty = []
    for board, panel in dashboards.panels():
        for target in panel["targets"]:
            expr = dashboards.filled(target["expr"])
            assert "$" not in expr, expr
            if not watched.numbers(expr) and panel["title"] not in QUIET | PASSAGES:
                empty.append((board, panel["title"], expr))
    # A rate wants two scrapes of its target; on a busy machine the second comes later.
    end = time.monotonic() + 40
    while empty and time.monotonic() < end:
        time.sleep(1)
        empty = [missing for missing in empty if not watched.numbers(missing[2])]
    assert not empty


def test_every_choice_has_values(watched: Prometheus) -> None:
    asked = 0
    for board in dashboards.dashboards().values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
                assert found, variable
                values = watched.ask("query", query=f"count by ({found[2]}) ({dashboards.filled(found[1])})")["result"]
                assert values and all(v["metric"].get(found[2]) for v in values), variable
                asked += 1
    assert asked >= 5


def test_legends_name_labels_that_are_there(watched: Prometheus) -> None:
    for board, panel in dashboards.panels():
        for target in panel["targets"]:
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat") or ""))
            for series in watched.ask("query", query=dashboards.filled(target["expr"]))["result"]:
                assert wanted <= set(series["metric"]), (board, panel["title"], series["metric"])


def test_every_rule_is_evaluated_without_an_error(watched: Prometheus) -> None:
    rules = [r for g in watched.ask("rules")["groups"] for r in g["rules"]]
    assert len(rules) == sum(len(g["rules"]) for g in prometheus.groups())
    assert not [(r["name"], r["lastError"]) for r in rules if r["health"] == "err"]


def test_every_alert_looks_at_series_that_are_there(watched: Prometheus) -> None:
    """An alert over a metric nobody writes would never fire: without its thresholds each expression has a value."""
    from tests.unit.monitoring.test_dashboards import metrics

    for rule in (r for g in prometheus.groups() for r in g["rules"]):
        for name in metrics(rule["expr"]):
            assert watched.numbers(f"count({name})"), (rule.get("alert") or rule["record"], name)
