"""How fast `sluice ui` answers over a home of 500 runs, and what 20 who watch one rollout cost. JSON lines.

python -m tests.bench.ui [--runs N] [--viewers N] [--seconds S]
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import threading
import time
from pathlib import Path

import httpx
import orjson
import psutil

from sluice.rollouts.store import Store
from tests.tools import ui_home
from tests.tools.ui_server import Served, served

_SEEN = re.compile(r"(\d+) of 600")


def pages(ui: Served, again: int) -> None:
    """The first answer of each page, and the median of those after it, ms; and the processor's time for the first."""
    process = psutil.Process(ui.pid)
    with ui.client() as client:
        for address in ("/", "/?page=5", "/?outcome=refused", "/models", "/models/intents", "/rollouts", "/rollouts/live", "/audit"):
            first = 0.0
            took, cpu = list[float](), sum(process.cpu_times()[:2])
            for i in range(again + 1):
                began = time.perf_counter()
                answer = client.get(address)
                took.append((time.perf_counter() - began) * 1000)
                answer.raise_for_status()
                first = first if i else (sum(process.cpu_times()[:2]) - cpu) * 1000
            say(
                "page",
                address=address,
                first_cpu_ms=round(first),
                first_ms=round(took[0], 1),
                then_ms=round(statistics.median(took[1:]), 1),
                bytes=len(answer.content),
            )


def watched(ui: Served, store: Store, viewers: int, seconds: float) -> None:
    """CPU of the process while so many watch a rollout that changes four times a second, and how late they see it, ms."""
    process, late, told = psutil.Process(ui.pid), list[float](), dict[str, float]()
    over = threading.Event()

    def watch() -> None:
        with httpx.stream("GET", f"{ui.url}/rollouts/live/events", timeout=30) as events:
            for line in events.iter_lines():
                if over.is_set():
                    return
                found = _SEEN.search(line)
                if found and found[1] in told:
                    late.append((time.monotonic() - told[found[1]]) * 1000)

    threads = [threading.Thread(target=watch, daemon=True) for _ in range(viewers)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    before, began, i = sum(process.cpu_times()[:2]), time.monotonic(), 1000
    while time.monotonic() - began < seconds:
        i += 1
        ui_home.save(store, i, "Step", 50)
        told[str(i)] = time.monotonic()
        time.sleep(0.25)
    spent, lasted = sum(process.cpu_times()[:2]) - before, time.monotonic() - began
    over.set()
    ui_home.save(store, 1, "Step", 50)
    late.sort()
    say(
        "watched",
        viewers=viewers,
        cpu_share=round(spent / lasted, 3),
        late_median_ms=round(statistics.median(late)) if late else None,
        late_p95_ms=round(late[int(len(late) * 0.95)]) if late else None,
        changes=i - 1000,
        seen=len(late),
        memory_mb=round(process.memory_info().rss / 2**20),
    )


def say(what: str, **figures: object) -> None:
    print(orjson.dumps({"bench": "ui", "what": what, **figures}).decode(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=15)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = ui_home.build(Path(folder) / "home", args.runs)
        store = ui_home.rollout(home, "live", running=True)
        began = time.perf_counter()
        with store.held(), served(home.root) as ui:
            say("start", runs=args.runs, seconds=round(time.perf_counter() - began, 2))
            pages(ui, 10)
            watched(ui, store, args.viewers, args.seconds)


if __name__ == "__main__":
    main()
