"""`sluice rollout ...`."""

from __future__ import annotations

import argparse

from sluice.cli import show_json
from sluice.home import Home
from sluice.rollouts import control


def status(args: argparse.Namespace) -> int:
    found = control.status(Home(args.home).root, args.name)
    if args.json:
        show_json(found)
    else:
        print(control.explain(found))
    return 0


def watch(args: argparse.Namespace) -> int:
    control.watch(Home(args.home).root, args.name)
    return 0


def _ask(args: argparse.Namespace, action: str) -> int:
    found = control.request(Home(args.home).root, args.name, action)
    if args.json:
        show_json(found)
    else:
        print(f"{args.name}: {action} asked for")
    return 0


def pause(args: argparse.Namespace) -> int:
    return _ask(args, "pause")


def resume(args: argparse.Namespace) -> int:
    return _ask(args, "resume")


def abort(args: argparse.Namespace) -> int:
    return _ask(args, "abort")


def promote(args: argparse.Namespace) -> int:
    return _ask(args, "promote")
