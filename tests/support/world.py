"""A world, a model that knows it, and what may happen to both: prediction logs for simulations of monitoring.

Six columns (a normal, a lognormal, a zero-inflated and a count, two categories), answers yes and no by a logistic law that the model knows
exactly, so that its probabilities are calibrated as long as nothing happens.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sluice.monitor.reference import profile_of
from tests.support import logged

KINDS = {"height": "numeric", "income": "numeric", "spent": "numeric", "visits": "numeric", "job": "categorical", "city": "categorical"}
LABELS = ["no", "yes"]
_JOBS, _CITIES = np.array(["cook", "nurse", "clerk", "pilot"]), np.array(["Ulm", "Bonn", "Kiel"])
START = 1_793_500_000_000_000
Columns = dict[str, np.ndarray]


@dataclasses.dataclass
class World:
    """Rows of one seed.

    Args:
        sure: how sharp the law is: 1 gives an error rate of about 0.2, 3 of about 0.08.
    """

    seed: int = 0
    sure: float = 3.0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def rows(self, n: int) -> Columns:
        r = self.rng
        return {
            "height": r.normal(170, 10, n),
            "income": r.lognormal(10, 0.6, n),
            "spent": np.where(r.random(n) < 0.4, 0.0, r.gamma(2, 30, n)),
            "visits": r.poisson(9, n).astype(float),
            "job": r.choice(_JOBS, n, p=[0.4, 0.3, 0.2, 0.1]),
            "city": r.choice(_CITIES, n, p=[0.5, 0.3, 0.2]),
        }

    def score(self, x: Columns) -> np.ndarray:
        z = (x["height"] - 170) / 10 + 0.7 * (np.log(np.maximum(x["income"], 1e-3)) - 10) / 0.6 + (x["visits"] - 9) / 4
        return self.sure * (z + 0.8 * (x["job"] == "cook") - 0.3 + 0.004 * (x["spent"] - 36))

    def truth(self, x: Columns) -> np.ndarray:
        return (self.rng.random(len(x["job"])) < 1 / (1 + np.exp(-self.score(x)))).astype(int)

    def answers(self, x: Columns) -> np.ndarray:
        p = 1 / (1 + np.exp(-np.clip(self.score(x), -30, 30)))
        return np.stack([1 - p, p], axis=1)

    def profile(self, n: int = 4000) -> dict[str, Any]:
        x = self.rows(n)
        table = pa.table({k: pa.array(v.tolist()) for k, v in x.items()})
        return profile_of(table, KINDS, [LABELS[i] for i in self.truth(x)])

    def log(
        self,
        root: Path,
        x: Columns,
        y: np.ndarray | None = None,
        *,
        seen: Columns | None = None,
        at: int = 0,
        apart: float = 60.0,
        late: float = 3600.0,
    ) -> int:
        """Write a part: the world's rows `x` with truth `y` (None: not told), of which the model is shown `seen`. Returns rows written so far."""
        n = len(x["job"])
        shown = x if seen is None else seen
        times = START + ((at + np.arange(n)) * apart * 1e6).astype(np.int64)
        ids = [f"r{at + i}" for i in range(n)]
        features = {k: [None if v is None or v != v else v for v in np.asarray(c, dtype=object).tolist()] for k, c in shown.items()}
        usable = {k: np.array([{"job": "clerk", "city": "Ulm"}.get(k, 0.0) if v is None else v for v in c]) for k, c in features.items()}
        logged.predictions(
            root, times, ids=ids, labels=LABELS, probabilities=self.answers(usable), features={k: pa.array(c) for k, c in features.items()}
        )
        if y is not None:
            order = self.rng.permutation(n)
            told = times[order] + (self.rng.exponential(late, n) * 1e6).astype(np.int64)
            logged.feedback(root, told, [ids[i] for i in order], [LABELS[y[i]] for i in order])
        return at + n


def broken(what: str, x: Columns, rng: np.random.Generator) -> tuple[Columns, set[str]]:
    """The rows as a broken source shows them, and the columns that are broken."""
    y = {k: v.copy() for k, v in x.items()}
    n = len(x["job"])
    match what:
        case "nulls":
            y["income"] = np.where(rng.random(n) < 0.4, np.nan, x["income"])
            return y, {"income"}
        case "x1000":
            y["income"] = x["income"] * 1000
            return y, {"income"}
        case "cents in half":
            y["spent"] = np.where(rng.random(n) < 0.5, x["spent"] * 100, x["spent"])
            return y, {"spent"}
        case "inches":
            y["height"] = x["height"] / 2.54
            return y, {"height"}
        case "swapped":
            y["height"], y["visits"] = x["visits"], x["height"]
            return y, {"height", "visits"}
        case "swapped texts":
            y["job"], y["city"] = x["city"], x["job"]
            return y, {"job", "city"}
        case "renamed":
            y["job"] = np.where(x["job"] == "nurse", "carer", x["job"])
            return y, {"job"}
        case "upper case":
            y["city"] = np.char.upper(x["city"].astype(str))
            return y, {"city"}
        case "constant":
            y["height"] = np.full(n, 170.0)
            return y, {"height"}
        case "constant text":
            y["job"] = np.full(n, "clerk")
            return y, {"job"}
        case "default":
            y["height"] = np.where(rng.random(n) < 0.35, -1.0, x["height"])
            return y, {"height"}
    raise ValueError(what)


FAULTS = (
    "nulls",
    "x1000",
    "cents in half",
    "inches",
    "swapped",
    "swapped texts",
    "renamed",
    "upper case",
    "constant",
    "constant text",
    "default",
)


def shifted(what: str, world: World, n: int) -> tuple[Columns, set[str]]:
    """Rows of a world that has really moved, and the columns that did."""
    x, r = world.rows(n), world.rng
    match what:
        case "older":
            x["height"] = x["height"] + 9
            return x, {"height"}
        case "richer":
            x["income"] = x["income"] * 1.7
            return x, {"income"}
        case "spread":
            x["income"] = r.lognormal(10, 1.2, n)
            return x, {"income"}
        case "other jobs":
            x["job"] = r.choice(_JOBS, n, p=[0.1, 0.3, 0.2, 0.4])
            return x, {"job"}
        case "new city":
            x["city"] = np.where(r.random(n) < 0.3, "Graz", x["city"])
            return x, {"city"}
        case "busier":
            x["visits"] = r.poisson(14, n).astype(float)
            return x, {"visits"}
        case "spenders":
            x["spent"] = np.where(r.random(n) < 0.1, 0.0, r.gamma(2, 45, n))
            return x, {"spent"}
    raise ValueError(what)


SHIFTS = ("older", "richer", "spread", "other jobs", "new city", "busier", "spenders")
