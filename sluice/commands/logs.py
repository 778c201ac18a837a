"""`sluice logs analyze`: what the logs of a model server say."""

from __future__ import annotations

import argparse
from typing import Any

from sluice.cli import show_json
from sluice.core import files
from sluice.core.errors import ProjectError


def analyze(args: argparse.Namespace) -> int:
    """0; 3 where errors or slow answers are more than was allowed."""
    from sluice.monitor import logs, logs_report
    from sluice.report.page import document

    for name in ("most_errors", "most_slow"):
        share = getattr(args, name)
        if share is not None and not 0 <= share <= 1:
            raise ProjectError(
                "must be a share from 0 to 1", field="--" + name.replace("_", "-"), value=share, fix="0.01 is one in a hundred"
            )
    found = logs.analyze(args.log, logs.Asked(args.model, args.slow_ms, args.worst, args.memory_mb))
    found["over"] = over(found, args.most_errors, args.most_slow)
    found["sentence"] = logs_report.sentence(found)
    if args.report:
        files.write_text(args.report, document("Logs", logs_report.body(found)))
    code = 3 if found["over"] else 0
    if args.json:
        show_json({**found, "report": str(args.report) if args.report else None, "exit_code": code})
    else:
        _show(found, args.report)
    return code


def over(found: dict[str, Any], errors: float | None, slow: float | None) -> list[str]:
    """Which limits are broken, in words."""
    access = found["access"]
    out = []
    for name, limit, what in (("errors", errors, "requests that failed"), ("slow", slow, f"answers slower than {found['slow_ms']:g} ms")):
        if limit is not None and access is None:
            raise ProjectError("needs an access log", field="LOG", fix="name the server's --access-log file too")
        if limit is not None and (access[name] or 0) > limit:
            out.append(f"{what}: {100 * access[name]:.3g} %, more than {100 * limit:.3g} %")
    return out


def _show(found: dict[str, Any], report: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from sluice.monitor import logs_report

    console = Console()
    for head, rows, numeric in logs_report.tables(found):
        shown = Table(box=None, padding=(0, 1), title=head[0], title_justify="left")
        for i, name in enumerate(head[1:]):
            shown.add_column(name, justify="right" if i in numeric else "left", overflow="fold")
        for row in rows[-24:] if head[0].endswith("by hour") else rows[:12]:
            shown.add_row(*(str(c) for c in row))
        console.print(shown)
    for fault in found["faults"]:
        console.print(f"! {fault}", markup=False)
    for said in found["over"]:
        console.print(f"over the limit: {said}", markup=False, style="red")
    console.print(found["sentence"], markup=False, soft_wrap=True)
    if report:
        console.print(str(report), markup=False, soft_wrap=True)
