"""The commands that move a model between environments and tell its story: promote, rollback, audit."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import Add, Commands, home_argument, project_file


def add_to(commands: Commands, add: Add) -> None:
    """Add them, in this order."""
    promote = add(
        "promote",
        "a version to another environment: gated, with the record kept; here, on a cluster, or as one digest in a file",
        "promotion:promote",
    )
    promote.add_argument("name", metavar="NAME", help="NAME for the champion where it comes from, NAME@VERSION, or a digest")
    promote.add_argument("--to", required=True, metavar="ENV", help="dev, staging, production, or one of environments.yaml")
    promote.add_argument("--from", dest="source", metavar="ENV", help="default: the nearest before it that has a champion")
    promote.add_argument("--reason", metavar="TEXT", help="kept in the audit log")
    promote.add_argument("--override", action="store_true", help="set refusals aside; needs --reason, and is kept with your name")
    promote.add_argument("--dry-run", action="store_true", help="judge, and change nothing")
    promote.add_argument(
        "--data",
        type=project_file,
        metavar="PROJECT",
        help="compare with the champion there again, on this project's test rows as they are now",
    )
    file = promote.add_mutually_exclusive_group()
    file.add_argument(
        "--write", type=Path, metavar="FILE", help="change the one digest in Helm values, a kustomization or a ModelRollout there"
    )
    file.add_argument("--patch", type=Path, metavar="FILE", help="only print that change, as `git apply` takes it")
    promote.add_argument("--key", metavar="A.B", help="with --write or --patch: which digest, where there are more")
    promote.add_argument("--wait", action="store_true", help="on a cluster: for the verdict; exit status 4 where it was rolled back")
    rollback = add("rollback", "put back what served before, in seconds: here, or on a cluster by its controller", "promotion:rollback")
    rollback.add_argument("name", metavar="NAME")
    rollback.add_argument("--in", dest="environment", default="dev", metavar="ENV", help="default: dev")
    rollback.add_argument("--reason", metavar="TEXT", help="why; required, and kept with your name")
    rollback.add_argument("--to", dest="version", metavar="VERSION", help="another than the one before; not on a cluster")
    rollback.add_argument("--again", action="store_true", help="take back also one that a rollback put there")
    rollback.add_argument("--dry-run", action="store_true", help="say what would be done")
    rollback.add_argument("-n", "--namespace", metavar="NS", help="of the ModelRollout on the cluster; default: as environments.yaml says")
    for one in (promote, rollback):
        one.add_argument(
            "--environments", type=Path, metavar="FILE", help="default: $SLUICE_ENVIRONMENTS, else environments.yaml in the home"
        )
        home_argument(one)

    audit = add("audit", "the story of a model back to its data, from the audit log; or is that log what was written", "audit:audit")
    audit.add_argument(
        "model", metavar="MODEL", help="NAME, NAME@VERSION or NAME@ALIAS; or the word verify: exit status 3 where it was changed"
    )
    audit.add_argument("--html", type=Path, metavar="FILE", help="write it as a page there")
    home_argument(audit)
