"""`sluice explain`: why a model answers a row as it does, by its package alone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sluice.cli import show_json
from sluice.core.errors import DataError, InputError
from sluice.core.home import Home
from sluice.data import locations
from sluice.data.scheme import Found
from sluice.engines.predictor import Predictor
from sluice.package import package as packages
from sluice.prediction.explain import Explainer, shown
from sluice.prediction.files import raw_rows
from sluice.registry.references import locate


def explain(args: argparse.Namespace) -> int:
    """0 when the rows were explained; 2 on a file, a row or a model that cannot be used."""
    package = packages.read(locate(args.package, Home(args.home)))
    explainer = Explainer(Predictor(package))
    done = []
    with locations.files_of(args.file, Path()) as found:
        if len(found) > 1 or found[0].path.is_dir():
            raise DataError("is one file", field="FILE", value=args.file, fix=f"name one of them: {found[0].where}")
        for number, place, row in _chosen(raw_rows(package, found[0]), found[0], args.row, args.limit):
            told = {"row": number, "place": place, **_explained(explainer, row, args.label, f"{found[0].where}:{place}")}
            done.append(told)
            if not args.json:
                print("\n".join(shown(f"row {number} (line {place})" if place.isdigit() else place, told)))
    if not done:
        raise DataError("holds no rows", field="FILE", value=args.file, fix="name another file")
    if args.json:
        show_json({"outcome": "done", "package": package.digest, "model": package.name, "explanations": done})
    return 0


def _explained(explainer: Explainer, row: dict[str, Any], label: str | None, where: str) -> dict[str, Any]:
    """Raises `DataError`, which names the row's line, where the row cannot be used."""
    try:
        return explainer.explain(row, label)
    except InputError as e:
        column = (e.field or "").removeprefix("rows[0]").lstrip(".")
        raise DataError(
            e.message, field=f"{where}: {column}" if column else where, fix=e.fix, **({"value": e.value} if e.has_value else {})
        ) from e


def _chosen(
    rows: Iterator[tuple[str, dict[str, Any]]], file: Found, wanted: list[int], limit: int
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The rows of these numbers, from 1; without any the first `limit`."""
    left = set(wanted)
    for number, (place, row) in enumerate(rows, 1):
        if number in left if wanted else number <= limit:
            yield number, place, row
            left.discard(number)
        if not left if wanted else number >= limit:
            return
    if left:
        raise DataError("has no such row", field=file.where, value=min(left), fix="rows are counted from 1, without the header")
