"""What is scraped of programs that cannot run here: DCGM exporter and controller-runtime, by the names and labels they write.

DCGM: NVIDIA's etc/default-counters.csv and dcp-metrics-included.csv, labels as of dcgm-exporter 4 on Kubernetes.
controller-runtime: pkg/internal/controller/metrics and pkg/metrics/workqueue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DCGM = {
    "DCGM_FI_DEV_GPU_UTIL": 93,
    "DCGM_FI_DEV_FB_USED": 61000,
    "DCGM_FI_DEV_FB_FREE": 20000,
    "DCGM_FI_DEV_GPU_TEMP": 61,
    "DCGM_FI_DEV_POWER_USAGE": 512.5,
    "DCGM_FI_DEV_SM_CLOCK": 1980,
    "DCGM_FI_DEV_XID_ERRORS": 0,
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": 0.41,
}
CONTROLLER_RUNTIME = {
    'controller_runtime_reconcile_total{controller="inferenceservice",result="success"}': 40,
    'controller_runtime_reconcile_errors_total{controller="inferenceservice"}': 2,
    'workqueue_depth{name="inferenceservice",controller="inferenceservice",priority=""}': 0,
}
#: The kubelet's (pkg/kubelet/metrics/collectors/volume_stats.go) and cert-manager's (pkg/metrics/certificates.go).
PLATFORM = {
    'kubelet_volume_stats_available_bytes{namespace="prod",persistentvolumeclaim="sluice-store"}': 5e9,
    'kubelet_volume_stats_capacity_bytes{namespace="prod",persistentvolumeclaim="sluice-store"}': 1e10,
    'certmanager_certificate_expiration_timestamp_seconds{namespace="prod",name="gateway",issuer_name="ca"}': 4e9,
}
ENVOY = ("envoy_cluster_upstream_rq_xx", "envoy_cluster_upstream_rq_completed")


def dcgm() -> str:
    """Two GPUs of one node, at work for a pod of a training job."""
    who = 'UUID="GPU-{0}",device="nvidia{0}",modelName="NVIDIA H200",Hostname="n1",container="node",namespace="prod",pod="digits-node-0-0-x7b2k"'
    return "".join(f'{name}{{gpu="{gpu}",{who.format(gpu)}}} {value}\n' for name, value in DCGM.items() for gpu in (0, 1))


def controller_runtime() -> str:
    return "".join(f"{series} {value}\n" for series, value in CONTROLLER_RUNTIME.items())


def platform() -> str:
    return "".join(f"{series} {value}\n" for series, value in PLATFORM.items())


def names() -> set[str]:
    """Every metric of an exporter that rules and dashboards may name; of histograms the stem."""
    return {*DCGM, *(s.partition("{")[0] for s in (*CONTROLLER_RUNTIME, *PLATFORM)), *ENVOY}


@contextmanager
def page(text: Callable[[], str]) -> Iterator[str]:
    """A metrics page on a free port: its host:port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text().encode()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
