"""What is no fault but often a mistake: warnings to look at."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.core.numerals import spells_number
from sluice.data.checks import labels
from sluice.data.checks.look import Looks
from sluice.data.checks.subject import Side, Subject
from sluice.data.columns import looks_numeric, null_for_empty
from sluice.data.computed import LOOKED_AT, sums_to
from sluice.data.report import counted, listed, percent
from sluice.data.timestamps import nearly
from sluice.fields.summaries import encoded
from sluice.fields.timestamps import TimeForm
from sluice.fields.zones import MISSING
from sluice.stats.drift import category_counts, noise_floor, psi, quantile_edges

#: A column with at least this share of different values names rows rather than describes them.
_IDENTIFIER = 0.95
#: From so many gaps between words a value on, it is a text.
_WORDS = 2.0
#: A column that alone settles this much of what the commonest label leaves open knows the answer.
_GIVES_AWAY = 0.98
_CORRELATED = 0.999
#: Neighbouring rows with one label that are no chance.
_STRETCH = 5
#: Rows below which none of these can be told from chance.
_FEWEST = 50
#: Population stability index from which a shift is large (Siddiqi 2006).
_SHIFT = 0.25
#: How seldom two samples of one distribution may be named for a column.
_BY_CHANCE = 1e-4


def mixed(s: Subject) -> None:
    """Categories most of which are numbers or times: a column of these with something else in it?"""
    for name in s.train.having("mixed"):
        values, counts = s.train.coded(name)
        number = np.asarray(pc.fill_null(looks_numeric(null_for_empty(pc.utf8_trim_whitespace(values))), False))
        total = int(counts.sum())
        share = int(counts[number].sum()) / total if total else 0.0
        if 0.5 < share < 1:
            others = values.filter(pa.array(~number)).to_pylist()
            s.add(
                "mixed",
                "warn",
                f"{name!r} is read as categories, though {percent(share)} of its values are numbers; correct the others if it is a column of "
                "numbers",
                column=name,
                value=share,
                limit=0.5,
                examples=s.train.examples(s.train.among(name, others), name),
            )
        elif (times := nearly(values)) is not None and 0.5 < times[1] < 1:
            form, reader = times[0], TimeForm(times[0])
            other = reader.read(values.to_pylist(), len(values), name, strict=False) == MISSING
            s.add(
                "mixed",
                "warn",
                f"{name!r} is read as categories, though {percent(times[1])} of its values are times; correct the others, or declare "
                f"data.columns.timestamps: {{{name}: {form!r}}}, if it is a column of times",
                column=name,
                value=times[1],
                limit=0.5,
                examples=s.train.examples(s.train.among(name, values.filter(pa.array(other)).to_pylist()), name),
            )


def identifiers(s: Subject) -> None:
    """Columns that name the row: whole numbers in sequence, categories that hardly repeat."""
    if s.train.rows < _FEWEST:
        return
    named = s.train.having("identifier")
    keys = [n for n in named if s.fields[n].quantity and _counts_rows(s.train, n)]
    texts: list[str] = []
    for name in (n for n in named if s.fields[n].category):
        values, counts = s.train.coded(name)
        if len(values) < _IDENTIFIER * max(int(counts.sum()), 1) or len(values) < 2:
            continue
        if all(map(spells_number, values.slice(0, 100).to_pylist())):
            continue  # what they are and how to have them read is said where they were read
        words = np.asarray(pc.count_substring_regex(values, r"\S\s+\S")).mean()
        (texts if words >= _WORDS else keys).append(name)
    if keys:
        s.add(
            "identifier",
            "warn",
            f"{counted(len(keys), 'column')} with another value in nearly every row, like a number or name the row is known by: {listed(keys)}; if that "
            "is what it is, list it under data.columns.ignore, for a model learns such rows by heart; what is measured or counted may stay",
            column=keys[0],
            value=len(keys),
            examples=tuple(keys),
        )
    if texts:
        s.add(
            "identifier",
            "warn",
            f"{counted(len(texts), 'column')} of free text: {listed(texts)}; read as categories, of which each row has one of its own, they teach nothing: "
            "set model: {estimator: auto}, which reads their words, or learn from one alone with task: text and data.columns.text",
            column=texts[0],
            value=len(texts),
            examples=tuple(texts),
        )
    if not keys and not texts and named:
        s.add("identifier", "pass", "no column looks like an identifier")


def predictive(s: Subject) -> None:
    """Columns that alone give the label away: written down after the fact?"""
    names = s.train.having("predictive")
    if not (s.label.quantity or s.label.category):
        return
    if s.sample.num_rows < _FEWEST or len(names) < 2 or (s.label.category and len(labels.counts(s.train)) < 2):
        return
    found = []
    for name in names:
        score = _correlation(s, name) if s.label.quantity else _settled(s, name)
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
    else:
        s.add("predictive", "pass", "no single column gives the label away")


def computed(s: Subject) -> None:
    """Numbers from which a quantity was worked out: the parts of a total."""
    if not s.label.quantity or s.train.rows < _FEWEST:
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


def shift(s: Subject) -> None:
    """Held-out rows from elsewhere that are distributed otherwise: beyond a threshold, and beyond what so few rows show by chance."""
    if s.test is None or min(s.train.rows, s.test.rows) < _FEWEST:
        return
    names = [*s.train.having("shift"), *(["label"] if s.label.quantity or s.label.category else [])]
    found = []
    for name in names:
        a, b = _numeric_pair(s, name) if s.field(name).quantity else _category_pair(s, name)
        score, noise = psi(a, b), noise_floor("psi", a, b, _BY_CHANCE)
        if score is not None and noise is not None and score > max(_SHIFT, noise):
            found.append((name, score))
    if found:
        found.sort(key=lambda f: -f[1])
        s.add(
            "shift",
            "warn",
            f"held-out rows are distributed otherwise in {counted(len(found), 'column')}: {listed([f'{n} ({v:.2g})' for n, v in found])} "
            "(population stability index); do they come from the same place?",
            column=found[0][0],
            value=found[0][1],
            limit=_SHIFT,
            examples=tuple(n for n, _ in found),
        )
    else:
        s.add("shift", "pass", "held-out rows are distributed like the training rows", limit=_SHIFT)


def _counts_rows(side: Side, name: str) -> bool:
    """Whole numbers, all different, that rise with the rows or leave no gaps."""
    numbers = side.numbers(name)
    if numbers.nulls or numbers.distinct != side.rows or not numbers.whole:
        return False
    return bool(numbers.last - numbers.first + 1 == numbers.total) or _rises(side, name)


def _rises(side: Side, name: str) -> bool:
    before = -np.inf
    for _, block in side.held.blocks([name]):
        values = np.concatenate([[before], _floats(block.column(0))])
        if not (values[1:] > values[:-1]).all():
            return False
        before = values[-1]
    return True


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
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
        values = _floats(s.sample.column(name))[use]
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
    """Pearson's coefficient with the label, without sign; 0 for categories."""
    if not s.fields[name].quantity:
        return 0.0
    x, y = _floats(s.sample.column(name)), _floats(s.sample.column("label"))
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < _FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    x, y = (v / np.abs(v).max() for v in (x, y))  # so that squares of large numbers stay finite
    spread = x.std() * y.std()
    return float(abs(((x - x.mean()) * (y - y.mean())).mean() / spread)) if spread > 0 else 0.0


def _numeric_pair(s: Subject, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    assert s.test is not None
    edges = quantile_edges(_floats(s.sample.column(name)))
    return s.train.numbers(name).counts(edges), s.test.numbers(name).counts(edges)


def _category_pair(s: Subject, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    assert s.test is not None
    found = []
    for side in (s.train, s.test):
        values, counts = side.coded(name)
        found.append({**dict(zip(values.to_pylist(), counts.tolist(), strict=True)), "": side.rows - int(counts.sum())})
    top = [k for k in sorted(found[0], key=lambda k: (-found[0][k], k)) if k != ""][:50]
    return category_counts(found[0], top), category_counts(found[1], top)


class Heuristics(Looks):
    """Checks signs of a mistake."""

    name = "heuristics"
    looks = (mixed, identifiers, predictive, computed, shift)
