"""The commands that say why: diagnose, logs."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import PACKAGE, Add, Commands, home_argument, positive, project_file


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

    logs = commands.add_parser("logs", help="what the logs of a model server say")
    logs_commands = logs.add_subparsers(dest="logs_command", metavar="COMMAND", required=True)
    analyze = add(
        "analyze",
        "errors, slow answers and the worst inputs, by version and hour; exit status 3 over a limit",
        "logs:analyze",
        logs_commands,
    )
    analyze.add_argument(
        "log",
        nargs="+",
        metavar="LOG",
        help="an access log (JSON lines), a prediction log's folder, files of either, or s3://bucket/prefix",
    )
    analyze.add_argument("--model", metavar="NAME", help="of this model alone")
    analyze.add_argument("--slow-ms", type=positive, default=1000, metavar="MS", help="an answer is slow beyond it; default 1000")
    analyze.add_argument(
        "--most-errors", type=float, metavar="SHARE", help="of all requests; more of status 500 and above are exit status 3"
    )
    analyze.add_argument("--most-slow", type=float, metavar="SHARE", help="of all answers; more slow ones are exit status 3")
    analyze.add_argument("--worst", type=positive, default=10, metavar="N", help="how many of the worst are shown; default 10")
    analyze.add_argument("--report", type=Path, metavar="FILE", help="an HTML report")
    analyze.add_argument(
        "--memory-mb", type=positive, default=512, metavar="MB", help="it may take; beyond it the disk is used; default 512"
    )
