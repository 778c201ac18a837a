"""The commands of the terminal itself: open, completion."""

from __future__ import annotations

from sluice.arguments.shared import Add, Commands, home_argument


def add_to(commands: Commands, add: Add) -> None:
    """Add them, in this order."""
    open_ = add("open", "show a run's report in the browser", "open:open_")
    open_.add_argument("name", nargs="?", metavar="NAME", help="a run, or a project: its last run; default: the last run of all")
    open_.add_argument("--print", action="store_true", dest="only_print", help="print where it is; start no browser")
    home_argument(open_)

    completion = add("completion", "print the script that completes this command line in a shell", "completion:completion")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), help='bash: eval "$(sluice completion bash)" in ~/.bashrc')
