"""``python -m serving.rollout``: the rollout controller."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys

from prometheus_client import start_http_server

from serving.rollout.controller import Controller
from serving.rollout.evidence import Pods
from serving.rollout.kube import Kube
from serving.rollout.lease import Leadership
from serving.rollout.metrics import Metrics
from serving.rollout.operator import Schedule, operate


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m serving.rollout", description=__doc__)
    parser.add_argument("--namespace", action="append", default=[], help="watch this namespace; may be repeated (default: its own)")
    parser.add_argument("--all-namespaces", action="store_true")
    parser.add_argument("--lease", default="sluice-rollout", help="name of the Lease; empty: no election, one replica only")
    parser.add_argument("--lease-namespace", default=os.environ.get("POD_NAMESPACE", "default"))
    parser.add_argument("--lease-seconds", type=float, default=15.0)
    parser.add_argument("--metrics-port", type=int, default=9090, help="0: none")
    parser.add_argument("--metrics-host", default="0.0.0.0")
    parser.add_argument("--scrape", choices=["direct", "proxy"], default="direct", help="proxy: reach pods through the API server")
    parser.add_argument("--log-level", default="INFO")
    args = parser.parse_args(argv)
    logging.basicConfig(level=args.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    kube, metrics = Kube(), Metrics()
    if args.metrics_port:
        start_http_server(args.metrics_port, addr=args.metrics_host, registry=metrics.registry)
    namespaces = args.namespace or [os.environ.get("POD_NAMESPACE", "default")]
    lease = None
    if args.lease:
        identity = f"{socket.gethostname()}_{os.getpid()}"
        lease = Leadership(kube, args.lease_namespace, args.lease, identity, seconds=args.lease_seconds)
        lease.attempt()
        lease.start()

    def leading() -> bool:
        answer = lease is None or lease.leading()
        metrics.leading.set(int(answer))
        return answer

    controller = Controller(kube, Pods(kube, proxied=args.scrape == "proxy"), metrics=metrics, may_act=leading)

    def look(namespace: str, name: str) -> float | None:
        with metrics.looks.time():
            return controller.look(namespace, name)

    async def run() -> None:
        schedule = Schedule(look, leading)
        await operate(controller, schedule, namespaces=namespaces, clusterwide=args.all_namespaces)

    try:
        asyncio.run(run())
    finally:
        if lease is not None:
            lease.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
