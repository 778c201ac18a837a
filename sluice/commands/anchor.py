"""`sluice anchor`: the best champion so far, how it came to be that, what was compared on which rows; and to name another, with a reason."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from sluice.cli import show_json
from sluice.commands.history import table
from sluice.core.errors import ProjectError
from sluice.core.home import Home
from sluice.registry import anchor as anchors
from sluice.registry import ledger
from sluice.registry.references import find_version, registry_of
from sluice.registry.versions import ANCHOR, CHAMPION, Registry

_SHOWN = 20


def anchor(args: argparse.Namespace) -> int:
    """Show the anchor of a model, its moves and the last comparisons; with ``--set`` move it."""
    home = Home(args.home)
    registry = registry_of(home)
    if args.name not in registry.models():
        raise ProjectError("no such model", field="NAME", value=args.name, fix=f"there is: {', '.join(registry.models()) or 'none'}")
    if (args.set is None) != (args.reason is None):
        raise ProjectError(
            "goes with the other",
            field="--reason" if args.set else "--set",
            fix="write both: --set VERSION --reason 'why this one is the anchor'",
        )
    if args.set is not None:
        _move(registry, home, args.name, args.set, args.reason)
    told = _told(registry, args.name)
    if args.json:
        show_json(told)
    else:
        _show(told)
    return 0


def _move(registry: Registry, home: Home, name: str, which: str, reason: str) -> None:
    from sluice.audit.log import open_log
    from sluice.audit.record import Entry, user

    if not reason.strip():
        raise ProjectError("is blank", field="--reason", value=reason, fix="say why: it stands in the record")
    to, before = find_version(f"{name}@{which}", registry), registry.by_alias(name, ANCHOR)
    anchors.move(registry, name, to, before, reason.strip(), by=user())
    data = {"what": "the anchor was moved", "version": to.number, "before": before.number if before else None}
    open_log(home).append(Entry("override", name, to.digest, reason=reason.strip(), data=data))


def _told(registry: Registry, name: str) -> dict[str, Any]:
    past, there, champion = ledger.read(registry, name), registry.by_alias(name, ANCHOR), registry.by_alias(name, CHAMPION)
    lines = [{k: v for k, v in line.to_dict().items() if k != "format"} | {"held_out": line.rows.rows} for line in past.lines]
    return {
        "model": name,
        "anchor": {"version": there.number, "digest": there.digest} if there else None,
        "champion": {"version": champion.number, "digest": champion.digest} if champion else None,
        "moves": anchors.records(registry, name),
        "comparisons": lines,
        "before_on_last_rows": past.before(past.lines[-1].rows, "") if past.lines else 0.0,
    }


def _show(told: dict[str, Any]) -> None:
    out, moves = Console(), told["moves"]
    if told["anchor"] is None:
        out.print(f"{told['model']} has no anchor yet: the first comparison with a champion makes one")
    elif moves:
        by = f", said by {moves[-1]['by']}" if moves[-1]["by"] != "sluice" else ""
        out.print(
            f"{told['model']}: the anchor is version {told['anchor']['version']} ({told['anchor']['digest'][:12]}), {moves[-1]['why']}{by}"
        )
    shown = table("when (UTC)", "anchor", "before", "why", "by")
    for m in moves[-_SHOWN:]:
        shown.add_row(_when(m["at"]), str(m["version"]), str(m["before"] or ""), str(m["why"]), str(m["by"]))
    if moves:
        out.print(shown)
    compared = table("when (UTC)", "candidate", "champion", "metric", "against the champion", "against the anchor", "rows")
    for c in told["comparisons"][-_SHOWN:]:
        verdicts = (c["verdict"].replace("_", " "), c["anchored"].replace("_", " ") or "the champion is the anchor")
        compared.add_row(
            _when(c["at"]), c["candidate"][:12], c["champion"][:12], c["metric"], *verdicts, f"{c['held_out']:,} {c['rows'][:8]}"
        )
    if told["comparisons"]:
        out.print(compared)
        out.print(f"another on the last rows would be comparison {round(told['before_on_last_rows']) + 1} on them")


def _when(milliseconds: int) -> str:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).strftime("%Y-%m-%d %H:%M")
