"""The command that shows a home or a cluster in a browser."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import Add, Commands, home_argument


def add_to(commands: Commands, add: Add) -> None:
    """Add it."""
    ui = add("ui", "runs, models, rollouts, monitors and the audit trail in a browser; read-only unless told otherwise", "ui:ui")
    home_argument(ui)
    ui.add_argument(
        "-n",
        "--namespace",
        metavar="NS",
        help="of a cluster: its rollouts and monitors, MLflow ($MLFLOW_TRACKING_URI) and Kubeflow Pipelines",
    )
    ui.add_argument("--endpoint", metavar="URL", help="of Kubeflow Pipelines; default: $KF_PIPELINES_ENDPOINT, else what is at hand")
    ui.add_argument("--context", help="of the kubeconfig; default: its current one")
    ui.add_argument("--port", type=_port, default=8420, help="default 8420; 0: any that is free")
    ui.add_argument(
        "--host", default="127.0.0.1", help="to listen at; default 127.0.0.1. Open to other machines, looking needs the token too"
    )
    ui.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="a further name it is asked under, as behind a proxy; may be repeated",
    )
    ui.add_argument("--actions", action="store_true", help="let whoever has the token that is printed promote, roll back, pause, retry")
    ui.add_argument("--token-file", type=Path, metavar="FILE", help="the token; default: $SLUICE_UI_TOKEN, else a new one each time")


def _port(text: str) -> int:
    import argparse

    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)
