"""`sluice monitor NAME`: a model's prediction log against the profile of its training rows, and its answers against the labels that came."""

from __future__ import annotations

import argparse
from typing import Any

from sluice.arguments.shared import project_file
from sluice.cli import show_json
from sluice.commands import retraining
from sluice.core import files
from sluice.core.errors import DataError, ProjectError
from sluice.core.home import Home
from sluice.core.section import checked
from sluice.monitor.config import MonitorConfig
from sluice.monitor.log import PredictionLog
from sluice.monitor.watch import Watch
from sluice.package import package as packages
from sluice.registry.references import locate


def monitor(args: argparse.Namespace) -> int:
    """0 where nothing moved, 3 where an alarm stands or labels say that the answers are worse."""
    from sluice.monitor import keep, quality_watch, report
    from sluice.report.page import document

    home = Home(args.home)
    package = packages.read(locate(args.name, home))
    profile = package.profile()
    if profile is None:
        raise DataError("has no profile of its training rows", field="PACKAGE", value=args.name, fix="train it again with this version")
    name = args.model or package.name
    log = PredictionLog(args.log or home.root / "log", name, version=package.digest)
    config, kept = settings(args), home.root / "monitor" / f"{name}-{package.digest[:12]}.json"
    if args.retrain:
        retraining.check(args, package.name)
    look = Watch(profile, config, log, kept).look(again=args.again)
    found = look.to_dict()
    found |= quality_watch.of_package(package, config, args.log or home.root / "log", name, keep.beside(str(kept)), again=args.again)
    found["faults"] = [*found["faults"], *found.pop("unread")]
    if args.evidently:
        from sluice.monitor import evidently_report

        log = PredictionLog(args.log or home.root / "log", name, version=package.digest)
        found["evidently"] = evidently_report.write(profile, log, args.evidently, config.drift.baseline)
    wrong = found["standing"] or (found["quality"] or {}).get("wrong")
    code = 3 if wrong else 0
    out = args.report or home.reports / f"monitor-{name}.html"
    files.write_text(out, document(f"{name}: monitor", report.body(name, found)))
    told = {"model": name, "digest": package.digest, "headline": report.headline(found), "report": str(out), **found}
    if not args.json:
        _show(told)
    if args.retrain:
        told["retraining"] = retraining.follow(
            args, home, name, package.digest, config.retrain, retraining.events(look, found["quality"]), quiet=args.json
        )
        code = told["retraining"].get("exit_code", code)
    if args.json:
        show_json({**told, "history": told["history"][-20:], "exit_code": code})
    elif args.retrain:
        retraining.show(told["retraining"])
    return code


def settings(args: argparse.Namespace) -> MonitorConfig:
    """`monitor:` of the project that was named, with what was overridden.

    Raises:
        ProjectError: it is wrong.
    """
    from sluice import project as projects

    own: Any = {}
    path = retraining.project_of(args)
    if args.project and path != project_file(str(args.project)):
        raise ProjectError("there is no such file", field="--project", value=str(args.project))
    if path is not None:
        own = projects.load(path).monitor
    raw: dict[str, Any] = {"monitor": own.model_dump() if isinstance(own, MonitorConfig) else {}}
    for item in args.overrides:
        if not item.startswith("monitor."):
            raise ProjectError("is no setting of the monitor", field="--set", value=item, fix="write monitor.drift.threshold=0.3, say")
        projects.override(raw, item)
    found = checked(MonitorConfig, raw["monitor"], "monitor")
    assert isinstance(found, MonitorConfig)
    return found


#: Columns of a terminal from which on all of the table is shown; which of them before; most of a feature's name on one line.
_WIDE, _NARROW, _NAME = 110, (0, 1, 3, 6, 8), 32


def _show(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sluice.monitor import quality_watch, report

    console = Console()
    console = console if console.is_terminal else Console(width=200)  # to a file or a pipe: unfolded
    last = told["last"]
    if last:
        shown = Table(
            title=f"window {last['window']}: {last['rows']:,} rows {last['begun']} {last['ended']}",
            title_justify="left",
            box=None,
            padding=(0, 1),
        )
        every = report.rows_of(last)
        kept = range(len(report.HEAD)) if console.width >= _WIDE else _NARROW
        for i in kept:
            shown.add_column(
                report.HEAD[i],
                justify="right" if i in (1, 3, 4, 5, 6, 7) else "left",
                style="bold red" if i == 8 else None,
                overflow="fold",
                # a column of the data is known by its name, so that is not cut
                min_width=min(_NAME, max(len(row[0]) for row in every[:30])) if i == 0 and every else None,
            )
        for row in every[:30]:
            shown.add_row(*(Text(row[i]) for i in kept))  # what stands in brackets is part of a name
        console.print(shown)
        if len(every) > 30:
            console.print(f"and {len(every) - 30} more in the report")
    for alarm in told["standing"]:
        console.print(f"! {alarm['text']}{' since ' + alarm['since'] if alarm['since'] else ''}", markup=False, style="red")
    console.print(f"{told['model']}: {told['headline']}", markup=False)
    if "evidently" in told:
        console.print(f"Evidently: {told['evidently']['page']}", markup=False)
    judged = told["quality"]
    if judged:
        console.print(
            f"{'! ' if judged['wrong'] else ''}{quality_watch.headline(judged)}", markup=False, style="red" if judged["wrong"] else None
        )
        maybe = quality_watch.maybe_rose(judged["risen"] or {})
        if maybe:
            console.print(f"? {maybe}", markup=False)
    for fault in told["faults"]:
        console.print(f"not read: {fault}", markup=False)
    console.print(f"{told['new_rows']:,} new rows, {told['open']:,} in the open window · {told['report']}", markup=False)
