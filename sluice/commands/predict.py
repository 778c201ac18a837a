"""`sluice predict`: a file of rows with a model's answers behind them."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from sluice.cli import show_json
from sluice.core.errors import DataError, ProjectError
from sluice.core.home import Home
from sluice.core.processes import cpu_quota
from sluice.data import locations
from sluice.package import package as packages
from sluice.prediction.files import check_out, predict_file
from sluice.registry.references import locate


def predict(args: argparse.Namespace) -> int:
    """0 when the file was written; 2 on a file or a row that cannot be used."""
    package = packages.read(locate(args.package, Home(args.home)))
    with locations.files_of(args.file, Path()) as found:
        file = found[0]
        if len(found) > 1 or file.path.is_dir():
            raise DataError(
                "is one file",
                field="FILE",
                value=args.file,
                fix=f"name one of them: {found[0].where}" if len(found) > 1 else "name a file in it",
            )
        out = args.output or Path(default_name(file.path))
        check_out(file, out)
        try:
            done = predict_file(package, file, out, on_error=args.on_error, workers=args.workers or cpu_quota())
        except OSError as e:
            raise ProjectError(
                f"cannot be written: {e.strerror or e}", field="--output", value=str(out), fix="name a file in a folder you may write"
            ) from e
    for text in done.notes:
        print(f"note: {text}", file=sys.stderr)
    for text in done.skipped_rows:
        print(f"skipped: {text}", file=sys.stderr)
    if done.skipped > len(done.skipped_rows):
        print(f"skipped: {done.skipped - len(done.skipped_rows)} more rows", file=sys.stderr)
    if args.json:
        show_json({"outcome": "done", "output": str(out), "package": package.digest, **dataclasses.asdict(done)})
        return 0
    shown = sorted(done.labels.items(), key=lambda kv: (-kv[1], kv[0]))
    labels = ", ".join(f"{n:,} {label}" for label, n in shown[:8]) + (f", and {len(shown) - 8} more labels" if len(shown) > 8 else "")
    skipped = f", {done.skipped:,} left out" if done.skipped else ""
    print(f"{out}: {done.rows - done.skipped:,} rows{skipped}, with {' and '.join(done.columns)}" + (f" ({labels})" if labels else ""))
    return 0


def default_name(file: Path) -> str:
    """``rows.csv.gz`` -> ``rows.predictions.csv.gz``, in the working directory."""
    stem, dot, rest = file.name.partition(".")
    return f"{stem}.predictions{dot}{rest}"
