"""The edits that turn one sequence into another: how many, and which (Wagner, Fischer, Journal of the ACM 21, 1974)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Kind = Literal["same", "substitution", "deletion", "insertion"]
#: Rows compared at a time: memory is these times the longest sequence.
_ROWS = 1024


def distances(truth: Sequence[Sequence[Any]], said: Sequence[Sequence[Any]]) -> np.ndarray:
    """The least number of substitutions, deletions and insertions between two sequences a row, int64 [rows]."""
    out = [_distances(truth[at : at + _ROWS], said[at : at + _ROWS]) for at in range(0, len(truth), _ROWS)]
    return np.concatenate(out) if out else np.zeros(0, dtype=np.int64)


def _distances(truth: Sequence[Sequence[Any]], said: Sequence[Sequence[Any]]) -> np.ndarray:
    codes: dict[Any, int] = {}
    a, ours = _padded(truth, codes)
    b, theirs = _padded(said, codes)
    steps = np.arange(b.shape[1] + 1)
    row = np.tile(steps, (len(a), 1))
    out = row[np.arange(len(a)), theirs]
    for i in range(1, a.shape[1] + 1):
        new = np.empty_like(row)
        new[:, 0] = i
        new[:, 1:] = np.minimum(row[:, 1:] + 1, row[:, :-1] + (a[:, i - 1 : i] != b))
        # An insertion costs one a place: the least over all places before, each with what lies between.
        row = np.minimum.accumulate(new - steps, axis=1) + steps
        ended = ours == i
        out[ended] = row[ended, theirs[ended]]
    return out.astype(np.int64)


def _padded(sequences: Sequence[Sequence[Any]], codes: dict[Any, int]) -> tuple[np.ndarray, np.ndarray]:
    """Codes [rows, longest], -1 behind a sequence's end, and the lengths."""
    lengths = np.array([len(s) for s in sequences], dtype=np.int64)
    out = np.full((len(sequences), int(lengths.max(initial=0))), -1, dtype=np.int64)
    for row, sequence in zip(out, sequences, strict=True):
        row[: len(sequence)] = [codes.setdefault(v, len(codes)) for v in sequence]
    return out, lengths


def alignment(truth: Sequence[Any], said: Sequence[Any]) -> list[tuple[Kind, Any, Any]]:
    """The edits of one pair in their order, with what is the same: (kind, what is true or None, what was said or None)."""
    table = [[*range(len(said) + 1)]]
    for i, t in enumerate(truth, 1):
        row = [i]
        for j, s in enumerate(said):
            row.append(min(table[-1][j] + (t != s), table[-1][j + 1] + 1, row[j] + 1))
        table.append(row)
    out: list[tuple[Kind, Any, Any]] = []
    i, j = len(truth), len(said)
    while i or j:
        if i and j and table[i][j] == table[i - 1][j - 1] + (truth[i - 1] != said[j - 1]):
            i, j = i - 1, j - 1
            out.append(("same" if truth[i] == said[j] else "substitution", truth[i], said[j]))
        elif i and table[i][j] == table[i - 1][j] + 1:
            i -= 1
            out.append(("deletion", truth[i], None))
        else:
            j -= 1
            out.append(("insertion", None, said[j]))
    return out[::-1]
