"""Three candidates through a real Envoy, live: ``python -m tests.bench.demo_rollout``.

A model of handwritten digits serves under 300 requests a second. A better one takes its place; a
slower one is stopped in the first step; one that answers the wrong digits is stopped before any
user sees it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sluice.core.errors import SluiceError
from sluice.rollouts import control
from sluice.rollouts.local import RolloutResult, run_local
from sluice.rollouts.spec import RolloutSpec, Shadow
from tests.integration.rollouts import digits

NAME = "digits"
SPEC = RolloutSpec(latency_slo_ms=30, shadow=Shadow(requests=100, percent=25))
CANDIDATES = {
    "better": ("trained on nine times the rows", {"train_rows": 1300}, "promoted"),
    "slower": ("the same answers, after needless work", {"train_rows": 1300, "work": 1400}, "rolled_back"),
    "wrong": ("every answer one digit off", {"train_rows": 1300, "shuffled": True}, "rolled_back"),
}


def show(home: Path, stable: Path, candidate: Path, console: Console) -> RolloutResult:
    """One rollout with its live view."""
    done: list[RolloutResult | Exception] = []

    def work() -> None:
        try:
            done.append(
                run_local(
                    NAME,
                    SPEC,
                    stable=stable,
                    candidate=candidate,
                    server=[sys.executable, "-m", "serving.runtime"],
                    requests=digits.requests(NAME),
                    home=home,
                )
            )
        except Exception as e:
            done.append(e)

    begun = time.time()
    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        with contextlib.suppress(SluiceError):
            if control.status(home, NAME)["updated"] > begun:
                control.watch(home, NAME, console=console, until=lambda: not thread.is_alive())
                break
        thread.join(0.1)
    thread.join()
    if isinstance(done[0], Exception):
        raise done[0]
    return done[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("candidates", nargs="*", help=f"of {', '.join(CANDIDATES)} (default: all)")
    args = parser.parse_args()
    console, table, right = Console(width=110), Table(title="Three candidates", show_lines=True), True
    for heading in ("candidate", "outcome", "why", "requests", "failed", "answered by it", "seconds"):
        table.add_column(heading)
    with tempfile.TemporaryDirectory(prefix="sluice-demo-") as folder:
        home = Path(folder)
        stable = digits.build(home / "packages" / "stable", NAME, 150)
        for name in args.candidates or CANDIDATES:
            about, how, expected = CANDIDATES[name]
            console.rule(f"{name}: {about}")
            candidate = digits.build(home / "packages" / name, NAME, **how)  # type: ignore[arg-type]
            result = show(home, stable, candidate, console)
            load = result.evidence["load"]
            right &= result.outcome == expected
            table.add_row(
                name,
                result.outcome,
                result.reasons[0],
                f"{load['sent']:,}",
                str(load["failed"]),
                str(load["by_arm"].get("candidate", 0)),
                f"{result.evidence['seconds']:.0f}",
            )
            stable = candidate if result.outcome == "promoted" else stable
    console.print(table)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
