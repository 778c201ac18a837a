"""The command line, read off its own argument parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from docs.generate.words import cell, sentence, table
from sluice.arguments import parser


def page() -> str:
    """Every command with its arguments, in the parser's order."""
    top = parser()
    out = ["# Command line", f"{top.description} {sentence(top.epilog)}", "`python -m sluice` is the same command."]
    for name, command in commands(top):
        out += [f"## sluice {name}", f"{sentence(command.description)}", f"```text\n{_usage(command, name)}\n```", _table(command)]
    return "\n\n".join(part for part in out if part) + "\n"


def commands(top: argparse.ArgumentParser, before: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command that can be typed: its words, and its parser; those that only hold others are left out."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                inner = list(commands(command, f"{before}{name} "))
                yield from inner or [(f"{before}{name}", command)]


def _usage(command: argparse.ArgumentParser, name: str) -> str:
    formatter = argparse.HelpFormatter(f"sluice {name}", width=110)
    formatter.add_usage(command.usage, command._actions, command._mutually_exclusive_groups, prefix="")
    return formatter.format_help().strip()


def _table(command: argparse.ArgumentParser) -> str:
    shown = (a for a in command._actions if not isinstance(a, argparse._HelpAction | argparse._SubParsersAction))
    return table(["argument", "meaning"], [[cell(f"`{_spelling(a)}`"), _cell(a)] for a in shown if a.help is not argparse.SUPPRESS])


def _spelling(action: argparse.Action) -> str:
    value = argparse.HelpFormatter("")._format_args(action, (action.metavar or action.dest.upper())) if action.nargs != 0 else ""  # type: ignore[arg-type]
    if not action.option_strings:
        return value or action.dest
    return f"{', '.join(action.option_strings)} {value}".strip()


def _cell(action: argparse.Action) -> str:
    said = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
    choices = f" One of {', '.join(f'`{c}`' for c in action.choices)}." if action.choices and action.metavar else ""
    return sentence(cell(said)) + choices
