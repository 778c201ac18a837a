"""How a share's bad answers lie in time and over processes: whether more requests than one trouble had speak against a candidate.

An e-value takes requests as independent. A process that is in trouble for a while, or a user whose requests all fail, makes many bad
answers of one cause. Two things keep a rollout's level where that happens in both arms alike:

* what speaks against the candidate is divided by the dispersion seen (`sluice.stats.dispersion`): between the processes of an arm in the
  same while, between groups of whole users, and over time, of the candidate's part in both arms' bad answers;
* evidence that lies within `trouble_seconds` alone decides nothing: what is left without it has to agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sluice.rollouts.costs import ANSWERS, SHARE
from sluice.rollouts.state import ARMS, Counts
from sluice.stats import log_mean_exp, ratio_log_e

#: The share whose outcomes are costs over a bound, and its limits shares of stable's own.
COST = "cost"
#: share -> (counter of outcomes, counter of bad ones); what is new stands last, since a rollout under way has kept the others
RATES = {"errors": ("requests", "errors"), "slow": ("timed", "slow"), "wrong": ("judged", "wrong"), COST: (ANSWERS, SHARE)}
_NAMES = tuple(RATES)
#: What is left without the worst stretch has to be this much evidence by itself.
_AGREES = math.log(10.0)
#: Stretches kept, and how many of them the trouble's length spans.
_KEPT, _PARTS = 40, 3
_LONG = 4
#: Of its mean, how much of an excess each stretch has where it stays; of a trouble's length, after how long it is none, and with one process alone.
_STAYS, _LASTS, _ALONE = 0.3, 1.0, 2.0
#: Bad answers that a dispersion over processes or time begins with, as of independent ones.
_PRIOR = 1.0
#: Above which dispersion an arm was in trouble before, and how much longer an excess has to stay there until it is a change.
_CLUMPS, _RESTLESS = 3.0, 1.75
_RATIOS = np.array([1.5, 2.5, 5.0, 12.0, 40.0, 300.0])


def begin() -> dict[str, Any]:
    """Nothing seen."""
    return {"rows": [], "fresh": True, "pods": {}}


def turn(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The split of the traffic changes: what comes now is a stretch of its own."""
    return {**begin(), **kept, "fresh": True}


def take(
    kept: Mapping[str, Any], by_process: Mapping[str, Mapping[str, Counts]], begun: float, now: float, trouble: float
) -> dict[str, Any]:
    """Add a block: what each process counted between `begun` and `now`.

    Args:
        kept: as the last call left it. by_process: by arm and process. trouble: seconds that a process's own trouble lasts.
    """
    rows, old = [_filled(r, 2 + 4 * len(_NAMES)) for r in kept.get("rows", [])], kept.get("pods", {})
    sums = [sum(c.get(key, 0.0) for c in by_process[arm].values()) for name in _NAMES for arm in ARMS for key in RATES[name]]
    if rows and not kept.get("fresh", True) and now - rows[-1][0] <= trouble / _PARTS:
        rows[-1] = [rows[-1][0], now, *(x + y for x, y in zip(rows[-1][2:], sums, strict=True))]
    else:
        rows.append([begun, now, *sums])
    # The oldest two become one: how they lie to each other is told by the rest.
    if len(rows) > _KEPT:
        rows[:2] = [[rows[0][0], rows[1][1], *(x + y for x, y in zip(rows[0][2:], rows[1][2:], strict=True))]]
    return {"rows": rows, "fresh": False, "pods": {arm: _processes(old.get(arm, {}), by_process[arm], now, trouble) for arm in ARMS}}


def _processes(kept: Mapping[str, Any], counted: Mapping[str, Counts], now: float, trouble: float) -> dict[str, Any]:
    """Of one arm: the counts of each process in the stretch that is open, and the statistic of those that are closed."""
    size = 2 * len(_NAMES)
    since, open_, closed = kept.get("since", now), {i: _filled(c, size) for i, c in kept.get("open", {}).items()}, kept.get("closed", [])
    closed = _filled(closed, size)
    if now - since > trouble:
        closed = [x + y for x, y in zip(closed, _spread(open_), strict=True)]
        since, open_ = now, {}
    for ident, c in counted.items():
        if c.get("requests", 0.0) > 0:
            before = open_.get(ident, [0.0] * 2 * len(_NAMES))
            open_[ident] = [x + c.get(key, 0.0) for x, key in zip(before, (k for n in _NAMES for k in RATES[n]), strict=True)]
    return {"since": since, "open": open_, "closed": closed}


def _filled(kept: Sequence[float], size: int) -> list[float]:
    """Numbers that an older controller kept, of which there were fewer."""
    return [*kept, *[0.0] * (size - len(kept))]


def _spread(open_: Mapping[str, list[float]]) -> list[float]:
    """For each share (squared deviations between processes, what independent answers would give)."""
    if len(open_) < 2:
        return [0.0] * 2 * len(_NAMES)
    table = np.array(list(open_.values())).reshape(len(open_), len(_NAMES), 2)
    n, k = table[..., 0], np.minimum(table[..., 1], table[..., 0])
    whole = np.maximum(n.sum(0), 1e-9)
    rate = k.sum(0) / whole
    found = np.stack([((k - rate * n) ** 2).sum(0), (rate * (1 - rate) * n * (1 - n / whole)).sum(0)], axis=1)
    return [float(x) for x in found.ravel()]


def clumped(kept: Mapping[str, Any], name: str, by_user: float = 1.0, trouble: float = math.inf) -> tuple[float, str]:
    """(How many bad answers of a share come of one cause, by what that is seen); at least 1.

    Args:
        kept: `take`'s. name: of the share. by_user: what groups of whole users say of it (`users.dispersions`).
        trouble: seconds that a process's own trouble lasts. An excess that has lasted longer is a change of the model: what lay before it says
            nothing of how it lies in time.
    """
    i = 2 * _NAMES.index(name)
    found = [(1.0, "")]
    for arm, pods in kept.get("pods", {}).items():
        here = _spread(pods["open"])[i : i + 2]
        seen, due = (pods["closed"][i + j] + here[j] for j in (0, 1))
        found.append(((seen + _PRIOR) / (due + _PRIOR), f"between {arm}'s processes"))
    rows = _measured(kept.get("rows", []), name)
    table = _counts(rows[_onset(rows, name, (_ALONE if alone(kept) else _LASTS) * trouble) :], name)
    found += [(_over_time(table), "over time"), (_over_time(_together(table)), "over time"), (by_user, "by user")]
    return max(found)


def _onset(rows: list[list[float]], name: str, longest: float) -> int:
    """The first of the last stretches in which the candidate's excess over stable stayed what it is now; 0 where they span no more than `longest` seconds."""
    n_a, k_a, n_b, k_b = _counts(rows, name)
    more = k_b / np.maximum(n_b, 1.0) - k_a / np.maximum(n_a, 1.0)
    at, mean = len(rows), 0.0
    while at > 0 and more[at - 1] > 0:
        longer = float(more[at - 1 :].mean())
        if float(more[at - 1 :].min()) < _STAYS * longer:
            break
        at, mean = at - 1, longer
    lasted = rows[-1][1] - rows[at][0] if mean > 0 else 0.0
    return at if lasted > longest * (_RESTLESS if _troubled(rows[:at], name) else 1.0) else 0


def _troubled(rows: list[list[float]], name: str) -> bool:
    """Whether either arm's bad answers lay in clumps: troubles come and go here, and the next may be a long one."""
    table = _counts(rows, name)
    for n, k in (table[:2], table[2:]):
        n, k = n[n > 0], k[n > 0]
        if n.size >= 2:
            due = n * k.sum() / n.sum()
            if (((k - due) ** 2).sum() + _PRIOR) / (due.sum() * (n.size - 1) / n.size + _PRIOR) > _CLUMPS:
                return True
    return False


def _counts(rows: list[list[float]], name: str) -> Any:
    i = 2 + 4 * _NAMES.index(name)
    return np.array([r[i : i + 4] for r in rows], dtype=np.float64).reshape(-1, 4).T


def _together(table: Any) -> Any:
    """Stretches by fours, where there are enough to compare: users stay longer than a process's trouble."""
    many = table.shape[1] // _LONG
    return table[:, -many * _LONG :].reshape(4, many, _LONG).sum(2) if many >= _LONG else table[:, :0]


def _over_time(table: Any) -> float:
    """Of the bad answers the candidate has beyond stable's rate of the same stretch, stretch by stretch, about its part of all: what strikes both is none of it.

    Not of its part in both arms' bad answers about their overall odds: a trouble that made nearly all of them is what sets those odds.
    """
    n_a, k_a, n_b, k_b = table
    both = (n_a > 0) & (n_b > 0)
    if both.sum() < 3:
        return 1.0
    n_a, k_a, n_b, k_b = (x[both] for x in (n_a, k_a, n_b, k_b))
    beside = n_b / n_a
    more = k_b - k_a * beside
    seen, due = ((more - more.sum() * n_b / n_b.sum()) ** 2).sum(), (k_b + k_a * beside**2).sum() * (n_a.size - 1) / n_a.size
    return float((seen + _PRIOR) / (due + _PRIOR))


def _measured(rows: list[list[float]], name: str) -> list[list[float]]:
    """The stretches, each as long as it takes until both arms have outcomes of a share: those that are told in batches come in one arm at a time."""
    i = 2 + 4 * _NAMES.index(name)
    out: list[list[float]] = []
    for r in rows:
        if out and not (out[-1][i] and out[-1][i + 2]):
            out[-1] = [out[-1][0], r[1], *(x + y for x, y in zip(out[-1][2:], r[2:], strict=True))]
        else:
            out.append(list(r))
    return out


def agrees(kept: Mapping[str, Any], name: str, tolerance: float, trouble: float, clump: float) -> bool:
    """What speaks against the candidate does so without any stretch of `trouble` seconds too."""
    rows = _measured(kept.get("rows", []), name)
    n_a, k_a, n_b, k_b = _counts(rows, name)
    if trouble <= 0 or n_a.size == 0:
        return trouble <= 0
    begun, ended = (np.array([r[i] for r in rows]) for i in (0, 1))
    # As of a stable model that is worse by the tolerance.
    gain = ratio_log_e(n_a[:, None], np.minimum(k_a + tolerance * n_a, n_a)[:, None], n_b[:, None], k_b[:, None], _RATIOS)
    gain = np.where((n_a > 0)[:, None] & (n_b > 0)[:, None], gain, 0.0)
    # From each stretch on, those that end within the trouble's length, itself in any case.
    within = (begun[None, :] >= begun[:, None]) & ((ended[None, :] <= begun[:, None] + trouble) | np.eye(begun.size, dtype=bool))
    left = gain.sum(0)[None, :] - within.astype(np.float64) @ gain
    return float(log_mean_exp(left, axis=1).min()) >= _AGREES * clump


def alone(kept: Mapping[str, Any]) -> bool:
    """The candidate has one process only: its own trouble and the model's cannot be told apart but by how long they last."""
    return len(kept.get("pods", {}).get("candidate", {}).get("open", {})) == 1
