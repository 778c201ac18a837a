"""`sluice backup` and `sluice restore`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from sluice.cli import show_json
from sluice.core.errors import ProjectError
from sluice.core.home import Home


def backup(args: argparse.Namespace) -> int:
    """One file of a home, or of an environment's objects."""
    out = args.output or Path(f"sluice-{args.namespace or 'home'}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.tar.gz")
    if out.exists() and not args.force:
        raise ProjectError("is there already", field="-o", value=str(out), fix="another name, or --force")
    if args.namespace:
        from sluice.backup import cluster

        head = cluster.save(_objects(args), args.namespace, out)
    else:
        from sluice.backup import home

        head = home.save(Home(args.home), out, keys=args.keys)
    if args.json:
        show_json({"outcome": "saved", "file": str(out), **_told(head)})
        return 0
    print(f"saved: {out}  {out.stat().st_size:,} bytes, {len(head['files'])} files of {head.get('root') or head['namespace']}")
    for what in head["elsewhere"]:
        print(f"  ! not in it: {what}")
    return 0


def restore(args: argparse.Namespace) -> int:
    """What a backup holds, put back."""
    if args.namespace:
        from sluice.backup import cluster

        head = cluster.restore(_objects(args), args.namespace, args.file, lease=args.lease)
    else:
        from sluice.backup import home

        head = home.restore(args.file, Home(args.home))
    if args.json:
        show_json({"outcome": "restored", **_told(head), **{k: head[k] for k in ("made", "there") if k in head}})
    elif args.namespace:
        print(f"restored: {len(head['made'])} objects into {args.namespace}, saved {head['at']}")
        for name in head["there"]:
            print(f"  ! {name} was there already and is as it was")
    else:
        print(f"restored: {len(head['files'])} files into {Home(args.home).root}, saved {head['at']} by sluice {head['sluice']}")
        for what in head["elsewhere"]:
            print(f"  ! was not in it: {what}")
    return 0


def _objects(args: argparse.Namespace) -> Any:
    from sluice.kube.client import Kube
    from sluice.kube.objects import Objects

    return Objects(Kube(args.context))


def _told(head: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in head.items() if k != "files"} | {"files": len(head["files"])}
