"""`sluice run`."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

from sluice import project as projects
from sluice.cli import checkout_command, show_json
from sluice.core.files import canonical_json
from sluice.core.home import Home
from sluice.project import Project
from sluice.tracking.tracker import check_trackers


def open_project(args: argparse.Namespace) -> tuple[Project, str]:
    """The project the arguments name, and its text with overrides applied and defaults left out."""
    raw = projects.read_yaml(args.project)
    for item in args.overrides:
        projects.override(raw, item)
    found = projects.parse(raw, where=args.project.name, base_dir=args.project.resolve().parent)
    return found, canonical_json(raw).decode()


def run(args: argparse.Namespace) -> int:
    """Run a project's pipeline here; exits as its outcome says: 0 promoted, 3 refused, 4 rolled back."""
    project, text = open_project(args)
    execute = checkout_command("run")
    check_trackers(project)
    command = "sluice run " + shlex.quote(str(args.project))
    outcome = execute(
        project, text=text, base_dir=args.project.resolve().parent, home=Home(args.home), command=command, quiet=args.quiet or args.json
    )
    if args.json:
        show_json(outcome)
    else:
        show_conclusion(outcome)
    return int(outcome["exit_code"])


def show_conclusion(outcome: dict[str, Any]) -> None:
    """What a run came to, in words: the result on stdout, a failure on stderr."""
    from sluice.client import advice

    name, seconds = outcome["project"], outcome["seconds"]
    if outcome["outcome"] == "failed":
        error = outcome["error"]
        at = f"{error['field']}: " if error.get("field") else ""
        got = f" (got {error['value']})" if error.get("value") is not None else ""
        print(f"sluice: {at}{error['message']}{got}", file=sys.stderr)
        if error.get("fix"):
            print(f"  fix: {error['fix']}", file=sys.stderr)
        print(f"  log: {outcome['log']}" if "log" in outcome else f"  run: {outcome['url'] or outcome['run']}", file=sys.stderr)
        return
    if outcome["outcome"] == "promoted":
        print(f"promoted: {name} version {outcome['version']}  sha256:{outcome['digest'][:12]}  in {seconds:.0f} s")
    elif outcome["outcome"] == "rolled_back":
        print(f"rolled back: {name} version {outcome['version']}; the champion, if there is one, still serves")
    else:
        print(f"refused by {outcome['gate']}: nothing was rolled out; the champion, if there is one, still serves")
    if outcome["outcome"] != "promoted":
        for reason in outcome["reasons"]:
            print(f"  - {reason}")
    for caution in outcome.get("cautions") or ():
        if not any(caution in reason for reason in outcome["reasons"]):
            print(f"  ! {caution}")
    if outcome["outcome"] == "rolled_back" and "report" in outcome:
        print(f"again, without training: {advice.retry_command(outcome)}")
    if outcome["outcome"] == "refused":
        print(f"next: {advice.after_refusal(outcome)}")
    print(f"report: {advice.near(outcome['report'])}" if "report" in outcome else f"run: {outcome['url'] or outcome['run']}")
