"""The command line: what it takes, a file for each kind of command. Nothing heavy is imported for it."""

from __future__ import annotations

import argparse
from typing import Any

from sluice import __version__
from sluice.arguments import diagnosing, environments, finetuning, looking, models, prompts, proof, terminal, ui, watching, work


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="sluice",
        description="ML pipelines with gates: on this machine, or on Kubeflow.",
        epilog="exit status: 0 done or promoted, 1 fault, 2 bad project or data, 3 a gate refused, 4 rolled back",
    )
    top.add_argument("--version", action="version", version=f"sluice {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, help_: str, handler: str, parent: Any = commands) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = parent.add_parser(name, help=help_, description=help_)
        made.add_argument("--json", action="store_true", help="print one JSON object on stdout")
        made.set_defaults(handler=handler)
        return made

    for kind in (work, models, finetuning, environments, proof, looking, watching, diagnosing, prompts, terminal, ui):
        kind.add_to(commands, add)
    return top
