"""The running tests of a rollout: what the counts of each look add to the evidence.

For each share (errors, slow, wrong, the labels' shares of the answers) two e-processes run over
blocks of counts, a block being what both arms counted between two looks (`sluice.stats.bernoulli`):

* *against the candidate*: null "worse than stable by at most `tolerance`". It runs over the whole
  rollout and also afresh from each step; their mean is again an e-process, so a step counts for
  itself without forgetting the steps before. The mean over all shares is one test at `alpha`:
  no multiplicity is left, however many steps, shares and looks there are.
* *for the candidate*: null "worse than stable by at least `margin`", afresh each step. All shares
  must refute theirs, so each may use the whole of `alpha` (an intersection-union test).

Bets need the stable model's rate, learned from earlier blocks only; they are hedged, so that a
block unlike the earlier ones (a burst in both arms) costs a bounded part of the wealth. Against
the candidate no single block can decide alone: what it adds is capped. Nor can one process's or one user's trouble: see `stretches`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from sluice.core.spelling import label_now
from sluice.rollouts import batches, stretches, users
from sluice.rollouts.spec import Margin, RolloutSpec
from sluice.rollouts.state import LABEL, Counts, add
from sluice.rollouts.stretches import COST, RATES
from sluice.stats import combine, difference_log_e, hedge, js, log_mean_exp, rate_log_e, ratio_log_e
from sluice.stats.special import Floats

SHIFT, DISAGREEMENT, OTHER = "shift", "disagreement", "(other)"

_RATIOS = np.array([1.5, 2.5, 5.0, 12.0, 40.0, 300.0])
_WORSE = np.array([0.003, 0.01, 0.03, 0.08, 0.2, 0.5])
_INSIDE = np.array([0.25, 0.5, 0.75, 1.0, 1.3, 2.0])
_BETS = _RATIOS.size
#: Stable outcomes to learn from before a bet that needs its rate, and the most that are remembered.
_LEARN, _REMEMBER = 20, 5000
_MOST = 0.9
_MAX_LABELS = 32
_TINY = 1e-5
#: A label below this share of stable's answers is rare: it could vanish and never move by the tolerance in points.
RARE = 0.2


def family(spec: RolloutSpec) -> list[str]:
    """The shares one alpha is spread over: fixed by the plan, whether or not a share turns out to be measurable."""
    names = ["errors"] + [n for n in ("slow", "wrong", "shift", COST) if getattr(spec, n) is not None]
    return names + ([DISAGREEMENT] if spec.shadow.requests else []) + (["business"] if spec.business else [])


def begin(spec: RolloutSpec) -> dict[str, Any]:
    """Tests of a rollout that has seen nothing."""
    return {"known": {}, "labels": None, "tracks": {}, "finished": 0, "stretches": stretches.begin()}


def _track(rows: int, finished: int) -> dict[str, Any]:
    zero = [[0.0] * _BETS for _ in range(rows)]
    # A share first measured now stood at 1 in every window before.
    return {"whole": zero, "step": zero, "pass": zero, "frozen": float(finished)}


def new_window(tests: Mapping[str, Any], *, counted: bool) -> dict[str, Any]:
    """Start a step's own tests; the ones of the step before stay at the value they reached.

    Args:
        tests: as kept in the state.
        counted: the window that ends was one of the plan's (the shadow or a step).
    """
    # What came of one arm alone was at another split of the traffic.
    tests = {**tests, "stretches": stretches.turn(tests.get("stretches", {})), "waiting": {}}
    if not counted:
        return tests
    tracks = {}
    for name, t in tests["tracks"].items():
        reached = min(math.exp(min(_mixture(t["step"]), 600.0)), 1e12)
        tracks[name] = {**_track(len(t["whole"]), 0), "whole": t["whole"], "frozen": t["frozen"] + reached}
    return {**tests, "tracks": tracks, "finished": tests["finished"] + 1}


def _mixture(wealth: list[list[float]]) -> float:
    """log of the mean of the wealth of all bets, kept as its logarithms."""
    return _mean(wealth[0]) if len(wealth) == 1 else float(log_mean_exp(np.array(wealth).ravel()))


def _mean(logs: list[float]) -> float:
    """`log_mean_exp` of a handful of numbers, for which an array takes ten times as long."""
    top = max(logs)
    return top + math.log(sum([math.exp(x - top) for x in logs]) / len(logs)) if math.isfinite(top) else top


def learn(tests: Mapping[str, Any], stable: Counts) -> dict[str, Any]:
    """Take a block of the stable arm that is no evidence (weights still settling) as knowledge of its rates."""
    known = add(tests["known"], users.without(stable))
    n = known.get("requests", 0)
    if n > _REMEMBER:
        known = {k: v * _REMEMBER / n for k, v in known.items()}
    labels = tests["labels"]
    if labels is None:
        seen = {k.removeprefix(LABEL): v for k, v in known.items() if k.startswith(LABEL)}
        if sum(seen.values()) >= _LEARN:
            labels = [*sorted(sorted(seen, key=lambda s: (-seen[s], s))[: _MAX_LABELS - 1]), OTHER]
    return {**tests, "known": known, "labels": labels}


@lru_cache(maxsize=256)
def _places(labels: tuple[str, ...]) -> dict[str, int]:
    """Where a label is counted, also as an older model spells it."""
    return {**{label_now(name): i for i, name in enumerate(labels)}, **{name: i for i, name in enumerate(labels)}}


def _labels(counts: Mapping[str, float], labels: list[str]) -> Floats:
    """Answers by label; one that an older model spells otherwise (``True``, ``1.0``) is the same label."""
    place, out, skip = _places(tuple(labels)), [0.0] * len(labels), len(LABEL)
    for k, v in counts.items():
        if k.startswith(LABEL):
            at = place.get(k[skip:])
            out[place.get(label_now(k[skip:]), -1) if at is None else at] += v
    return np.array(out)


class _Rows:
    """Rows of one vectorised bet: (share, which process, index of its row)."""

    def __init__(self) -> None:
        self.where: list[tuple[str, str, int]] = []
        self.values: list[tuple[float, float, float, float, float, float, float, float, float]] = []

    def put(
        self,
        name: str,
        kind: str,
        row: int,
        n_a: float,
        k_a: float,
        n_b: float,
        k_b: float,
        rate: float,
        boundary: float,
        sign: float,
        fraction: float,
    ) -> None:
        self.where.append((name, kind, row))
        scale = abs(boundary) if kind == "pass" else 0.0
        self.values.append((n_a, k_a, n_b, k_b, rate, boundary, sign, fraction, scale))


def update(
    spec: RolloutSpec, tests: Mapping[str, Any], stable: Counts, candidate: Counts, skip: tuple[str, ...] = (), spared: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Add a block of evidence: what both arms counted between two looks, weights unchanged.

    Args:
        spec, tests: the plan and the running tests.
        stable, candidate: the block, by arm.
        skip: shares this block says nothing about.
        spared: shares in which it says nothing against the candidate. What decides that must not be the counts themselves.
    """
    tracks = {name: dict(t) for name, t in tests["tracks"].items()}
    known, labels = tests["known"], tests["labels"]
    waiting, stable, candidate = batches.matched(tests.get("waiting", {}), stable, candidate)
    rows = _Rows()
    for name, (all_key, bad_key) in RATES.items():
        limits: Margin | None = getattr(spec, name)
        n_a, k_a, n_b, k_b = stable.get(all_key, 0), stable.get(bad_key, 0), candidate.get(all_key, 0), candidate.get(bad_key, 0)
        if limits is None or name in skip or n_a <= 0 or n_b <= 0:
            continue
        track = tracks.setdefault(name, _track(1, tests["finished"]))
        k_a, k_b = min(k_a, n_a), min(k_b, n_b)
        if limits.tolerance == 0 and name not in spared:
            gain = np.minimum(ratio_log_e(n_a, k_a, n_b, k_b, _RATIOS), _cap(spec, 1))
            _grow(track, gain[None, :])
        n, k = known.get(all_key, 0), known.get(bad_key, 0)
        if n >= _LEARN:
            rate, fraction = _rate(n, k, 0.01), min(_MOST, n / (n + n_a))
            unit = scale(name, rate)
            if limits.tolerance > 0 and name not in spared:
                rows.put(name, "fail", 0, n_a, k_a, n_b, k_b, rate, limits.tolerance * unit, 1.0, fraction)
            rows.put(name, "pass", 0, n_a, k_a, n_b, k_b, rate, limits.margin * unit, -1.0, fraction)
    if spec.shift is not None and labels is not None:
        tracks.setdefault(SHIFT, _track(2 * len(labels), tests["finished"]))
        answers = [_labels(counts, labels) for counts in (known, stable, candidate)]
        _label_rows(rows, spec.shift, *answers)
        _rare_labels(spec, tracks[SHIFT], *answers)
    _bet(spec, rows, tracks)
    return learn({**tests, "tracks": tracks, "waiting": waiting}, stable)


def _label_rows(rows: _Rows, limits: Margin, known: Floats, a: Floats, b: Floats) -> None:
    n, n_a, n_b = known.sum(), a.sum(), b.sum()
    if n < _LEARN or n_a <= 0 or n_b <= 0:
        return
    fraction = min(_MOST, n / (n + n_a))
    for i in range(a.size):
        rate = _rate(n, known[i], 1 / a.size)
        for row, sign in ((2 * i, 1.0), (2 * i + 1, -1.0)):
            if rate >= RARE:
                rows.put(SHIFT, "fail", row, n_a, a[i], n_b, b[i], rate, sign * limits.tolerance, sign, fraction)
            rows.put(SHIFT, "pass", row, n_a, a[i], n_b, b[i], rate, sign * limits.margin, -sign, fraction)


def factor(limits: Margin) -> float:
    """How many times more, or less, often a rare label may be answered: 2 at the default tolerance of 10 points, 1 at none."""
    return 1 + 10 * limits.tolerance


def _rare_labels(spec: RolloutSpec, track: dict[str, Any], known: Floats, a: Floats, b: Floats) -> None:
    """Against the candidate, labels that stable seldom answers: by how many times more or less often, since in points they cannot move far.

    Of the answers with the label in both arms each falls into the candidate's with its share of all answers, weighted by `factor`
    at the edge of the null (as `ratio_log_e` at 1; of a Bernoulli share the conditional mean is that up to 1/n).
    """
    n, n_a, n_b, limits = known.sum(), a.sum(), b.sum(), spec.shift
    if n < _LEARN or n_a <= 0 or n_b <= 0 or limits is None:
        return
    gain = np.zeros((2 * a.size, _BETS))
    rare = np.flatnonzero([_rate(n, k, 1 / a.size) < RARE for k in known])
    few_a, few_b = a[rare, None], b[rare, None]
    gain[2 * rare] = ratio_log_e(n_a, few_a, factor(limits) * n_b, few_b, _RATIOS)
    gain[2 * rare + 1] = ratio_log_e(n_b, few_b, factor(limits) * n_a, few_a, _RATIOS)
    _grow(track, np.minimum(gain, _cap(spec, 2 * a.size)))


def scale(name: str, rate: float) -> float:
    """What a share's limits are shares of: requests, or of costs what stable's answers cost."""
    return rate if name == COST else 1.0


def _rate(n: float, k: float, prior: float) -> float:
    return min(max((k + 5 * prior) / (n + 5), _TINY), 1 - _TINY)


def _share(known: Mapping[str, float], name: str) -> float:
    """What is known of stable's share."""
    all_key, bad_key = RATES[name]
    return _rate(known.get(all_key, 0.0), known.get(bad_key, 0.0), 0.01)


def _bet(spec: RolloutSpec, rows: _Rows, tracks: dict[str, dict[str, Any]]) -> None:
    if not rows.values:
        return
    n_a, k_a, n_b, k_b, rate, boundary, sign, fraction, scale = (c[:, None] for c in np.array(rows.values, dtype=np.float64).T)
    distance = np.where(scale > 0, scale * _INSIDE, _WORSE)
    # The bet: stable keeps its rate, the candidate lies beyond the boundary by `distance`.
    other = np.clip(rate + boundary + sign * distance, _TINY, 1 - _TINY)
    beyond = sign * (other - rate - boundary) > 1e-9
    gain = difference_log_e(n_a, k_a, n_b, k_b, np.where(beyond, rate, 0.5), np.where(beyond, other, 0.5), boundary)
    # Where the rate leaves no room beyond the boundary there is nothing to bet on.
    gain = hedge(np.where(beyond, gain, 0.0), fraction)
    by_track: dict[tuple[str, str], Floats] = {}
    for i, (name, kind, row) in enumerate(rows.where):
        by_track.setdefault((name, kind), np.zeros((len(tracks[name]["whole"]), _BETS)))[row] = gain[i]
    for (name, kind), g in by_track.items():
        if kind == "fail":
            _grow(tracks[name], np.minimum(g, _cap(spec, len(tracks[name]["whole"]))))
        else:
            tracks[name]["pass"] = _rounded(np.asarray(tracks[name]["pass"]) + g)


def _grow(track: dict[str, Any], gain: Floats) -> None:
    for part in ("whole", "step"):
        track[part] = _rounded(np.asarray(track[part]) + gain)


def _rounded(x: Floats) -> Any:
    # A hundred thousandth of a nat is nothing; short numbers keep a rollout's status small.
    return np.round(np.maximum(x, -1e6), 5).tolist()


def _cap(spec: RolloutSpec, rows: int) -> float:
    """The most one block may add: a little over half of what the whole verdict takes."""
    return 0.6 * math.log(2 * len(family(spec)) * rows * _BETS / spec.alpha)


def suspected(spec: RolloutSpec) -> float:
    """The log e-value at which evidence that lies within one stretch alone stays: half of what decides."""
    return 0.5 * math.log(len(family(spec)) / spec.alpha)


def against(
    spec: RolloutSpec,
    tests: Mapping[str, Any],
    total: Mapping[str, Counts],
    apart: Mapping[str, float] | None = None,
    clumps: dict[str, tuple[float, str]] | None = None,
    trouble: float | None = None,
) -> dict[str, float]:
    """log e-value against the candidate, by share: "it is worse than stable by at most `tolerance`" is the null.

    `apart` is how many bad answers come of one user; `clumps` takes by what each was divided, and by what that was seen. Evidence within
    `trouble` seconds alone, the plan's where none are given, does not decide.
    """
    out = {}
    windows = max(spec.windows, tests["finished"] + 1)
    for name, t in tests["tracks"].items():
        left = windows - tests["finished"] - 1
        steps = (t["frozen"] + math.exp(min(_mixture(t["step"]), 600.0)) + left) / windows
        out[name] = _mean([_mixture(t["whole"]), math.log(max(steps, 1e-300))])
        limits = getattr(spec, name)
        if name in RATES and out[name] > 0 and (kept := tests.get("stretches")) and limits is not None:
            # A rollout that an older controller began has no stretches of what it saw until then.
            lasts = spec.trouble_seconds if trouble is None else trouble
            clump, seen = stretches.clumped(kept, name, (apart or {}).get(name, 1.0), lasts)
            out[name] /= clump
            if clumps is not None:
                clumps[name] = (clump, seen)
            if not stretches.agrees(kept, name, limits.tolerance * scale(name, _share(tests["known"], name)), lasts, clump):
                out[name] = min(out[name], suspected(spec))
        elif out[name] > 0:
            out[name] /= (apart or {}).get(name, 1.0)
    copies = total.get("candidate", {})
    if spec.shadow.requests and copies.get("compared", 0) > 0:
        limit = spec.shadow.disagreement
        bets = limit + (1 - limit) * np.array([0.1, 0.3, 0.6, 0.95])
        out[DISAGREEMENT] = float(combine(rate_log_e(copies["compared"], copies.get("disagreed", 0), limit, bets))) if limit < 1 else 0.0
    return out


def together(spec: RolloutSpec, log_e: Mapping[str, float]) -> float:
    """log of the one e-value against the candidate: the mean over the family; a share without data stands at 1."""
    names = family(spec)
    return _mean([log_e.get(n, 0.0) for n in names])


def in_favour(tests: Mapping[str, Any]) -> dict[str, float]:
    """log e-value for the candidate in this step, by share; the labels' is their least."""
    out = {}
    for name, t in tests["tracks"].items():
        rows = t["pass"]
        out[name] = _mean(rows[0]) if len(rows) == 1 else float(log_mean_exp(np.array(rows)).min())
    return out


def requests_to_pass(spec: RolloutSpec, known: Counts, weights: Sequence[int]) -> list[float]:
    """Candidate requests at which one that answers as stable does is shown to be within every margin, at each of `weights` per cent of the traffic.

    From the growth of the best of the bets (`update`) a request, where both arms have stable's rates; about half of all rollouts need more.
    0 where nothing is known of stable yet.
    """
    requests = known.get("requests", 0)
    limits = {name: getattr(spec, name) for name in (*RATES, SHIFT) if getattr(spec, name) is not None}
    cases = [
        (limits[name].margin * scale(name, _share(known, name)), known.get(all_key, 0), known.get(bad_key, 0), 0.01)
        for name, (all_key, bad_key) in RATES.items()
        if name in limits
    ]
    answers = [v for k, v in known.items() if k.startswith(LABEL)]
    if SHIFT in limits and answers:
        cases.append((limits[SHIFT].margin, sum(answers), max(answers), 0.5))
    cases = [c for c in cases if c[1] >= _LEARN]
    if requests <= 0 or not cases:
        return [0.0] * len(weights)
    # [weights, cases, bets]
    beside = np.array([(100 - w) / w for w in weights])[:, None, None]
    margin, part = (np.array([c[i] for c in cases])[:, None] for i in (0, 1))
    rate = np.array([_rate(n, min(k, n), prior) for _, n, k, prior in cases])[:, None]
    bets = np.minimum(np.maximum(rate + margin * (1 - _INSIDE), _TINY), 1 - _TINY)
    gain = difference_log_e(beside, beside * rate, 1.0, rate, rate, bets, margin).max(axis=2) * _MOST * part[:, 0] / requests
    with np.errstate(divide="ignore"):
        found = np.where(gain > 0, math.log(_BETS / spec.alpha) / gain, 0.0)
    return [float(n) for n in found.max(axis=1)]


def distance(window: Mapping[str, Counts], tests: Mapping[str, Any]) -> tuple[float, str, float] | None:
    """(Jensen-Shannon distance of the arms' labels, the label whose move is shown best, by how much); None without labels in both."""
    labels = tests.get("labels")
    if labels is None:
        return None
    a, b = _labels(window.get("stable", {}), labels), _labels(window.get("candidate", {}), labels)
    if a.sum() == 0 or b.sum() == 0:
        return None
    moved = b / b.sum() - a / a.sum()
    track = tests["tracks"].get(SHIFT)
    shown = np.asarray(track["whole"]).max(axis=1).reshape(-1, 2).max(axis=1) if track else np.abs(moved)
    i = int(np.argmax(shown if shown.max() > 0 else np.abs(moved)))
    return js(a, b) or 0.0, labels[i], float(moved[i])
