"""Tables as a stranger has them: a CSV file and the name of its label.

Real ones from a folder (`--data`, by default what lies beside the project) and from scikit-learn's wheel, generated ones from `made`. Each is split
anew by as many seeds as are asked for; of some there are samples of few rows, another one a seed, judged on all the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.bench.tables import made

#: Rows that are taken of a larger table.
MOST = 8000
#: Of a folder's files: the label, and what a person would leave out: what names the row, or is known only afterwards.
FILES: dict[str, dict[str, Any]] = {
    "titanic": {"label": "survived", "ignore": ["alive"]},
    "telco": {"label": "Churn", "ignore": ["customerID"]},
    "caravan": {"label": "Purchase", "ignore": ["rownames"]},
    "bikeshare": {"label": "count", "ignore": ["casual", "registered"]},
    "diamonds": {"label": "price"},
}
BUNDLED = {"iris": "class", "breast_cancer": "class", "wine": "class", "digits": "class", "diabetes": "value"}
MADE: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
    "adult-like": (made.adult_like, "income"),
    "credit-like": (made.credit_like, "default"),
    "counts": (made.counts, "lent"),
    "noise": (made.noise, "sick"),
    "number-codes": (made.number_codes, "left"),
    "skewed": (made.skewed, "price"),
    "shops": (made.shops, "refund"),
    "reviews": (made.reviews, "stars"),
}
#: Rows of small samples, and how many more of them a seed there are, since what thirty rows teach differs much.
SMALL = {
    30: ("titanic", "telco", "bikeshare", "diabetes", "breast_cancer", "adult-like"),
    100: ("titanic", "diamonds", "adult-like", "credit-like"),
}
SAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Table:
    """A file to learn from, its label, what is left out, held-out rows where they lie in another file, and the seed of the split."""

    source: Path
    label: str
    ignore: tuple[str, ...] = ()
    test: Path | None = None
    seed: int = 17


def find(folder: Path | None, work: Path, seeds: int = 1) -> dict[str, Table]:
    """``table/seed`` and ``table/rows/sample`` -> table; files are written to `work`."""
    work.mkdir(parents=True, exist_ok=True)
    sets: dict[str, tuple[Callable[[], pd.DataFrame], str, tuple[str, ...]]] = {}
    for name, known in FILES.items():
        if folder and (folder / f"{name}.csv").is_file():
            path = folder / f"{name}.csv"
            sets[name] = (lambda path=path: pd.read_csv(path), known["label"], tuple(known.get("ignore", ())))
    sets |= {name: (lambda name=name: _bundled(name), label, ()) for name, label in BUNDLED.items()}
    sets |= {name: (load, label, ()) for name, (load, label) in MADE.items()}
    found = {}
    for name, (load, label, ignore) in sets.items():
        path = work / f"{name}.csv"
        if not path.exists():
            load().to_csv(path, index=False)
        whole = pd.read_csv(path, dtype=str, keep_default_na=False)
        source = _sampled(whole, MOST, 0, work / f"{name}-{MOST}.csv")[0]
        found |= {f"{name}/{seed}": Table(source, label, ignore, seed=17 + seed) for seed in range(seeds)}
        for rows in (rows for rows, names in SMALL.items() if name in names):
            for i in range(SAMPLES * seeds):
                few, rest = _sampled(whole, rows, 1 + i, work / f"{name}-{rows}-{i}.csv")
                found[f"{name}/{rows}/{i}"] = Table(few, label, ignore, rest)
    return found


def _sampled(whole: pd.DataFrame, rows: int, seed: int, path: Path) -> tuple[Path, Path]:
    """At most so many rows in their own order, and a file of at most 4,000 of the others."""
    rest = path.with_suffix(".rest.csv")
    if not path.exists():
        order = np.random.default_rng(seed).permutation(len(whole))
        whole.iloc[np.sort(order[rows : rows + 4000])].to_csv(rest, index=False)
        whole.iloc[np.sort(order[:rows])].to_csv(path, index=False)
    return path, rest


def _bundled(name: str) -> pd.DataFrame:
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")(as_frame=True)
    target = found.target if name == "diabetes" else found.target.map(dict(enumerate(map(str, found.get("target_names", ())))))
    return found.data.assign(**{BUNDLED[name]: target})
