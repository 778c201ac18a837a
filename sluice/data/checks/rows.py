"""Checks of rows against each other: repeated, contradicting, leaking, too few."""

from __future__ import annotations

from sluice.data.checks import labels
from sluice.data.checks.look import Looks
from sluice.data.checks.subject import Side, Subject
from sluice.data.partitions import shared
from sluice.data.report import EXAMPLES, counted, listed, percent

#: With fewer held-out rows an interval is too wide to decide much.
FEW = 50


def enough(s: Subject) -> bool:
    """The source has the rows asked for, and held-out rows are some."""
    n, least = s.train.rows, s.limits.rows_min
    if n < least:
        s.add(
            "rows",
            "refuse",
            f"{counted(n, 'row')}, at least {least:,} are needed; add rows, or lower data.checks.rows_min",
            value=n,
            limit=least,
        )
    else:
        s.add("rows", "pass", counted(n, "row"), value=n, limit=least)
    if s.test is not None and s.test.rows < FEW:
        status = "warn" if s.test.rows else "refuse"
        s.add(
            "rows",
            status,  # type: ignore[arg-type]
            f"{counted(s.test.rows, 'held-out row')}: too few to measure a model well; give more in data.test",
            value=s.test.rows,
            limit=FEW,
        )
    return n > 0 and (s.test is None or s.test.rows > 0)


def duplicates(s: Subject) -> None:
    """Rows whose features stand more than once."""
    copies, limit = s.copies, s.limits.duplicates_max
    n = copies.again
    fraction = n / s.train.rows
    said = (
        f"{counted(n, 'row')} ({percent(fraction)}) {'is a duplicate' if n == 1 else 'are duplicates'}: their features stand more than once"
    )
    if limit is not None and fraction > limit:
        s.add(
            "duplicates",
            "refuse",
            f"{said}, allowed are {percent(limit)}; {copies.different:,} rows are left without the repeats; remove them, or raise "
            "data.checks.duplicates_max",
            value=fraction,
            limit=limit,
            examples=_copies(s.train, copies.commonest, copies.most),
        )
    else:
        noise = n > 0 and limit is None
        s.add(
            "duplicates",
            "warn" if noise else "pass",
            f"{said}; {copies.different:,} rows are left without the repeats, which lie on one side of the split"
            if noise
            else said
            if n
            else "no row stands twice",
            value=fraction,
            limit=limit,
        )


def conflicts(s: Subject) -> None:
    """Rows with equal features and different labels."""
    if not (s.label.quantity or s.label.category):
        return
    n, limit = s.copies.against, s.limits.conflicts_max
    fraction = n / s.train.rows
    if not n:
        s.add("conflicts", "pass", "equal features always have one label", value=0, limit=limit)
        return
    examples = s.train.examples(s.copies.differing, "label")
    said = f"{counted(n, 'row')} ({percent(fraction)}) {'has' if n == 1 else 'have'} the features of a row with another label"
    if limit is not None and fraction > limit and s.problem.classes:
        s.add(
            "conflicts",
            "refuse",
            f"{said}, allowed are {percent(limit)}: no model can be right about them; decide on a label for each, or raise "
            "data.checks.conflicts_max",
            value=fraction,
            limit=limit,
            examples=examples,
        )
    else:
        s.add("conflicts", "warn", f"{said}; no model can be right about all of them", value=fraction, limit=limit, examples=examples)


def leakage(s: Subject) -> None:
    """Held-out rows that are training rows too."""
    limit = s.limits.leakage_max
    if s.test is None:
        if s.split.by == "hash":
            s.add("leakage", "pass", "rows with equal features are always on one side of the split", value=0, limit=limit)
        return
    n, both = shared(s.test.parted(s.train.on_disk), s.train.parted(s.train.on_disk), EXAMPLES)
    fraction = n / s.test.rows
    said = f"{counted(n, 'held-out row')} ({percent(fraction)}) {'is a training row' if n == 1 else 'are training rows'} too"
    if fraction > limit:
        s.add(
            "leakage",
            "refuse",
            f"{said}, allowed are {percent(limit)}: the test would measure memory; remove them from one side, or raise "
            "data.checks.leakage_max",
            value=fraction,
            limit=limit,
            examples=tuple(f"{s.test.place(r)} = {s.train.place(twin)}" for r, twin in both),
        )
    else:
        s.add(
            "leakage",
            "warn" if n else "pass",
            said if n else "no held-out row is a training row",
            value=fraction,
            limit=limit,
            examples=s.test.examples([r for r, _ in both]),
        )


def unseen_labels(s: Subject) -> None:
    """Labels that are held out but not trained, or trained but never held out."""
    if s.test is None or not s.problem.classes:
        return
    train, test = labels.counts(s.train), labels.counts(s.test)
    unknown = [k for k in test if k not in train and not s.problem.lopsided]
    if unknown:
        s.add(
            "unseen_labels",
            "refuse",
            f"{counted(len(unknown), 'label')} of held-out rows without a training row: {listed([repr(u) for u in unknown])}; a model "
            "can never answer them: add training rows, or remove these",
            column="label",
            value=len(unknown),
            limit=0,
            examples=s.test.examples(s.test.among("label", unknown), "label"),
        )
    unmeasured = sorted(k for k in train if k not in test)
    if unmeasured:
        s.add(
            "unseen_labels",
            "warn",
            f"{counted(len(unmeasured), 'label')} without a held-out row: {listed([repr(u) for u in unmeasured])}; the model's answers "
            "there are not measured",
            column="label",
            value=len(unmeasured),
            limit=0,
        )
    if not unknown and not unmeasured:
        s.add("unseen_labels", "pass", "training and held-out rows have the same labels", column="label")


def _copies(side: Side, rows: tuple[int, ...], times: int) -> tuple[str, ...]:
    return (f"{times:,} times the same: " + " = ".join(side.place(r) for r in rows[:4]) + (" = ..." if times > 4 else ""),)


class Rows(Looks):
    """Checks rows beside each other: repeated, at odds, on both sides."""

    name = "rows"
    looks = (duplicates, conflicts, leakage, unseen_labels)
