"""`sluice models`, `sluice history`, `sluice compare`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from sluice.cli import show_json
from sluice.core.errors import PackageError, ProjectError
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.registry.between import settings_between
from sluice.registry.references import find_version, registry_of
from sluice.registry.versions import Version

if TYPE_CHECKING:
    from sluice.rollouts.cluster import Serving


def _when(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def models(args: argparse.Namespace) -> int:
    """Show registered models, here and by `--namespace` those that serve there; 0. Raises `ProjectError` for a name that is nowhere."""
    home = Home(args.home)
    registry = registry_of(home)
    there = [s for s in _serving(args.namespace) if args.name in (None, s.model)] if args.namespace else []
    names = [args.name] if args.name else sorted({*registry.models(), *(s.model for s in there)})
    found = {name: registry.versions(name) for name in names}
    if args.name and not found[args.name] and not there:
        raise ProjectError("no such model", field="NAME", value=args.name, fix=f"there is: {', '.join(registry.models()) or 'none'}")
    apart = differences(found, there, registry.uri, args.namespace)
    if args.json:
        show_json(
            {
                "models": {name: [_plain(v) for v in versions] for name, versions in found.items()},
                **({"serving": [dataclasses.asdict(s) for s in there], "differences": apart} if args.namespace else {}),
            }
        )
        return 0
    shown = table("model", "version", "alias", *(["serves"] if args.namespace else []), "rollout", "digest", "metrics", "registered (UTC)")
    for name, versions in found.items():
        by = {s.digest: s for s in there if s.model == name and s.digest}
        for v in versions:
            metrics = "  ".join(f"{k} {x:.4g}" for k, x in sorted(v.metrics.items())[:3])
            shown.add_row(
                name,
                v.number,
                " ".join(v.aliases),
                *(["yes" if v.digest in by else ""] if args.namespace else []),
                v.tags.get("sluice.rollout", ""),
                v.digest[:12],
                metrics,
                _when(v.created),
            )
        for digest in by.keys() - {v.digest for v in versions}:
            shown.add_row(name, "-", "", "yes", "", str(digest)[:12], "", "never")
    print_table(shown)
    for said in apart:
        print(said, file=sys.stderr)
    return 0


def _serving(namespace: str) -> list[Serving]:
    from sluice.rollouts import cluster

    return cluster.serving(namespace)


def differences(found: Mapping[str, Sequence[Version]], there: Sequence[Serving], registry: str, namespace: str) -> list[str]:
    """Where the registry and what serves in a namespace differ, each with what becomes of it or what to do."""
    out = []
    for s in there:
        champion = next((v for v in found.get(s.model, ()) if "champion" in v.aliases), None)
        if s.digest is None or (champion is not None and champion.digest == s.digest):
            continue
        version = next((v for v in found.get(s.model, ()) if v.digest == s.digest), None)
        what = f"version {version.number} ({s.digest[:12]})" if version else f"{s.digest[:12]}, which is in no version,"
        said = f"{s.model}: {what} serves in {namespace} (ModelRollout {s.rollout}), and the champion in {registry} is {f'version {champion.number}' if champion else 'none'}"
        if s.follows:
            said += f". The controller sees to it within 15 minutes; last it said: {s.said}. Where it follows another registry than {registry}, give both one MLFLOW_TRACKING_URI"
        else:
            said += ". No controller sees to it: start it with --registry, or set spec.registry.follow to true"
        out.append(said)
    return out


def history(args: argparse.Namespace) -> int:
    """Show runs, the newest first; 0. Raises `ProjectError` for a name that no run has."""
    home = Home(args.home)
    every = home.outcomes(args.name)
    if args.name and not every:
        known = sorted({o["project"] for o in home.outcomes(None)})
        raise ProjectError("no run of this project", field="NAME", value=args.name, fix=f"there is: {', '.join(known[:20]) or 'none'}")
    found, left = [o | {"metric": measured(home, o["run"])} for o in every[: args.limit]], max(0, len(every) - args.limit)
    if args.json:
        show_json({"runs": found})
        return 0
    shown = table("run", "outcome", "metric", "against the champion", "took", "version", "digest", "why")
    for o in found:
        shown.add_row(
            o["run"],
            o["outcome"] + " (retry)" * ("retry_of" in o),
            _measured(o["metric"]),
            (o["metric"] or {}).get("verdict", ""),
            _took(o["seconds"]),
            str(o.get("version", "")),
            o.get("digest", "")[:12],
            cut("; ".join(o.get("cautions") or () if o["outcome"] == "promoted" else o["reasons"]), 80),
        )
    print_table(shown)
    if left:
        print(f"the newest {len(found)} of {len(found) + left} runs; --limit {len(found) + left} shows all", file=sys.stderr)
    return 0


def measured(home: Home, run: str) -> dict[str, Any] | None:
    """A run's metric on the held-out rows: name, value, low, high, and the verdict against the champion; null where it did not get that far."""
    try:
        evidence = Gate.read(home.runs / run / "gates" / "evaluate.json").evidence
        found, compared = evidence["evaluation"], evidence.get("comparison")
        verdict = (
            compared["verdict"] if compared else "first model" if "first model" in (evidence.get("champion_note") or "") else "not compared"
        )
        return {
            "name": found["metric"],
            "value": found["value"],
            "low": found["low"],
            "high": found["high"],
            "verdict": verdict.replace("_", " "),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _measured(m: dict[str, Any] | None) -> str:
    if m is None:
        return ""
    limits = f" ({m['low']:.4g} to {m['high']:.4g})" if m["low"] is not None else ""
    return f"{m['name']} {_number(m['value']) or 'undefined'}{limits}"


def _took(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def cut(text: str, most: int) -> str:
    """A text of at most `most` characters; of a longer one, its beginning and how much more there is."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} more characters; --json shows all)"


def compare(args: argparse.Namespace) -> int:
    """The settings that differ, the data, the metrics: A's, B's, and what is between them."""
    home = Home(args.home)
    registry = registry_of(home)
    a, b = (find_version(reference, registry) for reference in (args.a, args.b))
    settings, known = settings_between(registry, a, b)
    packages = _packages(a, b, home)
    names = sorted(set(a.metrics) | set(b.metrics))
    if args.json:
        show_json(
            {
                "a": _plain(a),
                "b": _plain(b),
                "packages": packages,
                "settings": settings if known else None,
                "rows": [_rows(home, v) for v in (a, b)],
                "difference": {n: b.metrics[n] - a.metrics[n] for n in names if n in a.metrics and n in b.metrics},
            }
        )
        return 0
    shown = table("", f"{a.model}@{a.number}", f"{b.model}@{b.number}", "B - A")
    shown.add_row("digest", a.digest[:12], b.digest[:12], "same" if a.digest == b.digest else "")
    shown.add_section()
    for key, (x, y) in settings.items():
        shown.add_row(key, cut(x, 60), cut(y, 60), "")
    if not settings:
        shown.add_row("settings", *("same" if known else "not known: the tracking run is gone",) * 2, "")
    shown.add_section()
    for what, (x, y) in {"rows": (_rows(home, a), _rows(home, b)), "labels": _more(packages.get("labels"))}.items():
        if x or y:
            shown.add_row(what, x, y, "same" if x == y else "differs")
    for key in ("sluice.data", "sluice.config", "sluice.code", "sluice.git", "sluice.precision"):
        x, y = a.tags.get(key, ""), b.tags.get(key, "")
        shown.add_row(key.removeprefix("sluice."), x[:12], y[:12], "same" if x == y else "differs")
    shown.add_section()
    for n in names:
        p, q = a.metrics.get(n), b.metrics.get(n)
        shown.add_row(n, _number(p), _number(q), f"{q - p:+.4g}" if p is not None and q is not None else "")
    print_table(shown)
    return 0


def _rows(home: Home, v: Version) -> str:
    """How many rows a version was made of, as far as this home has its run."""
    for o in home.outcomes(v.model):
        if o.get("digest") == v.digest:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                rows = Gate.read(home.runs / o["run"] / "gates" / "preprocess.json").evidence["rows"]
                return ", ".join(f"{n:,} {split}" for split, n in rows.items())
    return ""


def _more(labels: dict[str, Any] | None) -> tuple[str, str]:
    """The labels only A, and only B knows."""
    if not labels:
        return "", ""
    return tuple(cut(", ".join(f"also {n}" for n in labels[k]), 60) for k in ("removed", "added"))  # type: ignore[return-value]


def _packages(a: Version, b: Version, home: Home) -> dict[str, Any]:
    """What changed from package to package; empty where one of them is not in reach."""
    from sluice.package.inspection import diff
    from sluice.package.store import open_store

    try:
        return diff(open_store(a.uri, home).get(a.digest), open_store(b.uri, home).get(b.digest))
    except PackageError as e:
        return {"error": str(e)}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _plain(v: Version) -> dict[str, Any]:
    return {
        "model": v.model,
        "version": v.number,
        "digest": v.digest,
        "uri": v.uri,
        "aliases": list(v.aliases),
        "metrics": v.metrics,
        "tags": v.tags,
        "run_id": v.run_id,
        "created": _when(v.created),
    }


def print_table(shown: Table) -> None:
    """To a terminal in its width; to a file or pipe, unfolded. What stands in brackets is text, as of a label."""
    console = Console(markup=False, emoji=False)
    (console if console.is_terminal else Console(width=200, markup=False, emoji=False)).print(shown)


def table(*columns: str) -> Table:
    """An empty table with such columns, whose cells are folded and never cut."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for c in columns:
        made.add_column(c, overflow="fold")
    return made
