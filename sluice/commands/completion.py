"""`sluice completion`: what a shell needs to complete the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sluice.arguments import parser
from sluice.arguments.shared import project_file
from sluice.cli import show_json
from sluice.core.errors import MissingExtra


def completion(args: argparse.Namespace) -> int:
    """Print the script; the shell reads it once, and starts no Python for each key."""
    try:
        import shtab
    except ImportError:
        raise MissingExtra("a completion script needs shtab", field="sluice completion", fix="pip install shtab") from None
    script = shtab.complete(with_files(parser(), shtab.FILE), shell=args.shell)
    if args.json:
        show_json({"shell": args.shell, "script": script})
    else:
        print(script)
    return 0


def with_files(parser: argparse.ArgumentParser, kind: Any) -> argparse.ArgumentParser:
    """The same, in which each argument that is a path is completed with the names of files."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                with_files(one, kind)
        elif action.type in (Path, project_file) or action.metavar in ("FILE", "DIR", "PACKAGE"):
            action.complete = kind  # type: ignore[attr-defined]
    return parser
