"""Generated tables with what real ones have: gaps, rare labels, categories of many values, codes for names, times, words, noise, long tails."""

from __future__ import annotations

import numpy as np
import pandas as pd


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
    return frame.assign(income=np.where(rng.random(rows) < _chance(score), "more", "less"))


def credit_like(rows: int = 6000) -> pd.DataFrame:
    """Who does not pay back, one in a hundred: amounts of long tails that count by their ratio, counts, an income that one in eight does not tell."""
    rng = np.random.default_rng(4)
    income, limit = np.exp(rng.normal(8, 0.7, rows)), np.exp(rng.normal(9, 0.9, rows))
    used = np.clip(rng.beta(0.8, 1.6, rows) + (rng.random(rows) < 0.02) * rng.exponential(3, rows), 0, 20)
    late, age = rng.poisson(0.25, rows), rng.integers(21, 90, rows)
    home, purpose = rng.choice(["own", "rent", "mortgage"], rows), rng.choice(12, rows, p=_zipf(12))
    debt = limit * used / income
    score = (
        0.9 * np.minimum(late, 5) + 1.4 * np.minimum(used, 1.5) + 0.7 * np.log1p(debt) - 0.02 * (age - 40) + 0.5 * (home == "rent") - 6.1
    )
    score += 0.8 * ((late > 0) & (used > 0.8)) + 0.25 * rng.normal(size=12)[purpose]
    frame = pd.DataFrame({"income": income.round(), "limit": limit.round(-2), "used": used.round(4), "late": late, "age": age})
    frame = frame.assign(home=home, purpose=[f"p{v}" for v in purpose])
    frame.loc[rng.random(rows) < 0.12, "income"] = np.nan
    return frame.assign(default=np.where(rng.random(rows) < _chance(score), "yes", "no"))


def counts(rows: int = 4000) -> pd.DataFrame:
    """Bicycles lent in an hour: what hour, day and weather multiply to, counted."""
    rng = np.random.default_rng(5)
    hour, weekday, month = rng.integers(0, 24, rows), rng.integers(0, 7, rows), rng.integers(1, 13, rows)
    warm = 14 - 11 * np.cos((month - 1) / 12 * 2 * np.pi) + rng.normal(0, 4, rows)
    sky = rng.choice(["clear", "clouds", "rain"], rows, p=[0.6, 0.28, 0.12])
    work = (weekday < 5) & (rng.random(rows) > 0.03)
    rush = np.where(work, 1.2 * np.isin(hour, (7, 8, 9, 17, 18, 19)), 0.9 * ((hour > 10) & (hour < 18)))
    rate = (
        4.0
        + rush
        - 2.2 * (hour < 6)
        + 0.035 * warm
        - 0.0012 * np.maximum(warm - 24, 0) ** 2
        - 0.9 * (sky == "rain")
        - 0.15 * (sky == "clouds")
    )
    frame = pd.DataFrame({"hour": hour, "weekday": weekday, "month": month, "workday": np.where(work, "yes", "no"), "sky": sky})
    frame = frame.assign(temperature=warm.round(1), wind=rng.gamma(2, 6, rows).round(1))
    return frame.assign(lent=rng.poisson(np.exp(rate + rng.normal(0, 0.2, rows))))


def noise(rows: int = 1000) -> pd.DataFrame:
    """Five columns of a hundred that tell something."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(rows, 100))
    score = 1.1 * x[:, 0] - 0.9 * x[:, 1] + 0.8 * x[:, 2] * x[:, 3] + 0.9 * (x[:, 4] > 0.5)
    frame = pd.DataFrame(x.round(4), columns=[f"m{i}" for i in range(100)])
    return frame.assign(sick=np.where(rng.random(rows) < _chance(1.3 * score), "yes", "no"))


def number_codes(rows: int = 3000) -> pd.DataFrame:
    """Whole numbers that are names: a branch, a product, a tariff; and two that are numbers."""
    rng = np.random.default_rng(7)
    branch, product, tariff = rng.integers(1, 41, rows), rng.choice(np.arange(101, 131), rows, p=_zipf(30)), rng.integers(1, 8, rows)
    age, spent = rng.integers(18, 80, rows), np.exp(rng.normal(3, 1, rows)).round(2)
    score = rng.normal(0, 1, 41)[branch] + rng.normal(0, 1, 131)[product] + rng.normal(0, 0.6, 8)[tariff] + 0.02 * (age - 45)
    score += 0.4 * np.log(spent / 20)
    frame = pd.DataFrame({"branch": branch, "product": product, "tariff": tariff, "age": age, "spent": spent})
    return frame.assign(left=np.where(rng.random(rows) < _chance(score), "yes", "no"))


def skewed(rows: int = 2500) -> pd.DataFrame:
    """A price of which one in a hundred is thirty times the usual one: factors multiply."""
    rng = np.random.default_rng(8)
    size, age = np.exp(rng.normal(4.4, 0.5, rows)), rng.integers(0, 90, rows)
    place, state = rng.choice(25, rows, p=_zipf(25)), rng.choice(["poor", "fair", "good", "new"], rows, p=[0.15, 0.4, 0.35, 0.1])
    rate = 1.1 * np.log(size) - 0.006 * age + rng.normal(0, 0.5, 25)[place] + 0.2 * np.select([state == "good", state == "new"], [1, 2], 0)
    frame = pd.DataFrame({"size": size.round(1), "age": age, "place": [f"z{v}" for v in place], "state": state})
    frame = frame.assign(rooms=np.maximum(1, (size / 25 + rng.normal(0, 0.7, rows)).round()))
    frame.loc[rng.random(rows) < 0.1, "age"] = np.nan
    return frame.assign(price=np.exp(rate + 3 + rng.normal(0, 0.3, rows)).round(-2))


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


def _chance(score: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-score)))


def _zipf(values: int, power: float = 1.0) -> np.ndarray:
    p = 1 / np.arange(1, values + 1) ** power
    return p / p.sum()
