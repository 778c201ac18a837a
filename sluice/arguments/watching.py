"""The commands that watch a model that serves: monitor."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import PACKAGE, Add, Commands, home_argument, project_file


def add_to(commands: Commands, add: Add) -> None:
    """Add them, in this order."""
    monitor = add(
        "monitor", "has what a model is asked moved away from its training rows? exit status 3 where an alarm stands", "monitor:monitor"
    )
    monitor.add_argument("name", metavar="NAME", help=PACKAGE)
    monitor.add_argument(
        "--log", metavar="DIR", help="the prediction log, as `sluice serve --log` writes it, or s3://...; default: log in the home"
    )
    monitor.add_argument("--model", metavar="NAME", help="the model's name in the log; default: the package's")
    monitor.add_argument(
        "--project", type=project_file, metavar="PROJECT", help="whose monitor: says what counts; default: NAME's, if it is a project"
    )
    monitor.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="monitor.A=V", help="override a key of it; may be repeated"
    )
    monitor.add_argument("--again", action="store_true", help="from the beginning of the log, not from where the last look stopped")
    monitor.add_argument("--report", type=Path, metavar="FILE", help="the HTML report; default: reports/monitor-NAME.html in the home")
    monitor.add_argument(
        "--evidently",
        type=Path,
        metavar="FILE",
        help="Evidently's HTML report too: the last predictions beside the first monitor.drift.baseline",
    )
    monitor.add_argument(
        "--retrain",
        action="store_true",
        help="run the project (--project) again where its monitor.retrain says so; exit status then as `sluice run`'s, where it ran",
    )
    home_argument(monitor)
