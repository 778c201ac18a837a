"""Who took what and when, as rows to learn from: one user at a cut in time, with what came before it and what came after.

Every interaction is in the answer of exactly one row, and in no row before it came: nothing of the future is in a history. Rows of all
sides are made alike, so a model is judged as it is served, new users (nothing before the cut) among them.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

#: Cuts of a user's time: as many, or more where an answer would be longer than `LONGEST`.
CUTS, LONGEST = 4, 50


@dataclasses.dataclass(frozen=True, eq=False)
class Interactions:
    """One entry an interaction, in any order.

    Attributes:
        users, items: names (strings) [n].
        times: numbers that rise with time [n]; None: the order counts.
        weights: how much each says, float64 [n], above 0.
        first: of each, the row of the source [n].
    """

    users: pa.Array
    items: pa.Array
    times: np.ndarray | None
    weights: np.ndarray
    first: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Cuts:
    """Rows: a user at a cut.

    Attributes:
        users: strings [rows].
        history: lists of items, the oldest first [rows].
        answer: lists of what came next [rows].
        weights: lists of float64, one for each item of `answer` [rows].
        time: of the newest item of the answer [rows]; None where there are no times.
        source: a row of the source that tells of the user as of the cut, int64 [rows].
    """

    users: pa.Array
    history: pa.Array
    answer: pa.Array
    weights: pa.Array
    time: np.ndarray | None
    source: np.ndarray


def cut(found: Interactions, longest: int, repeat: bool) -> Cuts:
    """The rows of interactions.

    Args:
        found: the interactions.
        longest: items of a history, the newest.
        repeat: whether an item may come again; else its first time counts, with the weights of all.
    """
    users, items = found.users.dictionary_encode(), found.items.dictionary_encode()
    u, i = (np.asarray(c.indices).astype(np.int64) for c in (users, items))
    order = np.lexsort((np.arange(len(u)), *([found.times] if found.times is not None else []), u))
    u, i, w = u[order], i[order], found.weights[order]
    source, t = found.first[order], None if found.times is None else found.times[order]
    if not repeat:
        once, w = _once(u, i, w, len(items.dictionary))
        u, i, source, t = u[once], i[once], source[once], None if t is None else t[once]
    starts = np.flatnonzero(np.r_[True, u[1:] != u[:-1]]) if len(u) else np.empty(0, np.int64)
    ends = np.r_[starts[1:], len(u)].astype(np.int64)
    begin, at, end = _bounds(starts, ends)
    if repeat:
        histories = [_newest(i[b:a], longest) for b, a in zip(begin, at, strict=True)]
    else:
        histories = [i[max(b, a - longest) : a] for b, a in zip(begin, at, strict=True)]
    return Cuts(
        users.dictionary.take(pa.array(u[at])),
        _lists(items.dictionary, histories),
        _lists(items.dictionary, [i[a:e] for a, e in zip(at, end, strict=True)]),
        _lists(None, [w[a:e] for a, e in zip(at, end, strict=True)]),
        None if t is None else t[end - 1],
        source[np.maximum(begin, at - 1)],
    )


def _once(u: np.ndarray, i: np.ndarray, w: np.ndarray, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a user's item stands for the first time, and the weight of all its times together."""
    _, first, of = np.unique(u * max(items, 1) + i, return_index=True, return_inverse=True)
    total = np.bincount(of, w, len(first))
    kept = np.argsort(first, kind="stable")
    return first[kept], total[kept]


def _bounds(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each row where its user begins, where its answer begins, and where that ends."""
    begin, at, end = [], [], []
    for s, e in zip(starts.tolist(), ends.tolist(), strict=True):
        parts = max(min(CUTS, e - s), -(-(e - s) // LONGEST))
        edges = s + np.linspace(0, e - s, parts + 1).round().astype(np.int64)
        begin.append(np.full(parts, s))
        at.append(edges[:-1])
        end.append(edges[1:])
    none = [np.empty(0, np.int64)]
    return np.concatenate(begin or none), np.concatenate(at or none), np.concatenate(end or none)


def _newest(items: np.ndarray, longest: int) -> np.ndarray:
    """Each item once, where it came last; the newest of them."""
    back, first = items[::-1], np.unique(items[::-1], return_index=True)[1]
    return back[np.sort(first)[:longest]][::-1]


def _lists(names: pa.Array | None, parts: list[np.ndarray]) -> pa.Array:
    """Lists of the names that codes stand for, or of the numbers themselves."""
    offsets = np.r_[0, np.cumsum([len(p) for p in parts])].astype(np.int32)
    flat = pa.array(np.concatenate(parts) if parts else np.empty(0))
    return pa.ListArray.from_arrays(pa.array(offsets), flat if names is None else names.take(flat.cast(pa.int64())))
