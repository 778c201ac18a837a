"""`sluice data check` and `sluice data infer`."""

from __future__ import annotations

import argparse

from rich.console import Console

from sluice.cli import show_json
from sluice.commands.run import open_project
from sluice.core import yamlfile
from sluice.data.infer import infer_checks
from sluice.data.prepare import load_canonical, validate_project_data
from sluice.tasks import load_task

_SIGN = {"pass": "[green]✔[/]", "warn": "[yellow]![/]", "refuse": "[red]✘[/]"}


def check(args: argparse.Namespace) -> int:
    """0 when the data passes, 3 when it is refused."""
    project, _ = open_project(args)
    base = args.project.resolve().parent
    report = validate_project_data(project, base, load_task(project, base))
    if args.json:
        show_json({"decision": report.decision, "reasons": list(report.reasons), **report.to_dict()})
    else:
        console = Console(highlight=False)
        for item in report.to_dict()["checks"]:
            console.print(f"{_SIGN[item['status']]} {item['name']}: ", end="")
            console.print(item["message"], markup=False)
        console.print(f"{report.decision}", style="bold")
    return 0 if report.decision == "pass" else 3


def infer(args: argparse.Namespace) -> int:
    """Print checks the present data passes, to be pasted into the project file."""
    project, _ = open_project(args)
    base = args.project.resolve().parent
    table, kinds, objective = load_canonical(project, base, load_task(project, base))
    checks = infer_checks(table, kinds, objective)
    if args.json:
        show_json({"data": {"checks": checks}})
    else:
        print(yamlfile.dump({"data": {"checks": checks}}), end="")
    return 0
