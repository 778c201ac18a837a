"""`sluice diagnose MODEL`: why a model is not what it was."""

from __future__ import annotations

import argparse
from typing import Any

from sluice.cli import show_json
from sluice.core import files
from sluice.core.errors import DataError
from sluice.core.home import Home
from sluice.package import package as packages
from sluice.registry.references import locate

#: Rows of a table in the terminal.
_SHOWN = 6


def diagnose(args: argparse.Namespace) -> int:
    """0 where nothing is wrong, 3 where something is."""
    from sluice.commands.monitor import settings
    from sluice.monitor import diagnosis, diagnosis_report, timeline
    from sluice.monitor.quality import Judge
    from sluice.report.page import document

    home = Home(args.home)
    package = packages.read(locate(args.name, home))
    profile = package.profile()
    if profile is None:
        raise DataError("has no profile of its training rows", field="MODEL", value=args.name, fix="train it again with this version")
    config, name, cautions = settings(args), args.model or package.name, []
    events = timeline.of_home(home, name) + (timeline.of_file(args.events) if args.events else [])
    judge = None
    try:
        judge = Judge.of(package, config.quality.metric)
    except DataError as e:
        cautions.append(f"labels were not looked at: the model {e.message}; {e.fix}")
    found = diagnosis.diagnose(
        profile,
        args.log or home.root / "log",
        name,
        version="" if args.any_version else package.digest,
        config=config,
        judge=judge,
        package=package,
        events=events,
    )
    found["cautions"] += cautions
    out = args.report or home.reports / f"diagnosis-{name}.html"
    files.write_text(out, document(f"{name}: {found['kind']}", diagnosis_report.body(found)))
    code = 3 if found["wrong"] else 0
    if args.json:
        show_json({**found, "digest": package.digest, "report": str(out), "exit_code": code})
    else:
        _show(found, str(out))
    return code


def _show(found: dict[str, Any], report: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from sluice.monitor import diagnosis_report

    console = Console()
    for head, rows, numeric in diagnosis_report.tables(found):
        shown = Table(*([""] * 0), box=None, padding=(0, 1), title=head[0], title_justify="left")
        for i, name in enumerate(head[1:]):
            shown.add_column(name, justify="right" if i in numeric else "left")
        for row in rows[:_SHOWN]:
            shown.add_row(*(str(c) for c in row))
        console.print(shown)
        if len(rows) > _SHOWN:
            console.print(f"and {len(rows) - _SHOWN} more in the report")
    for caution in found["cautions"]:
        console.print(f"! {caution}", markup=False)
    console.print(f"{found['model']}: {found['sentence']}", markup=False, soft_wrap=True)
    console.print(report, markup=False, soft_wrap=True)
