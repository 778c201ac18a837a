"""How often slices refuse a candidate: one as good as the champion everywhere, one better on the whole and worse on some hundred rows.

``python -m tests.bench.slices [--runs 400] [--only NAME]`` prints a JSON line a case. A drawn comparison has 4,500 held-out rows of six columns (`simulated`); both models
are right on 90 % and each has errors of its own on `churn` of the rows. In the cases of a slice it holds 300 rows, on which the candidate loses 10 points while it gains
two elsewhere.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import pyarrow as pa

from sluice.core.predicate import parse
from sluice.data.where import Held
from sluice.fields import field_of
from sluice.gates.config import EvaluateConfig
from sluice.gates.found import versus
from sluice.gates.slice_champion import decide
from sluice.problems.answers import Answers
from sluice.problems.metrics import TABLE
from sluice.problems.units import Units

KINDS = {"age": "numeric", "income": "numeric", "tenure": "numeric", "plan": "categorical", "country": "categorical", "day": "timestamp"}
#: About 300 of 4,500 rows: of one column, of two, and of an hour.
SLICES = {"one column": "country == 'PT'", "two columns": "age >= 61.5 and plan == 'basic'", "an hour": "hour(day) < 2"}


def simulated(rng: np.random.Generator, rows: int) -> Held:
    """Rows of six columns with nothing about them."""
    values = {
        "age": pa.array(np.round(rng.uniform(18, 90, rows))),
        "income": pa.array(np.round(rng.lognormal(10, 1, rows), 2)),
        "tenure": pa.array(np.where(rng.random(rows) < 0.1, np.nan, rng.poisson(20, rows)), from_pandas=True),
        "plan": pa.array(rng.choice(["basic", "plus", "pro", "team", "trial"], rows, p=[0.17, 0.3, 0.2, 0.23, 0.1])),
        "country": pa.array(rng.choice(["DE", "FR", "IT", "PT", "ES", "PL"], rows, p=[0.4, 0.2, 0.15, 0.067, 0.1, 0.083])),
        "day": pa.array((np.datetime64("2026-01-01", "us") + rng.integers(0, 60 * 86_400_000_000, rows).astype("timedelta64[us]")), pa.timestamp("us")),
    }  # fmt: skip
    return Held({n: field_of(k, n) for n, k in KINDS.items()}, lambda n: pa.chunked_array([values[n]]))


def drawn(rng: np.random.Generator, held: Held, rows: int, churn: float, worse: str | None, units: int = 1) -> tuple[Answers, Answers]:
    """Two models' answers: each errs on 10 % of the rows, on `churn` of them alone; on `worse` the candidate errs on 10 points more, elsewhere on two fewer.

    Args:
        units: rows of a unit, which err together.
    """
    u, v = (np.repeat(rng.random(-(-rows // units)), units)[:rows] for _ in range(2))
    both = 0.10 - churn / 2
    wrong_too = (u < both) | ((u >= both) & (u < both + churn / 2))
    wrong = (u < both) | ((u >= both + churn / 2) & (u < both + churn))
    if worse is not None:
        rows_of = held.rows(parse(worse))
        wrong = np.where(rows_of, wrong | (v < 0.10 / 0.9), wrong & (v > 0.02 / 0.10))
    targets = rng.integers(0, 2, rows)
    together = Units("user", np.arange(rows) // units) if units > 1 else None

    def answers(errs: np.ndarray) -> Answers:
        named = np.where(errs, 1 - targets, targets)
        sure = rng.uniform(0.6, 0.99, rows)
        return Answers.of(np.where(np.arange(2) == named[:, None], sure[:, None], 1 - sure[:, None]), targets, named, 1, together)

    return answers(wrong), answers(wrong_too)


def case(
    name: str,
    runs: int,
    rows: int,
    churn: float,
    worse: str | None = None,
    declared: tuple[str, ...] = (),
    units: int = 1,
    metric: str = "accuracy",
) -> dict[str, Any]:
    """A line: how often a slice was refused, and of those how often it was the right one."""
    config, refused, right, started = EvaluateConfig(metric=metric), 0, 0, time.perf_counter()
    by = (TABLE[metric], TABLE[TABLE[metric].by_rows or metric])
    for seed in range(runs):
        rng = np.random.default_rng([seed, rows])
        held = simulated(rng, rows)
        ours, theirs = drawn(rng, held, rows, churn, worse, units)
        found = versus(held, list(declared), by, ours, theirs, config)
        if found is None or decide(found).decision != "refuse":
            continue
        refused += 1
        if worse is not None:
            at = held.rows(parse(worse))
            named = [held.rows(parse(s["slice"])) for s in found["slices"] if s["verdict"] == "worse"]
            right += any((at & n).sum() >= 0.5 * max(at.sum(), n.sum()) for n in named)
    out: dict[str, Any] = {"case": name, "runs": runs, "rows": rows, "churn": churn, "refused": refused / runs}
    if worse is not None:
        out["named"] = right / runs
    return out | {"seconds_each": round((time.perf_counter() - started) / runs, 3)}


COLUMNS = ("plan", "country", "age >= 60", "income < 10000", "hour(day) < 6")


def cases(runs: int) -> list[tuple[Any, ...]]:
    """Arguments of `case`."""
    out: list[tuple[Any, ...]] = [
        (f"equal, {rows} rows, {what}", runs, rows, churn, None, declared, units, metric)
        for rows, churn, what, declared, units, metric in (
            (4500, 0.06, "found", (), 1, "accuracy"),
            (4500, 0.06, "declared and found", COLUMNS, 1, "accuracy"),
            (4500, 0.15, "declared and found", COLUMNS, 1, "accuracy"),
            (376, 0.06, "declared and found", COLUMNS, 1, "accuracy"),
            (4500, 0.06, "in units of ten", COLUMNS, 10, "accuracy"),
            (4500, 0.06, "log loss", COLUMNS, 1, "log_loss"),
        )
    ]
    for kind, which in SLICES.items():
        out += [(f"{kind}, {how}, churn {churn:g}", runs // 2, 4500, churn, which, declared) for churn in (0.02, 0.06) for how, declared in (("found", ()), ("declared", (which, "plan", "country")))]  # fmt: skip
    out += [(f"power, two columns, found, {rows} rows, churn {churn:g}", runs // 4, rows, churn, SLICES["two columns"]) for rows in (2250, 4500, 9000, 18000) for churn in (0.02, 0.06)]  # fmt: skip
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--only", default="")
    told = parser.parse_args()
    for args in cases(told.runs):
        if told.only in args[0]:
            print(json.dumps(case(*args)), flush=True)


if __name__ == "__main__":
    main()
