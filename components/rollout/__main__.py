"""A rollout made again: ``python -m components.rollout HOME NAME PROJECT REPORT GATE``."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.rollout.logic import retry


def main() -> int:
    """Read the command line and roll the package out; 0, and what was decided stands in the gate."""
    parser = argparse.ArgumentParser(
        prog="python -m components.rollout", description="Roll a registered package out again, without training."
    )
    for name, told in (
        ("home", "the home"),
        ("name", "of the rollout"),
        ("project", "file with the project's text"),
        ("report", "file to write"),
        ("gate", "file to write"),
    ):
        parser.add_argument(name, help=told)
    args = parser.parse_args()
    retry(args.home, args.name, project=Path(args.project).read_text(), report_path=args.report, gate_path=args.gate)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
