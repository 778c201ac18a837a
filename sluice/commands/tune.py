"""`sluice tune`."""

from __future__ import annotations

import argparse
import shlex

from sluice.cli import checkout_command, show_json
from sluice.commands.run import open_project
from sluice.core.home import Home
from sluice.tuning.study import settings_of


def tune(args: argparse.Namespace) -> int:
    """Search for better settings, and say how to train with the best; 0."""
    project, text = open_project(args)
    settings_of(project)
    found = checkout_command("tune")(
        project,
        text=text,
        base_dir=args.project.resolve().parent,
        home=Home(args.home),
        command="sluice tune " + shlex.quote(str(args.project)),
        output=args.output,
        quiet=args.quiet or args.json,
    )
    if args.json:
        show_json(found)
        return 0
    best = found["best"]
    print(f"best of {found['trials']} trials: {found['metric']} {best['value']:.5g} (trial {best['number']})")
    for key, value in best["params"].items():
        print(f"  {key}: {value:.6g}" if isinstance(value, float) else f"  {key}: {value}")
    overrides = " ".join(f"--set {shlex.quote(f'{key}={value}')}" for key, value in best["params"].items())
    print(f"report:  {found['report']}\nproject: {found['project']}\ntrain it: sluice run {shlex.quote(str(args.project))} {overrides}")
    return 0
