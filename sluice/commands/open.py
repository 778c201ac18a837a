"""`sluice open`: a run's report in the browser."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from sluice.cli import show_json
from sluice.core.errors import ProjectError
from sluice.core.home import Home

#: Without one of these a Unix machine has no window to show a page in.
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


def open_(args: argparse.Namespace) -> int:
    """The report's path on stdout; the browser too, where there is one."""
    home = Home(args.home)
    outcome = chosen(home, args.name)
    report = Path(outcome["report"])
    if not report.is_file():
        raise ProjectError(
            "the run's report is not there any more", field="NAME", value=outcome["run"], fix="sluice history lists the runs"
        )
    shown = not (args.only_print or args.json) and has_screen() and _browse(report)
    if args.json:
        show_json({"run": outcome["run"], "project": outcome["project"], "outcome": outcome["outcome"], "report": str(report)})
    else:
        print(report)
        if not (shown or args.only_print):
            print("there is no browser here: copy that file, or `sluice ui` serves all of them", file=sys.stderr)
    return 0


def chosen(home: Home, name: str | None) -> dict[str, Any]:
    """The run of that id, the last run of that project, or the last of all.

    Raises:
        ProjectError: there is none; it names what there is.
    """
    runs = [o for o in home.outcomes() if o.get("report")]
    found = [o for o in runs if name in (None, o["run"], o["project"])]
    if found:
        return found[0]
    if not runs:
        raise ProjectError("no run has ended in this home", field="--home", value=str(home.root), fix="sluice run PROJECT, or --home DIR")
    names = ", ".join(sorted({o["project"] for o in runs})[:10])
    raise ProjectError("is no run and no project of this home", field="NAME", value=name, fix=f"there is: {names}")


def has_screen() -> bool:
    """Whether a page can be shown to who sits here: a browser on a server far away helps nobody, and one in the terminal takes it over."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(s) for s in _SCREENS)


def _browse(report: Path) -> bool:
    import webbrowser

    try:
        return webbrowser.open(report.as_uri())
    except webbrowser.Error:
        return False
