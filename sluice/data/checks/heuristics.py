"""What is no fault but often a mistake: warnings to look at."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.core.numerals import spells_number
from sluice.data.checks.leaks import FEWEST, complement, computed, derived, floats, predictive
from sluice.data.checks.look import Looks
from sluice.data.checks.subject import Side, Subject
from sluice.data.columns import looks_numeric, null_for_empty
from sluice.data.report import counted, listed, percent
from sluice.data.timestamps import nearly
from sluice.fields.timestamps import TimeForm
from sluice.fields.zones import MISSING
from sluice.stats.drift import category_counts, noise_floor, psi, quantile_edges

#: A column with at least this share of different values names rows rather than describes them.
_IDENTIFIER = 0.95
#: In fewer rows the last is the sum of the others now and then.
_ROWS_OF_TOTAL = 10
#: From so many gaps between words a value on, it is a text.
_WORDS = 2.0
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
    if s.train.rows < FEWEST:
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


def total(s: Subject) -> None:
    """A last row that is the sum of the others."""
    if s.train.on_disk or s.train.rows < _ROWS_OF_TOTAL:
        return
    table = s.train.table
    values = {n: floats(table.column(n)) for n in [*s.fields, "label"] if s.field(n).quantity}
    told = {n: v for n, v in values.items() if np.isfinite(v[-1])}
    found = [
        n for n, v in told.items() if np.ptp(v[:-1][np.isfinite(v[:-1])]) > 0 and np.isclose(v[-1], np.nansum(v[:-1]), rtol=1e-6, atol=0)
    ]
    if len(found) > 1 or (found and len(told) == 1 < len(values)):
        named = listed([n if n != "label" else "the label" for n in found])
        row = s.train.place(s.train.rows - 1)
        s.add(
            "total",
            "warn",
            f"the last row ({row}) is the sum of the others in {named}: a total is no row to learn from; remove it",
            column=found[0],
            value=len(found),
            examples=(row,),
        )


def shift(s: Subject) -> None:
    """Held-out rows from elsewhere that are distributed otherwise: beyond a threshold, and beyond what so few rows show by chance."""
    if s.test is None or min(s.train.rows, s.test.rows) < FEWEST:
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
        values = np.concatenate([[before], floats(block.column(0))])
        if not (values[1:] > values[:-1]).all():
            return False
        before = values[-1]
    return True


def _numeric_pair(s: Subject, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    assert s.test is not None
    edges = quantile_edges(floats(s.sample.column(name)))
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
    looks = (mixed, identifiers, predictive, derived, complement, computed, total, shift)
