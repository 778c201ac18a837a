"""Checks of the labels: which there are, how many rows each has."""

from __future__ import annotations

import difflib
from collections import defaultdict

from sluice.core.numerals import spells_number
from sluice.core.spelling import Spelling
from sluice.data.checks.look import Looks
from sluice.data.checks.subject import Side, Subject
from sluice.data.checks.transcripts import transcripts
from sluice.data.report import counted, listed

#: Labels that may stand for "none", in lower case.
_DOUBTFUL = frozenset({"na", "n/a", "#n/a", "none", "nil", "?", "-", "unknown", "undefined", "missing"})
#: So many labels are classes, however few rows there are; beyond, no more than half as many as rows.
_CLASSES = 20
#: From this share of the imbalance limit on, the balance deserves a look.
_WARN_SHARE = 0.1


def counts(side: Side) -> dict[str, int]:
    """Rows of each label, the commonest first, equally common ones by name."""
    values, found = side.coded("label")
    return dict(sorted(zip(values.to_pylist(), found.tolist(), strict=True), key=lambda kv: (-kv[1], kv[0])))


def label_set(s: Subject) -> None:
    """Only declared labels stand in the rows."""
    declared = s.limits.labels
    if declared is not None:  # in the spelling the rows have: 1.0 declares the class 1
        spelling = Spelling.kept(counts(s.train))
        declared = list(dict.fromkeys(spelling.text(v) for v in declared))
    if not s.problem.classes:
        if declared is not None:
            s.add("label_set", "refuse", "data.checks.labels names classes, but the label is a quantity; remove it, or set model.objective")
        return
    if declared is None:
        s.add("label_set", "pass", f"{counted(len(counts(s.train)), 'label')}; none declared in data.checks.labels")
        return
    fine = True
    for side in s.sides:
        values, _ = side.coded("label")
        unknown = [v for v in values.to_pylist() if v not in declared]
        if unknown:
            fine = False
            bad = side.among("label", unknown)
            named = []
            for v in sorted(unknown):
                near = difflib.get_close_matches(v, declared, 1, 0.6)
                named.append(f"{v!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
            s.add(
                "label_set",
                "refuse",
                f"{side.prefix}{counted(len(unknown), 'label')} not declared in data.checks.labels: {listed(named)}; correct the rows or "
                "declare them",
                column="label",
                value=len(unknown),
                limit=0,
                examples=side.examples(bad, "label"),
            )
    unseen = sorted(set(declared) - set(counts(s.train)))
    if unseen:
        fine = False
        s.add(
            "label_set",
            "warn",
            f"{counted(len(unseen), 'declared label')} without a row: {listed(unseen)}; the model will not know "
            f"{'it' if len(unseen) == 1 else 'them'}",
            column="label",
            value=len(unseen),
            limit=0,
            examples=tuple(unseen),
        )
    if fine:
        s.add("label_set", "pass", f"the labels are the {len(declared)} declared", column="label")


def one_class(s: Subject) -> None:
    """There is something to tell apart."""
    if s.label.quantity:
        numbers = s.train.numbers("label")
        if numbers.distinct == 1 and not s.problem.lopsided:
            s.add(
                "one_class",
                "refuse",
                f"every label is {numbers.first:g}: there is nothing to learn; check data.columns.label",
                column="label",
                value=1,
                limit=2,
            )
        return
    if not s.problem.classes:
        return
    side = s.sides[-1] if s.problem.lopsided else s.train
    found = counts(side)
    if len(found) == 1:
        s.add(
            "one_class",
            "refuse",
            f"{side.prefix}every row has the label {next(iter(found))!r}: there is nothing to tell apart; check data.columns.label",
            column="label",
            value=1,
            limit=2,
            examples=tuple(found),
        )
    elif found:
        s.add("one_class", "pass", f"{len(found)} labels to tell apart", column="label", value=len(found), limit=2)


def label_rows(s: Subject) -> None:
    """Each label has rows enough to be on both sides of a split."""
    found = counts(s.train) if s.problem.classes else {}
    if not found:
        return
    if len(found) > max(_CLASSES, s.train.rows / 2):
        numbers = all(map(spells_number, found))
        s.add(
            "classes",
            "refuse",
            f"{len(found):,} different labels in {counted(s.train.rows, 'row')}: {'a quantity' if numbers else 'names of the rows'}, no classes; "
            + (
                "put it into bands, or learn it from a table's columns (task: tabular, model.objective: regression)"
                if numbers
                else "data.columns.label names the column to learn"
            ),
            column="label",
            value=len(found),
            limit=int(max(_CLASSES, s.train.rows / 2)),
            examples=tuple(list(found)[:3]),
        )
        return
    least = s.limits.label_rows_min
    rare = {k: n for k, n in found.items() if n < least}
    if not rare:
        s.add(
            "label_rows",
            "pass",
            f"the rarest label, {min(found, key=lambda k: found[k])!r}, has {counted(min(found.values()), 'row')}",
            column="label",
            value=min(found.values()),
            limit=least,
        )
        return
    named = [f"{k!r} ({'once' if n == 1 else f'{n} times'})" for k, n in sorted(rare.items(), key=lambda kv: (kv[1], kv[0]))]
    s.add(
        "label_rows",
        "refuse",
        f"{counted(len(rare), 'label')} with fewer than {counted(least, 'row')}: {listed(named)}; add rows of "
        f"{'it' if len(rare) == 1 else 'them'}, or remove {'it' if len(rare) == 1 else 'them'}",
        column="label",
        value=min(rare.values()),
        limit=least,
        examples=s.train.examples(s.train.among("label", list(rare)), "label"),
    )


def balance(s: Subject) -> None:
    """The commonest label against the rarest."""
    found = counts(s.train) if s.problem.classes and not s.problem.lopsided else {}
    if len(found) < 2:
        return
    (most, high), (least, low) = next(iter(found.items())), list(found.items())[-1]
    ratio, limit = high / low, s.limits.imbalance_max
    said = f"{most!r} has {ratio:.3g} times the rows of {least!r} ({high:,} and {low:,})"
    if ratio > limit:
        s.add(
            "balance",
            "refuse",
            f"{said}, allowed are {limit:g} times; add rows of the rare labels, or raise data.checks.imbalance_max",
            column="label",
            value=ratio,
            limit=limit,
        )
    elif ratio > max(10.0, limit * _WARN_SHARE):
        s.add(
            "balance",
            "warn",
            f"{said}: accuracy will hide how the rare ones do; look at evaluate.metric: balanced_accuracy, and slices by label",
            column="label",
            value=ratio,
            limit=limit,
        )
    else:
        s.add("balance", "pass", said if ratio > 1 else "all labels have equally many rows", column="label", value=ratio, limit=limit)


def spelling(s: Subject) -> None:
    """Labels that differ in case or white space only, or that may mean "none"."""
    if not s.problem.classes:
        return
    groups: dict[str, list[str]] = defaultdict(list)
    for label in counts(s.train):
        groups[" ".join(label.casefold().replace("_", " ").replace("-", " ").split())].append(label)
    alike = [" = ".join(map(repr, sorted(g))) for g in groups.values() if len(g) > 1]
    if alike:
        s.add(
            "spelling",
            "warn",
            f"labels that look like one written in several ways: {listed(sorted(alike))}; write each the same way",
            column="label",
            value=len(alike),
            limit=0,
            examples=tuple(sorted(alike)),
        )
    doubtful = sorted(v for v in counts(s.train) if v.strip().lower() in _DOUBTFUL)
    if doubtful:
        s.add(
            "spelling",
            "warn",
            f"{listed([repr(d) for d in doubtful])} {'is' if len(doubtful) == 1 else 'are'} taken for a label; if it means that there is none, "
            "leave the cell empty",
            column="label",
            value=len(doubtful),
            limit=0,
            examples=s.train.examples(s.train.among("label", doubtful), "label"),
        )


class Labels(Looks):
    """Checks the labels: which there are, how many rows of each, how they are spelt."""

    name = "labels"
    looks = (label_set, one_class, label_rows, balance, spelling, transcripts)
