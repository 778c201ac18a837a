"""Checks of transcripts: symbols that nothing teaches, and texts longer than their recordings can hold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sluice.data.checks.subject import Side, Subject
from sluice.data.report import counted, listed

#: Symbols listed.
_SHOWN = 8


def transcripts(s: Subject) -> None:
    """Of a problem whose answers are sequences of symbols: each row's fits its recording and an answer, and held-out rows have no symbol of their own."""
    if not s.problem.longest:
        return
    before = len(s.found)
    known = s.problem.labels(s.train.table.column("label"))
    for side in s.sides:
        _long(s, side, known)
    if s.test is not None:
        _unheard(s, s.test, known)
    if len(s.found) == before:
        lengths = [len(symbols) for symbols in _symbols(s.train)]
        s.add("transcripts", "pass", f"{counted(len(known), 'symbol')}; {min(lengths)} to {max(lengths)} of them a row", column="label")


def _symbols(side: Side) -> list[list[str]]:
    column: pa.ChunkedArray = side.table.column("label")
    return [symbols or [] for symbols in column.to_pylist()]


def _long(s: Subject, side: Side, known: list[str]) -> None:
    lengths = np.array([len(symbols) for symbols in _symbols(side)])
    # Between two equal symbols there has to be a frame without one.
    needed = lengths + np.array([sum(a == b for a, b in zip(x, x[1:], strict=False)) for x in _symbols(side)])
    for name in side.having("recordings"):
        seconds = np.array([r.seconds if r.error is None else np.inf for r in side.cells(name).recordings])
        bad = (needed > seconds * s.problem.fastest(known)) & (lengths > 0)
        if bad.any():
            first = int(np.argmax(bad))
            s.add(
                "transcripts",
                "refuse",
                f"{side.prefix}{counted(int(bad.sum()), 'transcript')} with more symbols than {s.problem.fastest(known):g} a second, which no "
                f"model can tell apart ({side.place(first)}: {lengths[first]} in {seconds[first]:.2f} seconds); correct or remove these rows",
                column="label",
                value=int(bad.sum()),
                limit=0,
                examples=side.examples(bad, "label"),
            )
    bad = lengths > s.problem.longest
    if bad.any():
        s.add(
            "transcripts",
            "refuse",
            f"{side.prefix}{counted(int(bad.sum()), 'transcript')} of more than {s.problem.longest} symbols, the most an answer has: cut the "
            "recordings into shorter ones, or take words as symbols (model.units)",
            column="label",
            value=int(lengths.max()),
            limit=s.problem.longest,
            examples=side.examples(bad),
        )


def _unheard(s: Subject, side: Side, known: list[str]) -> None:
    have = set(known)
    strange = [sorted(set(symbols) - have) for symbols in _symbols(side)]
    if any(strange):
        every = sorted({symbol for row in strange for symbol in row})
        s.add(
            "transcripts",
            "warn",
            f"{side.prefix}{counted(len(every), 'symbol')} that no training row has: {listed([repr(e) for e in every[:_SHOWN]])}; a model cannot "
            "answer them, and each counts as an error",
            column="label",
            value=len(every),
            limit=0,
            examples=side.examples([bool(x) for x in strange], "label"),
        )
