"""`sluice data diff`: what changed between two versions of data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sluice.arguments.shared import PROJECT_FILE
from sluice.cli import show_json
from sluice.core.errors import DataError
from sluice.core.home import Home
from sluice.data import versions
from sluice.data.difference import LARGE, Difference, difference
from sluice.data.drifted import Distance, distances
from sluice.data.manifest import MANIFEST
from sluice.data.prepare import source_of
from sluice.data.profile import label_values
from sluice.data.report import counted, listed, percent
from sluice.data.versions import Version
from sluice.package import package as packages
from sluice.package.package import Package
from sluice.problems.problem import problem


def diff(args: argparse.Namespace) -> int:
    """0 where nothing differs, or no more than is allowed; 3 where it does."""
    home = Home(args.home)
    sides = [resolve(text, home) for text in (args.a, args.b)]
    secret = {*args.sensitive, *(n for s in sides if isinstance(s, Version) for n in s.sensitive)}
    if all(isinstance(s, Package) for s in sides):
        raise DataError("are two models", field="A, B", value=[args.a, args.b], fix="`sluice compare` puts models side by side")
    if any(isinstance(s, Package) for s in sides):
        return _against_profile(sides, args)
    a, b = sides
    assert isinstance(a, Version) and isinstance(b, Version)
    found = difference(*versions.comparable(a, b), args.key, secret)
    moved = found.moved(LARGE if args.drift is None else args.drift)
    reasons = _reasons(found, args, moved)
    if args.json:
        told = {"decision": "refuse" if reasons else "pass", "reasons": reasons, "moved": moved}
        show_json({**told, "a": a.to_dict(), "b": b.to_dict(), **found.to_dict()})
    else:
        _show(found, a, b, moved, reasons)
    return 3 if reasons else 0


def resolve(text: str, home: Home) -> Version | Package:
    """A project, a dataset's folder or digest, a model (the rows it was trained on, where the home still has them), or a source.

    Raises:
        DataError: nothing of the kind, or it cannot be read.
        ProjectError, PackageError, MissingExtra: as reading it does.
    """
    path = Path(text)
    project = path / PROJECT_FILE if path.is_dir() else path
    if project.suffix in (".yaml", ".yml") and project.is_file():
        return _source(project)
    if (path / MANIFEST).is_file():
        return versions.dataset_version(path)
    if "@" in text and "://" not in text and not path.exists():
        from sluice.registry.references import locate

        return _trained_on(packages.read(locate(text, home)), home)
    if (path / packages.MANIFEST).is_file():
        return _trained_on(packages.read(path), home)
    if versions.is_digest(text) and not path.exists():
        return versions.dataset_version(versions.find_dataset(text.removeprefix("sha256:"), home.artifacts))
    return versions.source_version(text, Path.cwd())


def _source(file: Path) -> Version:
    from sluice import project as projects
    from sluice.tasks import load_task

    project, base = projects.load(file), file.resolve().parent
    source = source_of(project, base, load_task(project, base))
    told = project.data.columns
    return Version(str(file), source.table, source.digest, tuple(project.data.sensitive), told.label, tuple(told.ignore))


def _trained_on(package: Package, home: Home) -> Version | Package:
    try:
        return versions.dataset_version(versions.find_dataset(str(package.provenance.get("data", "?")), home.artifacts))
    except DataError:
        return package


def _reasons(found: Difference, args: argparse.Namespace, moved: list[str]) -> list[str]:
    """Why the two are not the same, as far as it counts."""
    if args.drift is not None:
        return [f"{counted(len(moved), 'column')} moved by more than {args.drift:g} (PSI): {listed(moved)}"] if moved else []
    out = []
    s = found.schema
    if s["added"] or s["removed"] or s["changed"]:
        parts = [f"{word} {listed(s[word])}" for word in ("added", "removed") if s[word]]
        parts += [f"{n} is {b}, was {a}" for n, (a, b) in s["changed"].items()]
        out.append(f"columns differ: {'; '.join(parts)}")
    if found.share > args.tolerance:
        r = found.rows
        out.append(f"rows differ: {r['changed']:,} changed, {r['added']:,} added, {r['removed']:,} removed ({percent(found.share)})")
    return out


def _show(found: Difference, a: Version, b: Version, moved: list[str], reasons: list[str]) -> None:
    console = Console(highlight=False)
    for side, version in (("A", a), ("B", b)):
        console.print(f"{side}  {version.where}: {version.table.num_rows:,} rows, {version.digest[:12]}", markup=False)
    r = found.rows
    console.print(f"{r['same']:,} rows the same, {r['changed']:,} changed, {r['added']:,} added, {r['removed']:,} removed (by {found.by})")
    shown = Table("column", "cells changed", "PSI", "by chance up to")
    for name, drift in found.drift.items():
        if name in found.cells or name in moved:
            score = "" if drift["psi"] is None else f"{drift['psi']:.3g}" + (" moved" if name in moved else "")
            shown.add_row(name, f"{found.cells.get(name, 0):,}", score, "" if drift["noise"] is None else f"{drift['noise']:.2g}")
    if shown.row_count:
        console.print(shown)
    for e in found.examples:
        change = f": {e['before']!r} -> {e['after']!r}" if "before" in e else ": not shown"
        key = "".join(f" {k}={v!r}" for k, v in e.get("key", {}).items())
        console.print(f"  row {e['row_a']:,} -> {e['row_b']:,}{key} {e['column']}{change}", markup=False)
    for word in ("added", "removed"):
        rows: list[int] = getattr(found, word)
        if rows:
            console.print(f"  {word}: rows {listed([f'{n:,}' for n in rows], 10)}", markup=False)
    console.print("\n".join(reasons) if reasons else "equal" if found.equal else "within what is allowed", style="bold", markup=False)


def _against_profile(sides: list[Version | Package], args: argparse.Namespace) -> int:
    """A model of which only the profile is left: how far the other side's rows are from what it was trained on."""
    package, version = (s for s in sorted(sides, key=lambda s: isinstance(s, Version)))
    assert isinstance(package, Package) and isinstance(version, Version)
    profile = package.profile()
    if profile is None:
        raise DataError("has no profile", field="A, B", value=str(package.root), fix="train it again with this version")
    missing = [n for n in profile["features"] if n not in version.table.schema.names]
    if len(missing) == len(profile["features"]):
        raise DataError("has none of the model's columns", field="A, B", value=version.where, fix=f"it learnt from {listed(missing)}")
    told = "label" in version.table.schema.names
    label = label_values(problem(str(profile["objective"])), version.table.column("label")) if told else None
    found = [d for d in distances(profile, version.table, label) if d.feature not in missing]
    threshold = LARGE if args.drift is None else args.drift
    moved = [d for d in found if d.beyond(threshold)]
    reasons = [f"{counted(len(moved), 'part')} moved by more than {threshold:g} (PSI): {listed([d.name for d in moved])}"] if moved else []
    reasons += [f"columns differ: removed {listed(missing)}"] if missing else []
    if args.json:
        drift = [_plain(d) for d in found]
        show_json(
            {"decision": "refuse" if reasons else "pass", "reasons": reasons, "model": package.digest, **version.to_dict(), "drift": drift}
        )
    else:
        console = Console(highlight=False)
        console.print(f"{version.where}: {version.table.num_rows:,} rows against the profile of {package.digest[:12]}", markup=False)
        shown = Table("column", "PSI", "by chance up to")
        for d in found[:20]:
            shown.add_row(d.name, f"{d.psi:.3g}" + (" moved" if d in moved else ""), f"{d.noise:.2g}")
        console.print(shown)
        console.print("\n".join(reasons) or "no column has moved", style="bold", markup=False)
    return 3 if reasons else 0


def _plain(d: Distance) -> dict[str, Any]:
    return {"feature": d.feature, "part": d.part, "psi": d.psi, "noise": d.noise}
