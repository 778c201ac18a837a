"""`sluice promote` and `sluice rollback`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

from sluice.audit.log import open_log
from sluice.cli import show_json
from sluice.core.errors import ProjectError
from sluice.core.home import Home
from sluice.promotion import config
from sluice.promotion.promote import Promoted, Request
from sluice.promotion.promote import promote as run_promotion
from sluice.promotion.rollback import Asked, Back, roll_back
from sluice.registry.references import registry_of
from sluice.registry.versions import Registry

_MARKS = {"pass": "+", "caution": "!", "refuse": "-"}


def promote(args: argparse.Namespace) -> int:
    """The gated step from one environment to the next."""
    home = Home(args.home)
    request = Request(
        args.name,
        args.to,
        args.source,
        args.reason or "",
        args.override,
        args.dry_run,
        args.data,
        args.write or args.patch,
        bool(args.write),
        args.key,
        args.wait,
    )
    done = run_promotion(request, home, registry_of(home), config.read(home, args.environments), open_log(home))
    if args.json:
        show_json(_plain(done))
    else:
        _show(done)
    return done.exit_code


def _plain(done: Promoted) -> dict[str, Any]:
    return {
        "outcome": done.outcome.replace(" ", "_"),
        "model": done.version.model,
        "version": done.version.number,
        "digest": done.version.digest,
        "from": done.source,
        "to": done.target,
        "replaced": done.replaced.digest if done.replaced else None,
        "conditions": [dataclasses.asdict(c) for c in done.conditions],
        "overridden": list(done.overridden),
        "reasons": list(done.reasons),
        "diff": done.diff,
        "rollout": done.where,
        "exit_code": done.exit_code,
    }


def _show(done: Promoted) -> None:
    v = done.version
    for c in done.conditions:
        aside = " (overridden)" if c.name in done.overridden else ""
        print(f"  {_MARKS[c.answer]} {c.name}: {c.said}{aside}", file=sys.stderr if done.diff else sys.stdout)
    if done.diff:
        print(done.diff, end="")
        return
    where = f" by {done.where}" if done.where else ""
    print(f"{done.outcome}: {v.model} version {v.number}  sha256:{v.digest[:12]}  from {done.source} to {done.target}{where}")
    if done.exit_code:
        for reason in done.reasons:
            print(f"  - {reason}")
        if done.exit_code == 3:
            firm = [c.name for c in done.conditions if c.answer == "refuse" and not c.waived]
            waive = "an override needs a reason and is kept with your name: --override --reason TEXT"
            print(f"  no override sets aside what speaks against it: {', '.join(firm)}" if firm else f"  {waive}")


def rollback(args: argparse.Namespace) -> int:
    """What served before serves again."""
    home = Home(args.home)
    if not (args.reason or "").strip():
        raise ProjectError("needs to say why", field="--reason", fix='--reason "..."; it is kept with your name')
    rules = config.read(home, args.environments).get(args.environment, "--in")
    if args.namespace:
        rules = rules.model_copy(update={"namespace": args.namespace})
    asked = Asked(args.name, args.environment, rules, args.reason, args.version, args.again, args.dry_run)
    done = roll_back(asked, home, _registry(home, bool(rules.namespace)), open_log(home))
    if args.json:
        show_json(dataclasses.asdict(done) | {"outcome": done.outcome.replace(" ", "_"), "model": args.name, "exit_code": done.exit_code})
    else:
        _tell(done, args.name, args.environment)
    if done.warning:
        print(f"sluice: {done.warning}", file=sys.stderr)
    return done.exit_code


def _registry(home: Home, elsewhere: bool) -> Registry | None:
    """Of a cluster's environment none is needed: its controller tells the registry."""
    try:
        return registry_of(home)
    except ProjectError:
        if elsewhere:
            return None
        raise


def _tell(done: Back, name: str, environment: str) -> None:
    if done.outcome == "refused":
        print(f"nothing was changed: {name} in {environment}")
    else:
        took = f" in {done.seconds:g} s" if done.seconds else ""
        print(f"{done.outcome}: {name} in {environment}, sha256:{done.gone[:12]} goes, sha256:{done.serves[:12] or 'nothing'} serves{took}")
    for reason in done.reasons:
        print(f"  - {reason}")
