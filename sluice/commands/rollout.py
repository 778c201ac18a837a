"""`sluice rollout ...`, of a rollout in this home or (with ``--namespace``) of a ModelRollout on a cluster."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from sluice.cli import show_json
from sluice.home import Home
from sluice.rollouts import cluster, control


def _found(args: argparse.Namespace) -> dict[str, Any]:
    return cluster.status(args.namespace, args.name) if args.namespace else control.status(Home(args.home).root, args.name)


def _show(found: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        show_json(found)
    else:
        print(text)


def status(args: argparse.Namespace) -> int:
    found = _found(args)
    _show(found, control.summary(found), args.json)
    return 0


def explain(args: argparse.Namespace) -> int:
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
    return _ask(args, "pause")


def resume(args: argparse.Namespace) -> int:
    return _ask(args, "resume")


def abort(args: argparse.Namespace) -> int:
    return _ask(args, "abort")


def promote(args: argparse.Namespace) -> int:
    return _ask(args, "promote")


def retry(args: argparse.Namespace) -> int:
    return _ask(args, "retry")
