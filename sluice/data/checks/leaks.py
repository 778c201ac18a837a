"""Columns that know the label: written down after the fact, or made of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sluice.data.checks import labels
from sluice.data.checks.subject import Subject
from sluice.data.computed import LOOKED_AT, sums_to
from sluice.data.report import counted, listed, percent
from sluice.fields.summaries import encoded

#: Rows below which none of these can be told from chance.
FEWEST = 50
#: A column that alone settles this much of what the commonest label leaves open knows the answer.
_GIVES_AWAY = 0.98
#: From this correlation of values or of ranks on, a column is the label on another scale.
_CORRELATED = 0.999
#: Below this correlation of ranks that of values is one of a few rows alone.
_ALIKE = 0.9
#: Neighbouring rows with one label that are no chance; and as many outside of a column's commonest value.
_STRETCH = 5
#: Rows below which not even a copy can be told from chance; of these so many have to have each value.
_COPIED, _EACH_OF_FEW = 10, 4
#: Rows a value and a class, on average, below which values that fall together with the label's are chance.
_EACH = 10


def predictive(s: Subject) -> None:
    """Columns that alone give the label away: written down after the fact?"""
    names = s.train.having("predictive")
    if not (s.label.quantity or s.label.category):
        return
    few = s.sample.num_rows < FEWEST
    if len(names) < 2 or (s.label.category and len(labels.counts(s.train)) < 2):
        return
    found = []
    for name in names:
        score = _copied(s, name) if few else _correlation(s, name) if s.label.quantity else _settled(s, name)
        if score >= (_CORRELATED if s.label.quantity else _GIVES_AWAY):
            found.append((name, score))
    if found:
        found.sort(key=lambda f: -f[1])
        named = listed([f"{n} ({percent(v)})" for n, v in found])
        s.add(
            "predictive",
            "warn",
            f"{counted(len(found), 'column')} nearly {'gives' if len(found) == 1 else 'give'} the label away alone: {named}; will it be known "
            "when the model is asked? If not, list it under data.columns.ignore",
            column=found[0][0],
            value=found[0][1],
            limit=_GIVES_AWAY,
            examples=tuple(n for n, _ in found),
        )
    elif not few:
        s.add("predictive", "pass", "no single column gives the label away")


def _copied(s: Subject, name: str) -> float:
    """1 where a column of few rows is the label itself: the same numbers, or a value of its own for each label; else 0."""
    if s.sample.num_rows < _COPIED:
        return 0.0
    if s.label.quantity:
        if not s.fields[name].quantity:
            return 0.0
        x, y = floats(s.sample.column(name)), floats(s.sample.column("label"))
        return float(len(np.unique(y)) >= _COPIED / 2 and bool((x == y).all()))
    if not s.fields[name].category:
        return 0.0
    pairs = np.stack([_codes(s.sample.column(name)), _codes(s.sample.column("label"))])
    each = [len(np.unique(p)) for p in pairs]
    return float(each[0] == each[1] == np.unique(pairs, axis=1).shape[1] <= pairs.shape[1] / _EACH_OF_FEW)


def complement(s: Subject) -> None:
    """Columns of 0 and 1 of which exactly one is 1 where the label is the rarer of two: classes told in a column each, of which the label is one."""
    names = [n for n in s.train.having("predictive") if s.fields[n].quantity]
    counts = labels.counts(s.train) if s.label.category else {}
    if len(counts) != 2 or s.sample.num_rows < FEWEST or len(names) < 2:
        return
    label = _codes(s.sample.column("label"))
    columns = {n: floats(s.sample.column(n)) for n in names}
    flags = {n: v for n, v in columns.items() if np.isin(v, (0.0, 1.0)).all() and np.ptp(v) > 0}
    for own in (0, 1):
        others = {n: v for n, v in flags.items() if not (v[label == own] == 1).any()}
        if len(others) > 1 and (sum(others.values()) == (label == 1 - own)).all():
            s.add(
                "derived",
                "warn",
                f"{listed(list(others))} tell the label together: exactly one of them is 1 in each row of one label, and none in the others', as where each "
                "class has a column of its own. Make one column of labels of them, or list them under data.columns.ignore",
                column=next(iter(others)),
                value=len(others),
                examples=tuple(others),
            )
            return


def derived(s: Subject) -> None:
    """Columns that are the label told more coarsely: a quantity's bands, what several classes have in common."""
    names = s.train.having("predictive")
    if not (s.label.quantity or s.label.category) or s.sample.num_rows < FEWEST or len(names) < 2:
        return
    known = {n for c in s.found if c.name == "predictive" for n in c.examples}
    is_banded = _bands(s) if s.label.quantity else _of_classes(s)
    found = [n for n in names if n not in known and is_banded(_values(s, n))]
    if found:
        what = "ranges of the label" if s.label.quantity else "labels"
        s.add(
            "derived",
            "warn",
            f"{counted(len(found), 'column')} {'is' if len(found) == 1 else 'are'} the label told more coarsely, each value standing for {what} of its own: "
            f"{listed(found)}; will {'it' if len(found) == 1 else 'they'} be known when the model is asked? If not, list "
            f"{'it' if len(found) == 1 else 'them'} under data.columns.ignore",
            column=found[0],
            value=len(found),
            examples=tuple(found),
        )


def _values(s: Subject, name: str) -> NDArray[np.int64]:
    """A number a row, equal for equal values; -1 where nothing is there."""
    if s.fields[name].category:
        return _codes(s.sample.column(name))
    values = floats(s.sample.column(name))
    return np.where(np.isfinite(values), np.unique(values, return_inverse=True)[1], -1)


def _bands(s: Subject) -> Callable[[NDArray[np.int64]], bool]:
    """Whether the label's values of each value of a column lie in a range in which no other's lie."""
    y = floats(s.sample.column("label"))

    def banded(code: NDArray[np.int64]) -> bool:
        use = np.isfinite(y) & (code >= 0)
        sizes = np.unique(code[use], return_counts=True)[1]
        if not 2 <= len(sizes) <= use.sum() / _EACH or use.sum() - sizes.max() < _STRETCH:
            return False
        order = np.lexsort((code[use], y[use]))
        turns = np.flatnonzero(np.diff(code[use][order]))
        return len(turns) == len(sizes) - 1 and bool((np.diff(y[use][order])[turns] > 0).all())

    return banded


def _of_classes(s: Subject) -> Callable[[NDArray[np.int64]], bool]:
    """Whether each label has one value of a column, of several; of two labels such a column is the label itself."""
    label = _codes(s.sample.column("label"))
    classes = int(label.max(initial=-1)) + 1

    def shared(code: NDArray[np.int64]) -> bool:
        use = (label >= 0) & (code >= 0)
        sizes = np.unique(code[use], return_counts=True)[1]
        if not 2 <= len(sizes) < classes <= use.sum() / _EACH or use.sum() - sizes.max() < _STRETCH:
            return False
        cells, n = np.unique(label[use] * (int(code.max()) + 1) + code[use], return_counts=True)
        best = np.zeros(classes, np.int64)
        np.maximum.at(best, cells // (int(code.max()) + 1), n)
        return _lambda(code[use], int(best.sum())) >= _GIVES_AWAY

    return shared


def computed(s: Subject) -> None:
    """Numbers from which a quantity was worked out: the parts of a total."""
    if not s.label.quantity or s.train.rows < FEWEST:
        return
    numbers = [n for n in s.train.having("predictive") if s.fields[n].quantity]
    found = sums_to(s.train.head([*numbers, "label"], LOOKED_AT), numbers, "label")
    if found:
        s.add(
            "computed",
            "warn",
            f"the label is computed from {listed(found)}; will {'it' if len(found) == 1 else 'they'} be known when the model is asked? If not, list "
            f"{'it' if len(found) == 1 else 'them'} under data.columns.ignore",
            column=found[0],
            value=len(found),
            examples=tuple(found),
        )


def floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A column's numbers, [rows]; NaN where one is missing."""
    return np.asarray(column.cast(pa.float64()).to_numpy())


def _settled(s: Subject, name: str) -> float:
    """How much of what the commonest label leaves wrong the column sets right: 1 all, 0 or less nothing.

    Goodman and Kruskal's lambda (J. American Statistical Association 49, 1954): over the column's values
    or, where numbers hardly repeat, over stretches of neighbouring numbers whose rows have one label.
    """
    label = _codes(s.sample.column("label"))
    use = label >= 0
    label = label[use]
    if s.fields[name].category:
        code = _codes(s.sample.column(name))[use]
    else:
        values = floats(s.sample.column(name))[use]
        if len(np.unique(values)) > len(values) / 20:
            return _lambda(label, _in_stretches(values, label))
        code = np.unique(values, return_inverse=True)[1]
    if len(np.unique(code)) > len(code) / 10:
        return 0.0  # too few rows a value to tell knowledge from chance
    cells, n = np.unique((code + 1) * (int(label.max()) + 1) + label, return_counts=True)
    best = np.zeros(int(code.max()) + 2, np.int64)
    np.maximum.at(best, cells // (int(label.max()) + 1), n)
    return _lambda(label, int(best.sum()))


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number a row, equal for equal strings; -1 where null."""
    return np.asarray(encoded(column).indices.fill_null(-1)).astype(np.int64)


def _lambda(label: NDArray[np.int64], right: int) -> float:
    baseline = int(np.bincount(label).max())
    return (right - baseline) / (len(label) - baseline) if len(label) > baseline else 0.0


def _in_stretches(values: NDArray[np.float64], label: NDArray[np.int64]) -> int:
    """Rows, in the order of their numbers, that stand among at least five in a row with their label."""
    # Equal numbers in random order: a file sorted by label would make stretches of its own.
    order = np.lexsort((np.random.default_rng(0).permutation(len(values)), values))
    turns = np.flatnonzero(np.diff(label[order])) + 1
    lengths = np.diff(np.concatenate([[0], turns, [len(order)]]))
    return int(lengths[lengths >= _STRETCH].sum())


def _correlation(s: Subject, name: str) -> float:
    """Pearson's coefficient with the label, of ranks (Spearman) or, where these agree as well, of values; without sign; 0 for categories."""
    if not s.fields[name].quantity:
        return 0.0
    x, y = floats(s.sample.column(name)), floats(s.sample.column("label"))
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    ranks = _pearson(_ranks(x), _ranks(y))
    return max(ranks, _pearson(x, y)) if ranks >= _ALIKE else ranks  # a single row far out, such as a total, makes values correlate


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    x, y = (v / np.abs(v).max() for v in (x, y))  # so that squares of large numbers stay finite
    spread = x.std() * y.std()
    return float(abs(((x - x.mean()) * (y - y.mean())).mean() / spread)) if spread > 0 else 0.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places in ascending order, from 0.5 on; equal values share the middle of theirs."""
    _, at, n = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(n) - n / 2)[at]
