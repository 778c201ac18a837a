"""Checks of the split: can it be made, and is nothing on two sides that belongs together?"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.core.errors import DataError
from sluice.data.checks.look import Looks
from sluice.data.checks.rows import FEW
from sluice.data.checks.subject import Side, Subject
from sluice.data.columns import usable
from sluice.data.partitions import Partitions, shared
from sluice.data.pieces import usable_pieces
from sluice.data.report import EXAMPLES, counted, listed, percent
from sluice.data.split_keys import time_numbers
from sluice.data.splits import SPLITS, Splitter
from sluice.fields.summaries import Counted


def division(s: Subject) -> None:
    """The split can be made; what it keeps together is said, and measured."""
    if s.train.sides is not None:
        use = np.flatnonzero(np.asarray(usable(s.train.table, s.fields.values())))
        sizes = np.bincount(s.train.sides[use], minlength=3).tolist()
        s.add(
            "split",
            "warn" if sizes[2] < FEW else "pass",
            f"rows will be {_counts(sizes)}, as the task divides them",
            value=sizes[2],
            limit=FEW,
        )
        return
    try:
        made = Splitter(lambda: (piece for _, piece in usable_pieces(s.train)), s.split, s.test is not None, s.train.on_disk)
    except DataError as e:
        s.add("split", "refuse", f"the split cannot be made: {e.message}; {e.fix}")
        return
    sizes = made.sizes.sum(axis=1).tolist()
    keyed = s.split.by != "hash" and s.train.keyed
    if s.test is not None:
        sizes[2] = s.test.rows
    said = _counts(sizes)
    if s.split.by == "time" and keyed:
        said += f"; {_from(made, s.train, has_test=s.test is not None)}"
    elif s.split.by == "group" and keyed:
        groups, alone = _groups(made, s.train)
        said += f", by {s.split.column!r}: {', '.join(f'{n:,} {name}' for n, name in zip(groups, SPLITS, strict=True) if n)}, no group on two sides"
        if alone:
            said += f"; {counted(alone, 'row')} without one {'stands' if alone == 1 else 'stand'} alone"
    if s.test is None and sizes[2] < FEW:
        s.add("split", "warn", f"rows will be {said}: too few to measure a model well", value=sizes[2], limit=FEW)
    else:
        s.add("split", "pass", f"rows will be {said}", value=sizes[2])
    if s.split.by != "hash" and s.test is None:
        _twins(s, made)


def _counts(sizes: list[int]) -> str:
    return ", ".join(f"{n:,} {name}" for n, name in zip(sizes, SPLITS, strict=True))


def _from(made: Splitter, side: Side, has_test: bool) -> str:
    """From when on rows validate and test."""
    firsts: dict[int, pa.Scalar] = {}
    for _, piece in usable_pieces(side):
        of, keys = made.sides(piece), piece.keys
        assert keys is not None
        for i in (1, 2):
            least = pc.min(keys.filter(pa.array(of == i)))
            if least.is_valid and (i not in firsts or least.as_py() < firsts[i].as_py()):
                firsts[i] = least
    parts = [f"{does} from {_when(firsts[i])}" for i, does in ((1, "validate"), (2, "test")) if not (has_test and i == 2)]
    return "those that " + " and ".join(parts) + ", older ones train"


def _groups(made: Splitter, side: Side) -> tuple[list[int], int]:
    """How many groups are on each side, and rows without one."""
    found, alone = [Counted(), Counted(), Counted()], 0
    for _, piece in usable_pieces(side):
        of = made.sides(piece)
        assert piece.keys is not None
        alone += piece.keys.null_count
        for i, counted_ in enumerate(found):
            counted_.add(piece.keys.filter(pa.array(of == i)))
    return [len(f.values) for f in found], alone


def _when(value: pa.Scalar) -> str:
    if pa.types.is_floating(value.type):
        return f"{value.as_py():.15g}"
    return str(value.as_py())


def _twins(s: Subject, made: Splitter) -> None:
    """Rows of the test side that have the features of a training row: where groups or times decide, they may."""
    trains, tests, limit = Partitions(s.train.on_disk), Partitions(s.train.on_disk), s.limits.leakage_max
    for rows, piece in usable_pieces(s.train):
        of = made.sides(piece)
        for parts, i in ((trains, 0), (tests, 2)):
            parts.add(piece.ids[of == i], rows[of == i])
    n, both = shared(tests, trains, EXAMPLES)
    fraction = n / max(int(made.sizes[2].sum()), 1)
    if fraction > limit:
        s.add(
            "leakage",
            "warn",
            f"{counted(n, 'test row')} ({percent(fraction)}) {'has' if n == 1 else 'have'} the features of a training row, of another "
            f"{'time' if s.split.by == 'time' else 'group'}: is a feature missing that tells them apart?",
            value=fraction,
            limit=limit,
            examples=s.train.examples([r for r, _ in both]),
        )
    else:
        s.add(
            "leakage",
            "pass",
            f"{counted(n, 'test row')} ({percent(fraction)}) {'has' if n == 1 else 'have'} the features of a training row"
            if n
            else "no test row has the features of a training row",
            value=fraction,
            limit=limit,
        )


def apart(s: Subject) -> None:
    """Held-out rows from elsewhere keep to the rule the project splits by."""
    if s.test is None or s.train.keys is None or s.test.keys is None:
        return
    (_times_apart if s.split.by == "time" else _groups_apart)(s, s.test, s.train.keys, s.test.keys)


def _groups_apart(s: Subject, test: Side, train_keys: pa.ChunkedArray, test_keys: pa.ChunkedArray) -> None:
    known = pa.array(train_keys.drop_null().unique().to_pylist(), pa.string())
    shared = np.asarray(pc.and_(pc.is_valid(test_keys), pc.is_in(test_keys, value_set=known)))
    if shared.any():
        names = test_keys.filter(pa.array(shared)).unique().to_pylist()
        n = int(shared.sum())
        s.add(
            "groups",
            "refuse",
            f"{counted(len(names), 'group')} of {s.split.column!r} {'is' if len(names) == 1 else 'are'} in the training and the held-out "
            f"rows ({counted(n, 'held-out row')}): {listed([repr(v) for v in names])}; take them out of one side",
            column=s.split.column,
            value=n,
            limit=0,
            examples=test.examples(shared),
        )
    else:
        s.add(
            "groups",
            "pass",
            f"no group of {s.split.column!r} is in the training and the held-out rows",
            column=s.split.column,
            value=0,
            limit=0,
        )


def _times_apart(s: Subject, test: Side, train_keys: pa.ChunkedArray, test_keys: pa.ChunkedArray) -> None:
    unknown = test_keys.null_count
    if unknown:
        s.add(
            "time",
            "refuse",
            f"held-out rows: {counted(unknown, 'row')} without a time in {s.split.column!r}; fill the column, or take the rows out",
            column=s.split.column,
            value=unknown,
            limit=0,
            examples=test.examples(test_keys.is_null()),
        )
        return
    known = time_numbers(train_keys.drop_null())
    if not len(known):  # the split itself is refused
        return
    newest = known.max()
    times = time_numbers(test_keys)
    older, last = times < newest, _when(pc.max(train_keys))
    n = int(older.sum())
    if n:
        s.add(
            "time",
            "refuse",
            f"{counted(n, 'held-out row')} of {len(times):,} {'is' if n == 1 else 'are'} older than the newest training row ({last}): the model "
            "would know what came after them; move them to the training rows, or give newer ones",
            column=s.split.column,
            value=n,
            limit=0,
            examples=test.examples(older),
        )
    elif (times == newest).any():
        n = int((times == newest).sum())
        s.add(
            "time",
            "warn",
            f"{counted(n, 'held-out row')} {'has' if n == 1 else 'have'} the time of the newest training row ({last}): is a day or hour cut in two?",
            column=s.split.column,
            value=n,
            limit=0,
            examples=test.examples(times == newest),
        )
    else:
        s.add("time", "pass", f"every held-out row is newer than the newest training row ({last})", column=s.split.column, value=0, limit=0)


class Division(Looks):
    """Checks how the rows divide."""

    name = "division"
    looks = (division, apart)
