"""`sluice data check` and `sluice data infer`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rich.console import Console

from sluice.cli import show_json
from sluice.commands.run import open_project
from sluice.core import files, yamlfile
from sluice.core.errors import ProjectError
from sluice.data.infer import infer_checks
from sluice.data.prepare import load_canonical, schema_of, validate_project_data
from sluice.data.rules.schema import parse_schema
from sluice.project import Project
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
    """Print checks the present data passes, to be pasted into the project file; with ``-o``, write a file of rules to review."""
    project, _ = open_project(args)
    base = args.project.resolve().parent
    if args.output is not None:
        return _schema(project, base, args)
    table, kinds, objective = load_canonical(project, base, load_task(project, base))
    checks = infer_checks(table, kinds, objective)
    if args.json:
        show_json({"data": {"checks": checks}})
    else:
        print(yamlfile.dump({"data": {"checks": checks}}), end="")
    return 0


def _schema(project: Project, base: Path, args: argparse.Namespace) -> int:
    if args.output.exists() and not args.force:
        raise ProjectError(
            "is there already", field="-o", value=str(args.output), fix="compare it with --output elsewhere, or write over it with --force"
        )
    text = schema_of(project, base, load_task(project, base))
    files.write_text(args.output, text)
    columns = len(parse_schema(text, args.output.name).columns)
    setting = os.path.relpath(args.output.resolve(), base)
    if args.json:
        show_json({"file": str(args.output), "columns": columns, "data": {"schema_file": setting}})
    else:
        print(f"{args.output}: rules of {columns} columns. Review it, then name it in the project:\n\ndata:\n  schema_file: {setting}")
    return 0
