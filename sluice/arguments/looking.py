"""The commands that look: data, doctor, rollout."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import Add, Commands, endpoint_arguments, fraction, home_argument, positive, project_arguments


def add_to(commands: Commands, add: Add) -> None:
    """Add them, in this order."""
    data = commands.add_parser("data", help="look at a project's data")
    data_commands = data.add_subparsers(dest="data_command", metavar="COMMAND", required=True)
    check = add("check", "run the data checks alone", "data:check", data_commands)
    project_arguments(check)
    infer = add("infer", "propose declared checks from the data", "data:infer", data_commands)
    project_arguments(infer)
    infer.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write a file of rules instead, to review and name in data.schema_file"
    )
    infer.add_argument("--force", action="store_true", help="write over FILE")
    diff = add("diff", "what changed between two versions of data: columns, rows, cells, drift", "data_diff:diff", data_commands)
    what = "a file or any other source, a project, a dataset's folder or digest, NAME@champion"
    diff.add_argument("a", metavar="A", help=what)
    diff.add_argument("b", metavar="B", help="the same")
    diff.add_argument(
        "--key", action="append", default=[], metavar="COL", help="names a row; may be repeated; default: rows are told by content"
    )
    diff.add_argument("--tolerance", type=fraction, default=0.0, metavar="F", help="fraction of rows that may differ; default 0")
    diff.add_argument(
        "--drift", type=fraction, metavar="PSI", help="rows may differ: what counts is whether a column moved by more than this"
    )
    diff.add_argument("--sensitive", action="append", default=[], metavar="COL", help="show none of its values; may be repeated")
    home_argument(diff)

    doctor = add("doctor", "what works and what does not, here and on the cluster, each with the command that mends it", "doctor:doctor")
    home_argument(doctor)
    doctor.add_argument("--local", action="store_true", help="look at this machine alone")
    doctor.add_argument(
        "--no-pods", action="store_true", help="start no pod on the cluster: what steps and model servers reach from there is not asked"
    )
    doctor.add_argument("--timeout", type=positive, default=10, metavar="SECONDS", help="for each look; default 10")
    doctor.add_argument("--pod-timeout", type=positive, default=120, metavar="SECONDS", help="for each of the two pods; default 120")
    doctor.add_argument("--environment", metavar="NS", help="the namespace Sluice is installed in; default: $SLUICE_NAMESPACE, else sluice")
    endpoint_arguments(doctor)

    rollout = commands.add_parser("rollout", help="a rollout, here or on the cluster")
    rollout_commands = rollout.add_subparsers(dest="rollout_command", metavar="COMMAND", required=True)
    for name, help_ in (
        ("status", "where it stands and why"),
        ("watch", "follow it live until it ends; exit status as of `sluice run`"),
        ("explain", "every decision with the numbers it stood on"),
        ("pause", "hold the weights"),
        ("resume", "go on after a pause"),
        ("abort", "roll back now"),
        ("promote", "promote now, without more evidence"),
        ("retry", "try the rejected model again, without training; here it ends as `sluice run` does"),
    ):
        one = add(name, help_, f"rollout:{name}", rollout_commands)
        one.add_argument("name", metavar="NAME")
        where = one.add_mutually_exclusive_group()
        home_argument(where)
        where.add_argument("-n", "--namespace", metavar="NS", help="of a ModelRollout on the cluster; without it, a rollout in the home")
        if name == "retry":
            one.add_argument(
                "--set", action="append", default=[], dest="overrides", metavar="rollout.A=V", help="override a key of its plan; here only"
            )
            one.add_argument("--quiet", action="store_true", help="show no progress")
