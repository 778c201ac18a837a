"""`sluice inspect`: what a package holds."""

from __future__ import annotations

import argparse

from sluice.cli import show_json
from sluice.commands.history import print_table, table
from sluice.core.home import Home
from sluice.package import package as packages
from sluice.package.inspection import inspect as facts
from sluice.registry.references import locate


def inspect(args: argparse.Namespace) -> int:
    """Verify a package and show its facts."""
    package = packages.read(locate(args.package, Home(args.home)))
    found = facts(package)
    if args.json:
        show_json(found)
        return 0
    graph, labels = found["graph"], found["labels"]
    shape = lambda t: f"{t['name']} {t['datatype']} [{', '.join('*' if n < 0 else str(n) for n in t['shape'])}]"  # noqa: E731
    shown = table("", "")
    for key, value in (
        ("digest", f"sha256:{found['digest']} (every file verified)"),
        ("model", f"{found['name']}: {found['task']}, {found['objective']}, {found['precision']}"),
        ("inputs", "  ".join(map(shape, found["inputs"]))),
        ("outputs", "  ".join(map(shape, found["outputs"]))),
        ("labels", f"{len(labels)}: {', '.join(labels[:12])}{_more(len(labels) - 12)}" if labels else "none"),
        *([("decision", str(package.rule) if package.rule else "the most probable label")] if labels else []),
        ("size", f"{found['bytes']:,} bytes" + (f", {graph['parameters']:,} numbers in {graph['nodes']} nodes" if graph else "")),
        *([("operators", _operators(graph["operators"]))] if graph else [("files", ", ".join(sorted(found["files"])))]),
        ("metrics", "  ".join(f"{k} {v:.4g}" for k, v in sorted(found["metrics"].items()) if isinstance(v, int | float))),
        ("made from", "  ".join(f"{k} {str(v)[:12]}" for k, v in found["provenance"].items() if isinstance(v, str | int))),
    ):
        shown.add_row(key, value)
    print_table(shown)
    return 0


def _operators(operators: dict[str, int]) -> str:
    return "  ".join(f"{n} {k}" for k, n in list(operators.items())[:8]) + _more(len(operators) - 8)


def _more(left: int) -> str:
    return f" and {left} more (--json lists all)" if left > 0 else ""
