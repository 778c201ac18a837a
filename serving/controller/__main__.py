"""``python -m serving.controller``: the controllers of ModelRollout, PipelineSchedule, PipelineRun and ModelMonitor."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from prometheus_client import start_http_server

from serving.controller.kube import connect
from serving.controller.lease import Leadership
from serving.controller.metrics import Metrics
from serving.controller.monitors.gauges import Gauges
from serving.controller.monitors.listener import Listener
from serving.controller.monitors.reading import LogReader
from serving.controller.monitors.reconcile import Monitors
from serving.controller.monitors.sources import Inbox
from serving.controller.operator import Schedule, operate
from serving.controller.rollouts.auditor import Auditor
from serving.controller.rollouts.evidence import Pods
from serving.controller.rollouts.reconcile import Rollouts
from serving.controller.rollouts.registrar import Registrar
from serving.controller.runs.reconciler import Installation, endpoint, system_of
from serving.controller.runs.runs import Runs
from serving.controller.runs.schedules import Schedules
from sluice.audit.log import AUDIT_ENV, log_at
from sluice.core import cron
from sluice.core.errors import MissingExtra, SluiceError
from sluice.kfp.client import Api
from sluice.kfp.connection import UI_VARIABLE
from sluice.kube.objects import Objects
from sluice.proof.trust import trust_of
from sluice.registry.environments import DEV, known
from sluice.registry.rest import Rest
from sluice.registry.versions import Registry

log = logging.getLogger("sluice.rollout")
#: In the environment: how often in a row the watches have ended soon.
ENDED = "SLUICE_WATCHES_ENDED"
#: Brings one resource to what it asks for: (namespace, name) -> seconds until it is looked at again, None for never.
Reconcile = Callable[[str, str], float | None]
#: So often, each within so many seconds, and the process ends; seconds between two.
_TRIES, _LASTED, _PAUSE = 10, 60.0, 3.0


def begin_anew(why: Exception, lived: float, argv: list[str]) -> None:
    """Become a fresh process with the same number, and so the same lease; come back where that was tried too often.

    Nothing of the old one is left that could act, neither kopf's timers and signal handlers nor a look under way.
    """
    ended = 1 if lived > _LASTED else int(os.environ.get(ENDED, "0")) + 1
    if ended >= _TRIES:
        return
    log.warning("the watches ended by %s: %s; again in %g s", type(why).__name__, why, _PAUSE)
    time.sleep(_PAUSE)
    os.environ[ENDED] = str(ended)
    os.execv(sys.executable, [sys.executable, "-m", "serving.controller", *argv])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.controller", description=__doc__)
    parser.add_argument("--namespace", action="append", default=[], help="watch this namespace; may be repeated (default: its own)")
    parser.add_argument("--all-namespaces", action="store_true")
    parser.add_argument("--lease", default="sluice-rollout", help="name of the Lease; empty: no election, one replica only")
    parser.add_argument("--lease-namespace", default=os.environ.get("POD_NAMESPACE", "default"))
    parser.add_argument("--lease-seconds", type=float, default=15.0)
    parser.add_argument("--metrics-port", type=int, default=9090, help="0: none")
    parser.add_argument("--metrics-host", default="0.0.0.0")
    parser.add_argument("--scrape", choices=["direct", "proxy"], default="direct", help="proxy: reach pods through the API server")
    parser.add_argument(
        "--prometheus",
        action="append",
        default=[],
        metavar="URL",
        help="a Prometheus that rollouts may name, with all below it; may be repeated",
    )
    parser.add_argument(
        "--registry",
        default=os.environ.get("MLFLOW_TRACKING_URI", ""),
        metavar="URL",
        help="MLflow's server, whose champion is to be what serves; credentials by MLflow's own variables; "
        "default: $MLFLOW_TRACKING_URI; empty: none",
    )
    parser.add_argument(
        "--require-signature",
        action="store_true",
        help="roll out packages alone that a trusted key signed, whatever a ModelRollout says; default: $SLUICE_REQUIRE_SIGNATURE",
    )
    parser.add_argument(
        "--trusted-key",
        action="append",
        default=[],
        metavar="FILE",
        help="a public key, or a folder of them; may be repeated; default: $SLUICE_TRUSTED_KEYS",
    )
    parser.add_argument(
        "--environment",
        default=os.environ.get("SLUICE_ENVIRONMENT") or DEV,
        metavar="ENV",
        help="whose aliases say there what serves: production-champion; default: $SLUICE_ENVIRONMENT, else dev, whose alias is champion",
    )
    parser.add_argument(
        "--audit",
        default=os.environ.get(AUDIT_ENV, ""),
        metavar="PLACE",
        help=f"the audit log: a folder, or s3://bucket/prefix where boto3 is installed; default: ${AUDIT_ENV}; empty: none",
    )
    _add_kubeflow(parser)
    parser.add_argument(
        "--requests-port",
        type=int,
        default=0,
        help="where Alertmanager's webhook (/alerts) and CloudEvents (/events) are taken; 0: nowhere",
    )
    parser.add_argument("--requests-token", type=Path, metavar="FILE", help="the bearer token they have to show")
    parser.add_argument("--log-level", default="INFO")
    return parser


def _add_kubeflow(parser: argparse.ArgumentParser) -> None:
    """Which Kubeflow Pipelines schedules and runs are of, and how it is reached."""
    parser.add_argument(
        "--kfp-endpoint",
        default="",
        help="Kubeflow Pipelines' API server, http://ml-pipeline.kubeflow:8888; empty: PipelineSchedules and PipelineRuns are left alone",
    )
    parser.add_argument(
        "--kfp-ui", default=os.environ.get(UI_VARIABLE, ""), help=f"its dashboard, for links in statuses; default: ${UI_VARIABLE}"
    )
    parser.add_argument("--kfp-timezone", default="UTC", help="the time zone its scheduler reads cron in (CRON_SCHEDULE_TIMEZONE)")
    parser.add_argument("--kfp-token", type=Path, help="a file with a bearer token for it")
    parser.add_argument("--kfp-ca", type=Path, help="a file with its certificate authority")
    parser.add_argument("--kfp-multi-user", action="store_true", help="runs live in their resource's namespace")
    parser.add_argument(
        "--kfp-namespace",
        help="where it is installed, and so its runs' pods unless it is multi-user (default: by the endpoint, else kubeflow)",
    )


def options(argv: list[str] | None) -> tuple[argparse.Namespace, ZoneInfo]:
    """The command line, and the time zone of Kubeflow Pipelines' scheduler. Ends the process with status 2 on one that makes no sense."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.kfp_endpoint and not args.kfp_endpoint.startswith(("http://", "https://")):
        parser.error(f"--kfp-endpoint begins with http:// or https://, not {args.kfp_endpoint!r}")
    if args.registry and not args.registry.startswith(("http://", "https://")):
        parser.error(
            f"--registry begins with http:// or https://, not {args.registry!r}: the controller asks MLflow's server, not its database"
        )
    if args.requests_port and not args.requests_token:
        parser.error("--requests-port asks for --requests-token FILE: without one anybody could start a training")
    try:
        known(args.environment, "--environment")
        args.trust = trust_of(args.require_signature, args.trusted_key, implied=False)
        return args, cron.zone(args.kfp_timezone, "--kfp-timezone")
    except SluiceError as e:
        parser.error(str(e))


def _auditor(place: str, leading: Callable[[], bool]) -> Auditor | None:
    """Who writes decisions down; None where there is no place for it, or this image cannot write there. Raises `SluiceError`."""
    try:
        return Auditor(log_at(place), may_act=leading) if place else None
    except MissingExtra as e:
        log.warning("decisions of rollouts stay in statuses and events alone: %s", e)
        return None


def main(argv: list[str] | None = None) -> int:
    """Run the controllers until stopped."""
    args, zone = options(argv)
    logging.basicConfig(level=args.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    kube, metrics = connect(), Metrics()
    if args.metrics_port:
        start_http_server(args.metrics_port, addr=args.metrics_host, registry=metrics.registry)
    namespaces = args.namespace or [os.environ.get("POD_NAMESPACE", "default")]
    lease = _lease(args, kube) if args.lease else None

    def leading() -> bool:
        answer = lease is None or lease.leading()
        metrics.leading.set(int(answer))
        return answer

    registrar = Registrar(Registry(args.registry, Rest(args.registry)), may_act=leading) if args.registry else None
    auditor = _auditor(args.audit, leading)
    rollouts = Rollouts(
        kube,
        Pods(kube, proxied=args.scrape == "proxy"),
        prometheus=args.prometheus,
        metrics=metrics,
        may_act=leading,
        registrar=registrar,
        auditor=auditor,
        environment=args.environment,
        trust=args.trust,
    )

    def reconcile(namespace: str, name: str) -> float | None:
        with metrics.looks.time():
            return rollouts.reconcile(namespace, name)

    monitors = Monitors(kube, LogReader(), Gauges(metrics.registry), may_act=leading)
    others: dict[str, Reconcile] = {"modelmonitors": monitors.reconcile}
    if args.kfp_endpoint:
        others |= _of_kubeflow(args, kube, zone, leading)
    if args.requests_port:
        # Every replica takes them: they stand in the resources, and whoever leads finds them.
        inbox = Inbox(kube, () if args.all_namespaces else namespaces)
        Listener(args.metrics_host, args.requests_port, inbox, args.requests_token, namespaces[0]).start()

    async def run() -> None:
        schedule = Schedule(reconcile, leading)
        queues = {plural: Schedule(one, leading) for plural, one in others.items()}
        _begin(schedule, registrar, auditor)
        await operate(schedule, queues, namespaces=namespaces, clusterwide=args.all_namespaces)

    begun = time.monotonic()
    try:
        asyncio.run(run())
    except Exception as why:
        begin_anew(why, time.monotonic() - begun, sys.argv[1:] if argv is None else argv)
        raise
    finally:
        for thread in (registrar, auditor, lease):
            if thread is not None:
                thread.stop()
    return 0


def _lease(args: argparse.Namespace, kube: Objects) -> Leadership:
    """The lease of this process, asked for once already."""
    identity = f"{socket.gethostname()}_{os.getpid()}"
    lease = Leadership(kube, args.lease_namespace, args.lease, identity, seconds=args.lease_seconds)
    lease.attempt()
    lease.start()
    return lease


def _of_kubeflow(args: argparse.Namespace, kube: Objects, zone: ZoneInfo, leading: Callable[[], bool]) -> dict[str, Reconcile]:
    """What reconciles schedules and runs, by their plurals."""
    there = Installation(
        Api(endpoint(args.kfp_endpoint, args.kfp_token, args.kfp_ca, args.kfp_ui), timeout=20.0, tries=3),
        zone,
        args.kfp_ui,
        args.kfp_multi_user,
        args.kfp_namespace or system_of(args.kfp_endpoint),
    )
    kinds = {"pipelineschedules": Schedules(kube, there, may_act=leading), "pipelineruns": Runs(kube, there, may_act=leading)}
    return {plural: kind.reconcile for plural, kind in kinds.items()}


def _begin(schedule: Schedule, registrar: Registrar | None, auditor: Auditor | None) -> None:
    """Start the threads that write elsewhere; a change in the registry has its rollout looked at."""
    if registrar is not None:
        loop = asyncio.get_running_loop()

        def changed(key: tuple[str, str]) -> None:
            loop.call_soon_threadsafe(schedule.known, key)

        registrar.changed = changed
        registrar.start()
    if auditor is not None:
        auditor.start()


if __name__ == "__main__":
    sys.exit(main())
