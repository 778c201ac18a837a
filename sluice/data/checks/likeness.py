"""Rows that are alike without being equal: texts that differ in nothing that counts, and columns whose rows answer for each other."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.data.checks.look import Looks
from sluice.data.checks.subject import Side, Subject
from sluice.data.report import counted, listed, percent
from sluice.fields import Field
from sluice.fields.summaries import encoded

#: Rows below which none of this can be told from chance; and the share of rows from which texts that are alike deserve a word.
_FEWEST, _ALIKE = 50, 0.01
#: A column's values stand in at least so many rows on average and at most, to be groups; and settle this share of what is open.
_SMALLEST, _LARGEST, _SETTLED = 1.5, 100, 0.8


def alike(s: Subject) -> None:
    """Texts that differ from another in case, punctuation and spaces alone: with different labels, or on two sides of the split."""
    if len(s.fields) != 1:
        return
    for name in s.train.having("texts"):
        group, twins = _twins(s, name)
        if s.label.category:
            _contradicting(s, name, group, twins)
        if s.test is not None:
            _on_both_sides(s, name)
        elif s.split.by == "hash" and (share := float(twins.mean())) >= _ALIKE:
            s.add(
                "alike",
                "warn",
                f"{counted(int(twins.sum()), 'text')} ({percent(share)}) differ from another in case, punctuation or spaces alone, and may stand on two "
                "sides of the split, where the test measures memory; keep one of each, or split by group with a column that says which belong together",
                column=name,
                value=share,
                limit=_ALIKE,
                examples=_shown(s.train, twins, name),
            )


def _plain(side: Side, name: str) -> NDArray[np.int64]:
    """For each row a number, equal where texts differ in case, punctuation and spaces alone; -1 where nothing is left of one."""
    words = _normal(side, name).combine_chunks().dictionary_encode()
    codes = np.asarray(pc.fill_null(words.indices, -1)).astype(np.int64)
    empty = np.asarray(pc.equal(words.dictionary, "").fill_null(True)) if len(words.dictionary) else np.zeros(0, bool)
    return np.where((codes >= 0) & ~empty[codes], codes, -1) if len(empty) else codes


def _normal(side: Side, name: str) -> pa.ChunkedArray:
    lower = pc.utf8_lower(side.table.column(name))
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(lower, r"[^\p{L}\p{N}]+", " "))


def _twins(s: Subject, name: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Each row's group of texts that are alike, and which rows stand in one with another text."""
    side = s.train
    group = _plain(side, name)
    pairs = np.unique(np.stack([group, np.unique(side.ids, return_inverse=True)[1]]), axis=1)[0]  # a group's different texts
    texts = np.bincount(pairs[pairs >= 0], minlength=int(group.max(initial=-1)) + 1)
    return group, (group >= 0) & (texts[group] > 1) if len(texts) else np.zeros(side.rows, bool)


def _contradicting(s: Subject, name: str, group: NDArray[np.int64], twins: NDArray[np.bool_]) -> None:
    label = np.asarray(encoded(s.train.table.column("label")).indices.fill_null(-1)).astype(np.int64)
    use = twins & (label >= 0)
    if not use.any():
        return
    low, high = np.full(int(group.max()) + 1, np.iinfo(np.int64).max), np.full(int(group.max()) + 1, -1)
    np.minimum.at(low, group[use], label[use])
    np.maximum.at(high, group[use], label[use])
    against = use & (low < high)[group]
    if against.any():
        n = int(against.sum())
        order = np.flatnonzero(against)[np.argsort(group[against], kind="stable")]
        s.add(
            "alike",
            "warn",
            f"{counted(n, 'text')} {'has' if n == 1 else 'have'} another label than a text that differs in case, punctuation or spaces alone: one of them is "
            "wrong, or the label depends on something else; decide on one for each",
            column=name,
            value=n,
            limit=0,
            examples=tuple(_row(s.train, int(r), name) for r in order[:5]),
        )


def _on_both_sides(s: Subject, name: str) -> None:
    assert s.test is not None
    here, there = (set(_normal(side, name).unique().to_pylist()) - {None, ""} for side in (s.train, s.test))
    both = here & there
    again = [v in both for v in _normal(s.test, name).to_pylist()]
    alike: NDArray[np.bool_] = np.array(again, dtype=np.bool_) & ~np.isin(s.test.ids, s.train.ids)
    share = float(alike.mean()) if len(alike) else 0.0
    if share >= _ALIKE:
        s.add(
            "alike",
            "warn",
            f"{counted(int(alike.sum()), 'held-out text')} ({percent(share)}) differ from a training text in case, punctuation or spaces alone: the test "
            "measures memory there; remove them from one side",
            column=name,
            value=share,
            limit=_ALIKE,
            examples=_shown(s.test, alike, name),
        )


def _row(side: Side, row: int, name: str) -> str:
    mask = np.zeros(side.rows, bool)
    mask[row] = True
    label = side.table.column("label")[row].as_py()
    return f"{side.examples(mask, name)[0]} ({label})"


def _shown(side: Side, mask: NDArray[np.bool_], name: str) -> tuple[str, ...]:
    return side.examples(mask, name)


def groups(s: Subject) -> None:
    """A column of many values, each of a few rows, where the other rows of a value tell a row's label: rows of one patient on both sides of the split."""
    if s.split.by != "hash" or s.test is not None or not s.label.category or s.train.rows < _FEWEST:
        return
    found = []
    for name in s.train.having("predictive"):
        if s.fields[name].category and (score := _answered_by_others(s.train, name, s.label)) >= _SETTLED:
            found.append((name, score))
    if found:
        found.sort(key=lambda f: -f[1])
        first = found[0][0]
        s.add(
            "groups",
            "warn",
            f"rows with one value of {listed([repr(n) for n, _ in found])} nearly always have one label, and stand on both sides of the split; if new rows will be of others "
            f"(other patients, other shops), the test says too much: data.split: {{by: group, column: {first}}}",
            column=first,
            value=found[0][1],
            limit=_SETTLED,
            examples=tuple(n for n, _ in found),
        )


def _answered_by_others(side: Side, name: str, label_field: Field) -> float:
    """How much of what the commonest label leaves wrong the other rows of a value set right (Goodman and Kruskal's lambda, each row left out)."""
    values, of_value = side.coded(name)
    classes, _ = side.coded("label")
    alone = side.missing("label", label_field).count
    rows, most = int(of_value.sum()), len(values)
    if not len(classes) or most * len(classes) > 50_000_000 or rows - alone > _LARGEST * most or rows < _SMALLEST * (most - alone):
        return 0.0
    counts = np.zeros(most * len(classes), np.int32)
    for _, block in side.held.blocks([name, "label"]):
        at, label = (np.asarray(pc.fill_null(pc.index_in(block.column(i), v), -1)).astype(np.int64) for i, v in ((0, values), (1, classes)))
        use = (at >= 0) & (label >= 0)
        pairs, n = np.unique(at[use] * len(classes) + label[use], return_counts=True)
        counts[pairs] += n.astype(np.int32)
    return _settled_by_others(counts.reshape(len(values), len(classes)))


def _settled_by_others(counts: NDArray[np.int32]) -> float:
    """`counts`: rows of each value and label."""
    sizes = counts.sum(axis=1, dtype=np.int64)
    total, some = int(sizes.sum()), int((sizes > 0).sum())
    if total < _FEWEST or not _SMALLEST <= total / some <= _LARGEST or some < 20:
        return 0.0
    rows = int(sizes[sizes > 1].sum())
    if rows < 0.5 * total:
        return 0.0
    of_label, right = np.zeros(counts.shape[1], np.int64), 0
    for at in range(0, len(counts), 1 << 16):
        several = counts[at : at + (1 << 16)][sizes[at : at + (1 << 16)] > 1]
        of_label += several.sum(axis=0)
        right += _right(several)
    base = int(of_label.max())
    return (right - base) / (rows - base) if rows > base else 0.0


def _right(several: NDArray[np.int32]) -> int:
    """Rows whose label is the commonest of the others of their value, of equally common ones the first: only one of the commonest label can be such."""
    each = np.arange(len(several))
    first = several.argmax(axis=1)
    top = several[each, first]
    rest = several.copy()
    rest[each, first] = -1
    second = rest.argmax(axis=1)
    leads = (top - 1 > rest[each, second]) | ((top - 1 == rest[each, second]) & (first < second))
    return int(top[leads].sum())


class Likeness(Looks):
    """Checks rows that are alike: texts but for their case, rows of one value."""

    name = "likeness"
    looks = (alike, groups)
