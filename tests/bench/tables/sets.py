"""Tables as a stranger has them: a CSV file and the name of its label.

Real ones from a folder (`--data`, by default what lies beside the project) and from scikit-learn's wheel; generated ones with what real ones have:
gaps, rare labels, categories of many values, times, words. Of each table there are also samples of 30 rows, judged on all the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

#: Rows that are taken of a larger table.
MOST = 8000
#: Rows of a small sample, and how many samples there are of a table.
FEW, SAMPLES = 30, 3
#: Of a folder's files: the label, and what a person would leave out: what names the row, or is known only afterwards.
FILES: dict[str, dict[str, Any]] = {
    "titanic": {"label": "survived", "ignore": ["alive"]},
    "telco": {"label": "Churn", "ignore": ["customerID"]},
    "caravan": {"label": "Purchase", "ignore": ["rownames"]},
    "bikeshare": {"label": "count", "ignore": ["casual", "registered"]},
    "diamonds": {"label": "price"},
}
BUNDLED = {"breast_cancer": "class", "wine": "class", "diabetes": "value"}
SMALL = ("titanic", "telco", "bikeshare", "diabetes", "breast_cancer", "adult-like")


@dataclasses.dataclass(frozen=True)
class Table:
    """A file to learn from, its label, what is left out, and held-out rows where they lie in another file."""

    source: Path
    label: str
    ignore: tuple[str, ...] = ()
    test: Path | None = None


def find(folder: Path | None, work: Path) -> dict[str, Table]:
    """name -> table; files are written to `work`."""
    work.mkdir(parents=True, exist_ok=True)
    made: dict[str, tuple[Callable[[], pd.DataFrame], str, tuple[str, ...]]] = {}
    for name, known in FILES.items():
        if folder and (folder / f"{name}.csv").is_file():
            path = folder / f"{name}.csv"
            made[name] = (lambda path=path: pd.read_csv(path), known["label"], tuple(known.get("ignore", ())))
    made |= {name: (lambda name=name: _bundled(name), label, ()) for name, label in BUNDLED.items()}
    made |= {"adult-like": (adult_like, "income", ()), "shops": (shops, "refund", ()), "reviews": (reviews, "stars", ())}
    found = {}
    for name, (load, label, ignore) in made.items():
        path = work / f"{name}.csv"
        if not path.exists():
            load().to_csv(path, index=False)
        whole = pd.read_csv(path, dtype=str, keep_default_na=False)
        found[name] = Table(_sampled(whole, MOST, 0, work / f"{name}-{MOST}.csv")[0], label, ignore)
        if name in SMALL:
            for i in range(SAMPLES):
                few, rest = _sampled(whole, FEW, 1 + i, work / f"{name}-{FEW}-{i}.csv")
                found[f"{name}/{FEW}/{i}"] = Table(few, label, ignore, rest)
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


def adult_like(rows: int = 12_000) -> pd.DataFrame:
    """Who earns much: numbers of long tails, categories of up to 300 values with an order of their own, gaps, one in four 'yes'."""
    rng = np.random.default_rng(1)
    age, hours = rng.integers(17, 80, rows), np.clip(rng.normal(40, 12, rows), 1, 99).round()
    level, trade = rng.integers(0, 16, rows), rng.choice(40, rows, p=_zipf(40))
    place, married = rng.choice(300, rows, p=_zipf(300)), rng.random(rows) < 0.15 + 0.4 * (age > 28)
    gain = np.where(rng.random(rows) < 0.08, np.exp(rng.normal(8.5, 1, rows)).round(), 0)
    worth, rent = rng.normal(0, 0.8, 40), rng.normal(0, 0.9, 300)
    score = 0.28 * (level - 9) + worth[trade] + rent[place] + 1.6 * married - ((age - 50) / 16) ** 2 + 0.03 * (hours - 40)
    score += 2.5 * (gain > 5000) + 0.5 * married * (level > 11) - 0.9
    frame = pd.DataFrame(
        {
            "age": age,
            "education": [f"level {v}" for v in level],
            "occupation": [f"trade {v}" for v in trade],
            "place": [f"town {v}" for v in place],
            "married": np.where(married, "yes", "no"),
            "hours": hours,
            "gain": gain,
        }
    ).astype(object)
    for column, share in (("occupation", 0.06), ("place", 0.03), ("hours", 0.05)):
        frame.loc[rng.random(rows) < share, column] = None
    return frame.assign(income=np.where(rng.random(rows) < 1 / (1 + np.exp(-score)), "more", "less"))


def shops(rows: int = 6000) -> pd.DataFrame:
    """Orders that are sent back, one in ten: 1,500 shops of a few orders each tell the most, times and amounts the rest."""
    rng = np.random.default_rng(2)
    shop, amount = rng.choice(1500, rows, p=_zipf(1500, 0.6)), np.exp(rng.normal(3.5, 1, rows)).round(2)
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700 * 24, rows), unit="h")
    careless = rng.normal(0, 1.3, 1500)
    score = careless[shop] + 0.5 * np.log(amount / 30) + 0.9 * np.isin(day.hour, (22, 23, 0, 1, 2)) - 2.9
    back = rng.random(rows) < 1 / (1 + np.exp(-score))
    return pd.DataFrame({"shop": [f"S{v:04d}" for v in shop], "amount": amount, "ordered": day, "refund": np.where(back, "yes", "no")})


def reviews(rows: int = 3000) -> pd.DataFrame:
    """Stars of a stay: a sentence tells most of it, the price and the town the rest."""
    rng = np.random.default_rng(3)
    good = ["clean", "quiet", "friendly", "bright", "spotless", "generous", "charming", "warm", "tidy", "relaxing"]
    bad = ["dirty", "noisy", "rude", "dark", "broken", "cramped", "cold", "smelly", "overpriced", "stained"]
    things = ["room", "bed", "staff", "breakfast", "lobby", "bath", "view", "garden", "kitchen", "balcony", "shower", "pillow"]
    price, town = rng.integers(40, 400, rows), rng.choice(["Rome", "Oslo", "Lima", "Kyiv"], rows)
    liking = rng.normal(0, 1, rows)
    texts = []
    for like in liking:
        words = [rng.choice(good if rng.random() < 1 / (1 + np.exp(-2 * like)) else bad) for _ in range(4)]
        texts.append(", ".join(f"the {rng.choice(things)} was {w}" for w in words))
    score = 1.3 * liking - 0.004 * (price - 200) + 0.6 * (town == "Oslo") + rng.normal(0, 0.6, rows)
    return pd.DataFrame({"review": texts, "price": price, "town": town, "stars": np.where(score > 0, "many", "few")})


def _zipf(values: int, power: float = 1.0) -> np.ndarray:
    p = 1 / np.arange(1, values + 1) ** power
    return p / p.sum()
