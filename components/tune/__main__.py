"""One process of a study on this machine: ``python -m components.tune PROJECT BASE_DIR HOME WORKER DATASET GATE``."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.tune.logic import trials


def main() -> int:
    """Read the command line and run trials; 0, and what was found stands in the study and the gate."""
    parser = argparse.ArgumentParser(prog="python -m components.tune", description="Run trials of a study that was begun.")
    for name, told in (
        ("project", "file with the project's text"),
        ("base_dir", "where its relative paths start"),
        ("home", "the home"),
        ("worker", "number of this process"),
        ("dataset", "what `preprocess` wrote"),
        ("gate", "file to write"),
    ):
        parser.add_argument(name, help=told)
    args = parser.parse_args()
    trials(Path(args.project).read_text(), args.base_dir, args.home, args.worker, dataset_path=args.dataset, gate_path=args.gate)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
