"""How well quality is watched: losses found on labels, false alarms, estimates without labels, faults told from shifts. JSON lines.

python -m tests.bench.monitor_quality [--runs N] [--only errors,estimate,diagnosis]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from sluice.monitor.cbpe import Calibration, estimate
from sluice.monitor.concept import Baseline, Detector, ErrorStream
from sluice.monitor.diagnosis import diagnose
from sluice.monitor.quality import Judge
from tests.support import world
from tests.support.world import World

_HELD_OUT = 5000


def chances(rng: np.random.Generator, rate: float, n: int, told: bool) -> np.ndarray:
    """Of answers to be wrong: all alike, or as a model that knows where it doubts has them."""
    return rng.beta(rate * 3, (1 - rate) * 3, n).clip(1e-4, 0.6) if told else np.full(n, rate)


def errors(runs: int) -> Iterator[dict[str, Any]]:
    """A loss of five points within 500 labelled rows, features unchanged; and alarms where nothing changed, over 8,000 rows."""
    rows = [(r, t, "page_hinkley") for r in (0.02, 0.05, 0.1, 0.2) for t in (False, True)] + [(0.05, False, "adwin")]
    for rate, told, detector in rows:
        found: Counter[str] = Counter()
        reference = chances(np.random.default_rng(999), rate, 2000, told) if told else None
        for seed in range(runs):
            rng = np.random.default_rng(seed)
            p = chances(rng, rate, 1000, told)
            for what in ("labels turned over", "one slice turned over"):
                later = p[500:].copy()
                if what == "labels turned over":
                    later = later + 0.05 / (1 - rate) * (1 - later)
                else:
                    mask = rng.random(500) < 0.05 / (1 - 2 * rate)
                    later[mask] = 1 - later[mask]
                watch = ErrorStream(Baseline(rate, _HELD_OUT, reference), detector=cast(Detector, detector))
                watch.update(rng.random(500) < p[:500], p[:500] if told else None)
                found[what] += bool(watch.update(rng.random(500) < later, p[500:] if told else None))
        alarms, quiet = 0, max(runs // 20, 2)
        for seed in range(quiet):
            rng = np.random.default_rng(10_000 + seed)
            p = chances(rng, rate, 8000, told)
            watch = ErrorStream(Baseline(rate, _HELD_OUT, reference), detector=cast(Detector, detector))
            alarms += len(watch.update(rng.random(8000) < p, p if told else None))
        yield {
            "what": "errors",
            "error_rate": rate,
            "confidence_known": told,
            "detector": detector,
            "runs": runs,
            **{f"found, {k}": round(v / runs, 3) for k, v in found.items()},
            "rows_between_false_alarms": round(quiet * 8000 / alarms) if alarms else f"> {quiet * 8000}",
        }


def estimates(runs: int) -> Iterator[dict[str, Any]]:
    """CBPE on calibrated data whose rows become harder: how far from the truth on 20,000 rows."""
    for labels in (2, 5):
        off = []
        names = tuple(f"c{i}" for i in range(labels))
        package = SimpleNamespace(objective="classification", labels=names, rule=None, metrics={}, profile=dict)
        judge = Judge.of(cast(Any, package))
        for seed in range(max(runs // 10, 3)):
            rng = np.random.default_rng(seed)

            def drawn(n: int, sharp: float, rng: np.random.Generator = rng, labels: int = labels) -> tuple[np.ndarray, np.ndarray]:
                z = rng.normal(size=(n, labels)) * sharp
                p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
                return p, (rng.random((n, 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1)

            calibration = Calibration.fit(*drawn(3000, 2.0))
            p, y = drawn(20_000, 1.2)
            off.append(abs(estimate(judge, p, calibration)["accuracy"]["value"] - float((p.argmax(axis=1) == y).mean())))
        yield {"what": "estimate", "labels": labels, "worst": round(max(off), 4), "mean": round(float(np.mean(off)), 4), "runs": len(off)}


def diagnoses(runs: int) -> Iterator[dict[str, Any]]:
    """Faults, shifts, another truth and nothing at all: what the diagnosis calls them."""
    profile = World(99).profile()
    package = SimpleNamespace(objective="classification", labels=tuple(world.LABELS), rule=None, metrics={}, profile=lambda: profile)
    judge = Judge.of(cast(Any, package))
    kinds = (
        [("data fault", f) for f in world.FAULTS]
        + [("shift", s) for s in world.SHIFTS]
        + [("concept drift", "slice"), ("concept drift", "noise"), ("healthy", "")]
    )
    for wanted, what in kinds:
        right, columns_right, seconds = 0, 0, 0.0
        for seed in range(max(runs // 20, 2)):
            w = World(seed)
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder)
                x = w.rows(2000)
                at = w.log(root, x, w.truth(x))
                seen, columns = None, set()
                x = w.rows(1200)
                if wanted == "shift":
                    x, columns = world.shifted(what, w, 1200)
                y = w.truth(x)
                if wanted == "data fault":
                    seen, columns = world.broken(what, x, w.rng)
                if wanted == "concept drift":
                    turned = w.rng.random(1200) < (0.08 if what == "noise" else 0.35 * (x["job"] == "nurse"))
                    y = np.where(turned, 1 - y, y)
                w.log(root, x, y, seen=seen, at=at)
                begun = time.process_time()
                found = diagnose(profile, root, "m", judge=judge)
                seconds += time.process_time() - begun
            told = {
                f["feature"] for f in found["features"] if not f["answer"] and (wanted != "data fault" or (f["cause"] or {}).get("fault"))
            }
            right += found["kind"] == wanted
            columns_right += told == columns
        n = max(runs // 20, 2)
        yield {
            "what": "diagnosis",
            "is": wanted,
            "kind": what,
            "right": right / n,
            "columns_right": columns_right / n,
            "seconds": round(seconds / n, 2),
        }


def main() -> None:
    """Print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--only", default="errors,estimate,diagnosis")
    args = parser.parse_args()
    for name, measure in (("errors", errors), ("estimate", estimates), ("diagnosis", diagnoses)):
        if name in args.only.split(","):
            for line in measure(args.runs):
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
