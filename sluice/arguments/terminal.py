"""The commands beside the models: open, completion, backup, restore."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import Add, Commands, home_argument


def add_to(commands: Commands, add: Add) -> None:
    """Add them, in this order."""
    open_ = add("open", "show a run's report in the browser", "open:open_")
    open_.add_argument("name", nargs="?", metavar="NAME", help="a run, or a project: its last run; default: the last run of all")
    open_.add_argument("--print", action="store_true", dest="only_print", help="print where it is; start no browser")
    home_argument(open_)

    completion = add("completion", "print the script that completes this command line in a shell", "completion:completion")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), help='bash: eval "$(sluice completion bash)" in ~/.bashrc')

    backup = add(
        "backup", "a home (registry, packages, runs, audit log) in one file, or an environment's objects on the cluster", "backup:backup"
    )
    backup.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: sluice-home-TIME.tar.gz here")
    backup.add_argument("--force", action="store_true", help="write over FILE")
    backup.add_argument("--keys", action="store_true", help="private keys too")
    restore = add("restore", "put a backup back: into a new home, or into a namespace", "backup:restore")
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.add_argument(
        "--lease", default="sluice-rollout", help="the controller's, which nobody may hold meanwhile; default: sluice-rollout"
    )
    for one in (backup, restore):
        where = one.add_mutually_exclusive_group()
        home_argument(where)
        where.add_argument("-n", "--namespace", metavar="NS", help="an environment on the cluster: rollouts, runs, schedules, monitors")
        one.add_argument("--context", help="of the kubeconfig; default: its current one")
