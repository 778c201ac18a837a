"""How often each group gets the positive answer, and how far groups are apart, with intervals.

Values are fairlearn's. An interval is not its bootstrap: of groups that are all alike the largest rate less the smallest is above 0 on any rows, and further above on
resampled ones, so that many small groups would break a bound that all of them keep (`tests/unit/evaluation/test_fairness.py` draws it). Instead every pair of groups has
an interval, together at the confidence (Bonferroni), and the difference is at least the largest lower limit and at most the largest upper one.

References:
    Wilson's limits of each rate (of so many independent rows as units leave: `sluice.problems.clustered`), combined by MOVER: Zou and Donner: Construction of
    confidence limits about effect measures (Statistics in Medicine 27, 2008, 1693-1702); of a ratio by inverting those of first - r * second, as Fieller's (1954).
    Hardt, Price, Srebro: Equality of opportunity in supervised learning (NeurIPS 2016). Bird et al.: Fairlearn (2020).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core import predicate
from sluice.core.errors import MissingExtra
from sluice.core.predicate import Column
from sluice.data.where import Held, missing_values
from sluice.problems import clustered
from sluice.problems.units import Units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sluice.gates.facts import Judged
    from sluice.gates.fairness import FairConfig, FairnessConfig

#: Groups of a column that are told; of numbers with more values than that, quartiles.
_MOST = 12
#: Each metric's rates: of all rows, of those whose label is the positive one, of the others.
_OF = {
    "demographic_parity_difference": ("all",),
    "disparate_impact": ("all",),
    "equal_opportunity_difference": ("positive",),
    "equalized_odds_difference": ("positive", "others"),
}
_AMONG = {"all": "", "positive": "positive", "others": "others"}


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """What is asked of each held-out row.

    Attributes:
        positive: whether its label is the positive one, bool [rows].
        answered: whether the positive one is answered, bool [rows].
        units: which rows belong together; None: each stands alone.
    """

    positive: NDArray[np.bool_]
    answered: NDArray[np.bool_]
    units: Units | None = None


def of_facts(facts: Judged, config: FairConfig, fairness: FairnessConfig) -> dict[str, Any]:
    """`measured` of a package's answers."""
    label, package = fairness.positive or config.positive or "", facts.package
    asked = facts.dataset.problem
    a = asked.answers(facts.outputs, facts.targets, facts.labels, rule=package.rule, positive=facts.positive, units=facts.units)
    at, held = facts.labels.index(label) if label in facts.labels else -2, Held.of(facts.dataset, "test")
    rows = Rows(a.targets == at, a.predicted == at, a.units)
    return measured(rows, {text: groups_of(held, text) for text in fairness.groups}, fairness, label, config.confidence)


def groups_of(held: Held, text: str) -> list[str]:
    """Each row's group by a column or an expression: a value, a quarter of many numbers, ``missing``; of an expression itself, or ``not`` it."""
    which = predicate.read(text)
    if not isinstance(which, str):
        inside = held.rows(which, "evaluate.fairness.groups")
        return [str(which) if yes else str(predicate.Not(which)) for yes in inside]
    values = held.values(Column(which))
    if values.dtype == float and len(np.unique(values[~np.isnan(values)])) > _MOST:
        cuts = np.unique(np.quantile(values[~np.isnan(values)], (0.25, 0.5, 0.75)))
        names = [f"{which} < {cuts[0]:g}", *(f"{a:g} <= {which} < {b:g}" for a, b in itertools.pairwise(cuts)), f"{which} >= {cuts[-1]:g}"]
        return ["missing" if np.isnan(v) else names[int(np.searchsorted(cuts, v, side="right"))] for v in values]
    return ["missing" if gone else str(text) for text, gone in zip(held.texts(which), missing_values(values), strict=True)]


def measured(rows: Rows, groups: dict[str, list[str]], config: FairnessConfig, positive: str, confidence: float) -> dict[str, Any]:
    """Each group's rates, and each metric against its bound.

    Args:
        rows: what is asked of the held-out rows.
        groups: column -> each row's group.
        config: the bounds.
        positive: the label that is good to get.
        confidence: of intervals.

    Returns:
        ``positive``, ``confidence``, ``support``, and ``columns`` [{column, groups [{group, unit, units, all, positive, others: {rate, low, high, rows, counted}}],
        metrics [{metric, bound, value, low, high, verdict (``kept``, ``broken``, ``cannot_tell``; "" without a bound), why, between [[group, rate]], among}]}].
    """
    columns = []
    for column, of in groups.items():
        codes = np.asarray(of, dtype=object).astype(str)
        names, counts = np.unique(codes, return_counts=True)
        kept = sorted(names[np.argsort(-counts, kind="stable")][:_MOST].tolist(), key=_place)
        told = [_group(name, codes == name, rows, confidence) for name in kept]
        found = [_metric(name, kinds, codes, told, rows, config, confidence) for name, kinds in _OF.items()]
        columns.append({"column": column, "groups": told, "metrics": found})
    return {"positive": positive, "confidence": confidence, "support": config.support, "columns": columns}


def _place(name: str) -> tuple[float, bool, str]:
    """Where a group stands among the others: quarters of a number in their order."""
    first = re.search(r"\d+(\.\d+)?", name)
    return float(first[0]) if first else math.inf, " < " not in name or "<=" in name, name


def _among(kind: str, rows: Rows) -> NDArray[np.bool_]:
    return {"all": np.ones(len(rows.positive), dtype=bool), "positive": rows.positive, "others": ~rows.positive}[kind]


def _group(name: str, inside: NDArray[np.bool_], rows: Rows, confidence: float) -> dict[str, Any]:
    units = rows.units.rows(inside) if rows.units else None
    rates = {}
    for kind in ("all", "positive", "others"):
        chosen = inside & _among(kind, rows)
        some = rows.units.rows(chosen) if rows.units else None
        out: dict[str, Any] = {
            "rate": None,
            "low": None,
            "high": None,
            "rows": int(chosen.sum()),
            "counted": some.count if some else int(chosen.sum()),
        }
        if chosen.any():
            low, high = clustered.proportion(rows.answered[chosen], some, confidence)
            out |= {"rate": float(rows.answered[chosen].mean()), "low": low, "high": high}
        rates[kind] = out
    return {"group": name, **(units.told_as() if units else {}), **rates}


def _metric(
    name: str,
    kinds: Sequence[str],
    codes: NDArray[Any],
    groups: list[dict[str, Any]],
    rows: Rows,
    config: FairnessConfig,
    confidence: float,
) -> dict[str, Any]:
    bound = getattr(config.metrics, name)
    large = [g["group"] for g in groups if all(g[kind]["counted"] >= config.support for kind in kinds)]
    small = [g["group"] for g in groups if g["group"] not in large]
    why = f"fewer than {config.support} {'units' if rows.units else 'rows'}{_whose(kinds)}: {', '.join(small[:5])}" if small else ""
    out: dict[str, Any] = {"metric": name, "bound": bound, "value": None, "low": None, "high": None, "why": why, "between": [], "among": ""}
    if len(large) < 2:
        return out | {"verdict": "" if bound is None else "cannot_tell", "why": why or "there is one group"}
    ratio = name == "disparate_impact"
    inside = np.isin(codes, large)
    out["value"] = _by_fairlearn(name, rows.positive[inside], rows.answered[inside], codes[inside])
    pairs = [(kind, a, b) for kind in kinds for a, b in itertools.combinations(large, 2)]
    each = 1 - (1 - confidence) / len(pairs)
    rates = {(kind, g): _rate(rows, _among(kind, rows) & (codes == g), each) for kind in kinds for g in large}
    limits = [_apart(rates[kind, a], rates[kind, b], ratio) for kind, a, b in pairs]
    pick = min if ratio else max
    out |= {"low": pick(low for low, _ in limits), "high": pick(high for _, high in limits)}
    kind = max(kinds, key=lambda k: max(rates[k, g][0] for g in large) - min(rates[k, g][0] for g in large))
    ends = (max(large, key=lambda g: rates[kind, g][0]), min(large, key=lambda g: rates[kind, g][0]))
    out |= {"between": [[g, rates[kind, g][0]] for g in ends], "among": _AMONG[kind]}
    return out | {"verdict": "" if bound is None else _verdict(out["low"], out["high"], bound, ratio)}


def _whose(kinds: Sequence[str]) -> str:
    return " with either label" if len(kinds) > 1 else "" if kinds[0] == "all" else " with the positive label"


def _verdict(low: float, high: float, bound: float, ratio: bool) -> str:
    if (high < bound) if ratio else (low > bound):
        return "broken"
    return "kept" if ((low >= bound) if ratio else (high <= bound)) else "cannot_tell"


def _rate(rows: Rows, chosen: NDArray[np.bool_], confidence: float) -> tuple[float, float, float]:
    """A rate and its limits."""
    low, high = clustered.proportion(rows.answered[chosen], rows.units.rows(chosen) if rows.units else None, confidence)
    return float(rows.answered[chosen].mean()), low, high


def _apart(a: tuple[float, float, float], b: tuple[float, float, float], ratio: bool) -> tuple[float, float]:
    """Limits of how far two rates are apart: of the larger less the smaller, at least 0; or of the smaller over the larger, at most 1."""
    if a[0] < b[0]:
        a, b = b, a
    if not ratio:
        (p, low, high), (q, least, most) = a, b
        down, up = math.hypot(p - low, most - q), math.hypot(high - p, q - least)
        return max(0.0, p - q - down), min(1.0, max(p - q + up, down - (p - q)))
    return _ratio(b, a)


def _ratio(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float]:
    """Limits of a / b, at most 1: those r for which 0 is within the limits of a - r * b."""

    def beyond(r: float, upper: bool) -> bool:
        (p, low, high), (q, least, most) = a, b
        gap = p - r * q
        return gap + math.hypot(high - p, r * (q - least)) < 0 if upper else gap - math.hypot(p - low, r * (most - q)) > 0

    def search(upper: bool) -> float:
        inside, outside = (1.0, 0.0) if not upper else (0.0, 1.0)
        if not beyond(outside, upper):
            return outside
        for _ in range(50):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if beyond(middle, upper) else (middle, outside)
        return outside

    return search(False), search(True)


def _by_fairlearn(name: str, positive: NDArray[np.bool_], answered: NDArray[np.bool_], codes: NDArray[Any]) -> float:
    try:
        from fairlearn import metrics
    except ImportError as e:
        raise MissingExtra("needs fairlearn", field="evaluate.fairness", fix="pip install 'sluice-ml[gates]'") from e

    known = {
        "demographic_parity_difference": metrics.demographic_parity_difference,
        "disparate_impact": metrics.demographic_parity_ratio,
        "equal_opportunity_difference": metrics.equal_opportunity_difference,
        "equalized_odds_difference": metrics.equalized_odds_difference,
    }
    value = float(known[name](positive.astype(int), answered.astype(int), sensitive_features=codes.astype(str)))
    return value if math.isfinite(value) else 1.0  # nobody is answered it: 0 over 0
