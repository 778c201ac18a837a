"""`sluice rollout ...`, of a rollout in this home or (with ``--namespace``) of a ModelRollout on a cluster."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sluice.cli import checkout_command, show_json
from sluice.core.errors import RolloutError
from sluice.core.home import Home
from sluice.rollouts import cluster, control


def _found(args: argparse.Namespace) -> dict[str, Any]:
    return cluster.status(args.namespace, args.name) if args.namespace else control.status(Home(args.home).root, args.name)


def _show(found: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        show_json(found)
    else:
        print(text)


def status(args: argparse.Namespace) -> int:
    """Show where a rollout stands; 0."""
    found = _found(args)
    _show(found, control.summary(found), args.json)
    return 0


def explain(args: argparse.Namespace) -> int:
    """Show why it stands there, with the evidence; 0."""
    found = _found(args)
    _show(found, control.explain(found), args.json)
    return 0


def watch(args: argparse.Namespace) -> int:
    """Ends as ``sluice run`` does: 0 promoted, 4 rolled back; 1 when it ended with neither."""
    found = cluster.watch(args.namespace, args.name) if args.namespace else control.watch(Home(args.home).root, args.name)
    code = control.ended(found)
    if args.json:
        show_json({**found, "exit_code": code})
    if code == 1:
        print(f"sluice: {control.headline(found)}", file=sys.stderr)
    return code


def _ask(args: argparse.Namespace, action: str) -> int:
    if args.namespace:
        asked = cluster.request(args.namespace, args.name, action)
    else:
        asked = control.request(Home(args.home).root, args.name, action)
    _show(asked, f"{args.name}: {action} asked for", args.json)
    return 0


def pause(args: argparse.Namespace) -> int:
    """Ask it to stand still; 0."""
    return _ask(args, "pause")


def resume(args: argparse.Namespace) -> int:
    """Ask it to go on; 0."""
    return _ask(args, "resume")


def abort(args: argparse.Namespace) -> int:
    """Ask it to roll back; 0."""
    return _ask(args, "abort")


def promote(args: argparse.Namespace) -> int:
    """Ask it to take the candidate without further evidence; 0."""
    return _ask(args, "promote")


def retry(args: argparse.Namespace) -> int:
    """On a cluster a word to the controller; here the rollout itself, and its exit status is that of ``sluice run``."""
    if args.namespace and args.overrides:
        raise RolloutError(
            "can be overridden only here", field="--set", value=args.overrides[0], fix="on a cluster change the ModelRollout's spec"
        )
    if args.namespace:
        return _ask(args, "retry")
    from sluice import project as projects
    from sluice.commands.run import show_conclusion
    from sluice.core.files import canonical_json
    from sluice.rollouts import again

    home = Home(args.home)
    kept = again.kept(home.root, args.name)
    raw = projects.read_text(kept.project, "the rolled back run's project")
    for item in args.overrides:
        if not item.startswith("rollout."):
            raise RolloutError(
                "is no part of the plan; all else is in the package",
                field="--set",
                value=item,
                fix="`sluice run` with the setting trains anew",
            )
        projects.override(raw, item)
    project = projects.parse(raw, where="the rolled back run's project", base_dir=Path(kept.base_dir))
    outcome = checkout_command("run")(
        project,
        text=canonical_json(raw).decode(),
        base_dir=Path(kept.base_dir),
        home=home,
        command=f"sluice rollout retry {args.name}",
        quiet=args.quiet or args.json,
        again=kept,
    )
    if args.json:
        show_json(outcome)
    else:
        show_conclusion(outcome)
    return int(outcome["exit_code"])
