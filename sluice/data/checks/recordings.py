"""Checks of recordings: what cannot be heard, or not all alike."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from sluice.data.checks.subject import Side, Subject
from sluice.data.report import counted, listed, percent

#: Clips longer than this, and than so many times the usual one, are told of.
_LONG, _TIMES = 10.0, 8.0


def recordings(s: Subject) -> None:
    """Recordings that cannot be read, are silent, of another rate than most, or much longer than others."""
    for name in s.train.having("recordings"):
        if not pa.types.is_binary(s.train.held.schema.field(name).type):  # a task's own form of them
            continue
        before = len(s.found)
        for side in s.sides:
            if not _unreadable(s, side, name):
                _silent(s, side, name)
                _rates(s, side, name)
                _long(s, side, name)
        if len(s.found) == before:
            seconds = [r.seconds for r in s.train.cells(name).recordings]
            s.add(
                "recordings",
                "pass",
                f"all {counted(len(seconds), 'recording')} can be read; {min(seconds):.2f} to {max(seconds):.2f} seconds, none silent, all of one rate",
                column=name,
                value=0,
                limit=0,
            )


def _unreadable(s: Subject, side: Side, name: str) -> bool:
    found = side.cells(name).recordings
    bad = np.array([r.error is not None and r.error != "is missing" for r in found])
    if not bad.any():
        return False
    rows = np.flatnonzero(bad).tolist()
    s.add(
        "recordings",
        "refuse",
        f"{side.prefix}{counted(len(rows), 'recording')} cannot be read: {listed([side.place(r) for r in rows])}; replace or remove them",
        column=name,
        value=len(rows),
        limit=0,
        examples=tuple(f"{side.place(r)}: {found[r].error}" for r in rows[:5]),
    )
    return True


def _silent(s: Subject, side: Side, name: str) -> None:
    """Where all is silent nothing can be learnt; some silence may be a class of its own."""
    silent = np.array([r.silent for r in side.cells(name).recordings])
    n = int(silent.sum())
    if n:
        s.add(
            "recordings",
            "refuse" if n == side.rows else "warn",
            f"{side.prefix}{counted(n, 'recording')} ({percent(n / side.rows)}) {'is' if n == 1 else 'are'} silent: a microphone that was off? Remove "
            "them, unless silence has a label of its own",
            column=name,
            value=n,
            limit=0,
            examples=side.examples(silent),
        )


def _rates(s: Subject, side: Side, name: str) -> None:
    rates = Counter(r.rate for r in side.cells(name).recordings if r.error is None)
    usual = Counter(r.rate for r in s.train.cells(name).recordings if r.error is None).most_common(1)
    if len(rates) > 1 or set(rates) != {r for r, _ in usual}:
        other = np.array([r.error is None and r.rate != usual[0][0] for r in side.cells(name).recordings])
        shown = listed([f"{rate} Hz ({n:,})" for rate, n in rates.most_common()])
        s.add(
            "recordings",
            "warn",
            f"{side.prefix}recordings of several sample rates: {shown}; each is converted to model.sample_rate, by default that of most training "
            "rows; what was recorded at a lower rate has no high frequencies, and if one label has a rate of its own the model may learn that",
            column=name,
            value=len(rates),
            limit=1,
            examples=side.examples(other),
        )


def _long(s: Subject, side: Side, name: str) -> None:
    seconds = np.array([r.seconds for r in side.cells(name).recordings])
    usual = max(_LONG, _TIMES * float(np.median(seconds))) if len(seconds) else _LONG
    long = seconds > usual
    n = int(long.sum())
    if n:
        s.add(
            "recordings",
            "warn",
            f"{side.prefix}{counted(n, 'recording')} of more than {usual:.0f} seconds, far longer than the others (the longest has "
            f"{seconds.max():.0f}): a model reads the first model.seconds of a recording only",
            column=name,
            value=float(seconds.max()),
            limit=usual,
            examples=side.examples(long),
        )
