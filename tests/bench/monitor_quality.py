"""How well quality is watched: losses found on labels, false alarms, estimates without labels, faults told from shifts. JSON lines.

python -m tests.bench.monitor_quality [--runs N] [--only errors,quiet,risen,estimate,diagnosis]
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
from tests.support import errors as errors_of
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
                watch.update(rng.random(500) < later, p[500:] if told else None)
                found[what] += watch.suspected is not None
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


def quiet(runs: int) -> Iterator[dict[str, Any]]:
    """Long streams in which nothing changes, looked at behind batches of labels and behind bursts by day: how often errors are told to have risen."""
    for rate, told, rows, a_day in [
        (r, t, n, d) for n, d in ((10_000, 1000), (100_000, 10_000)) for r in (0.02, 0.1, 0.3) for t in (False, True)
    ]:
        streams, risen, may_be, share = max(runs * 1000 // rows, 4), 0, 0, 0.0
        for seed in range(streams):
            rng = np.random.default_rng(seed)
            drawn = errors_of.drawn(rng, rate, rows, told=told, a_day=a_day)
            cuts = errors_of.bursts(rng, rows, a_day) if seed % 2 else list(range(rows // 40, rows + 1, rows // 40))
            standing, suspected = errors_of.looked(drawn, cuts)
            risen, may_be = risen + errors_of.episodes(standing), may_be + errors_of.episodes(suspected)
            share += float(np.mean(suspected)) / streams
        days = streams * rows / a_day
        yield {
            "what": "quiet",
            "error_rate": rate,
            "confidence_known": told,
            "rows": rows,
            "a_day": a_day,
            "streams": streams,
            "rises": risen,
            "rises_a_day": round(risen / days, 4),
            "suspected": may_be,
            "share_of_looks_suspected": round(share, 3),
        }


def rises(runs: int) -> Iterator[dict[str, Any]]:
    """Five points more from row 5,000 on, looked at every 50 labels: within how many it is suspected, and sure."""
    for rate, told, a_day in [(r, t, d) for r in (0.02, 0.1, 0.3) for t in (False, True) for d in (1000, 10_000)]:
        n, found = max(runs // 4, 10), []
        for seed in range(n):
            drawn = errors_of.drawn(np.random.default_rng(seed), rate, 9000, told=told, a_day=a_day, loss_at=5000)
            flags = errors_of.looked(drawn, [5000, *range(5050, 6001, 50), *range(6200, 9001, 200)])
            at = np.r_[0, np.arange(50, 1001, 50), np.arange(1200, 4001, 200)]
            found.append([float(at[np.argmax(f)]) if any(f) else np.inf for f in flags])
        sure, may_be = np.array(found).T
        yield {
            "what": "risen",
            "error_rate": rate,
            "confidence_known": told,
            "a_day": a_day,
            "runs": n,
            "suspected_within_500": round(float(np.mean(may_be <= 500)), 3),
            "sure_within_500": round(float(np.mean(sure <= 500)), 3),
            "sure_median": float(np.median(sure)),
            "sure_95_percent": float(np.quantile(sure, 0.95, method="higher")),
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
    parser.add_argument("--only", default="errors,quiet,risen,estimate,diagnosis")
    args = parser.parse_args()
    for name, measure in (("errors", errors), ("quiet", quiet), ("risen", rises), ("estimate", estimates), ("diagnosis", diagnoses)):
        if name in args.only.split(","):
            for line in measure(args.runs):
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
