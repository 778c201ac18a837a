"""`sluice models`, `sluice history`, `sluice compare`."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from sluice.cli import show_json
from sluice.errors import PackageError, ProjectError
from sluice.home import Home
from sluice.tracking.references import find_version, registry_of
from sluice.tracking.registry import Version


def _when(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def models(args: argparse.Namespace) -> int:
    home = Home(args.home)
    registry = registry_of(home)
    names = [args.name] if args.name else registry.models()
    found = {name: registry.versions(name) for name in names}
    if args.name and not found[args.name]:
        raise ProjectError("no such model", field="NAME", value=args.name, fix=f"there is: {', '.join(registry.models()) or 'none'}")
    if args.json:
        show_json({"models": {name: [_plain(v) for v in versions] for name, versions in found.items()}})
        return 0
    shown = table("model", "version", "alias", "rollout", "digest", "metrics", "registered (UTC)")
    for name, versions in found.items():
        for v in versions:
            metrics = "  ".join(f"{k} {x:.4g}" for k, x in sorted(v.metrics.items())[:3])
            shown.add_row(name, v.number, " ".join(v.aliases), v.tags.get("sluice.rollout", ""), v.digest[:12], metrics, _when(v.created))
    print_table(shown)
    return 0


def history(args: argparse.Namespace) -> int:
    home = Home(args.home)
    found = home.outcomes(args.name)[: args.limit]
    if args.json:
        show_json({"runs": found})
        return 0
    shown = table("run", "outcome", "version", "digest", "seconds", "why")
    for o in found:
        shown.add_row(o["run"], o["outcome"], str(o.get("version", "")), o.get("digest", "")[:12], f"{o['seconds']:.0f}",
                      "" if o["outcome"] == "promoted" else "; ".join(o["reasons"])[:80])  # fmt: skip
    print_table(shown)
    return 0


def compare(args: argparse.Namespace) -> int:
    home = Home(args.home)
    a, b = (find_version(reference, registry_of(home)) for reference in (args.a, args.b))
    names = sorted(set(a.metrics) | set(b.metrics))
    if args.json:
        show_json({"a": _plain(a), "b": _plain(b), "packages": _packages(a, b, home), "difference": {n: b.metrics[n] - a.metrics[n] for n in names if n in a.metrics and n in b.metrics}})
        return 0
    shown = table("", f"{a.model}@{a.number}", f"{b.model}@{b.number}", "B - A")
    shown.add_row("digest", a.digest[:12], b.digest[:12], "same" if a.digest == b.digest else "")
    for n in names:
        x, y = a.metrics.get(n), b.metrics.get(n)
        shown.add_row(n, _number(x), _number(y), f"{y - x:+.4g}" if x is not None and y is not None else "")
    for key in ("sluice.data", "sluice.config", "sluice.code", "sluice.git", "sluice.precision"):
        x_, y_ = a.tags.get(key, ""), b.tags.get(key, "")
        shown.add_row(key.removeprefix("sluice."), x_[:12], y_[:12], "same" if x_ == y_ else "differs")
    print_table(shown)
    return 0


def _packages(a: Version, b: Version, home: Home) -> dict[str, Any]:
    """What changed from package to package; empty where one of them is not in reach."""
    from sluice.packaging.inspection import diff
    from sluice.packaging.store import open_store

    try:
        return diff(open_store(a.uri, home).get(a.digest), open_store(b.uri, home).get(b.digest))
    except PackageError as e:
        return {"error": str(e)}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _plain(v: Version) -> dict[str, Any]:
    return {"model": v.model, "version": v.number, "digest": v.digest, "uri": v.uri, "aliases": list(v.aliases), "metrics": v.metrics,
            "tags": v.tags, "run_id": v.run_id, "created": _when(v.created)}  # fmt: skip


def print_table(shown: Table) -> None:
    """To a terminal in its width; to a file or pipe, unfolded."""
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(shown)


def table(*columns: str) -> Table:
    made = Table(box=None, header_style="bold", pad_edge=False)
    for c in columns:
        made.add_column(c, overflow="fold")
    return made
