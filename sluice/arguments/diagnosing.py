"""The commands that say why: diagnose."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import PACKAGE, Add, Commands, home_argument, project_file


def add_to(commands: Commands, add: Add) -> None:
    """Add them, in this order."""
    diagnose = add(
        "diagnose",
        "why a model is not what it was: a broken source, a real shift or another truth; exit status 3 where something is wrong",
        "diagnose:diagnose",
    )
    diagnose.add_argument("name", metavar="MODEL", help=PACKAGE)
    diagnose.add_argument(
        "--log", metavar="DIR", help="the prediction log, as `sluice serve --log` writes it, or s3://...; default: log in the home"
    )
    diagnose.add_argument("--model", metavar="NAME", help="the model's name in the log; default: the package's")
    diagnose.add_argument("--any-version", action="store_true", help="look at the answers of every version; default: the package's own")
    diagnose.add_argument(
        "--project", type=project_file, metavar="PROJECT", help="whose monitor: says what counts; default: MODEL's, if it is a project"
    )
    diagnose.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="monitor.A=V", help="override a key of it; may be repeated"
    )
    diagnose.add_argument(
        "--events",
        type=Path,
        metavar="FILE",
        help='alerts and the like for the timeline: lines {"time", "what", "text"}, or Alertmanager\'s',
    )
    diagnose.add_argument("--report", type=Path, metavar="FILE", help="the HTML report; default: reports/diagnosis-NAME.html in the home")
    home_argument(diagnose)
