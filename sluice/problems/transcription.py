"""Transcripts: an answer is a sequence of symbols of any length, judged by the edits between it and what was said.

A symbol is a word or a character (or a piece of a word). `SPACE` marks where a word begins: the symbols of words are ``▁three``, ``▁five``; those of
characters ``t``, ``h``, and `SPACE` alone between words. So a text is the symbols joined, whatever they are.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.problems.arrays import Arrays
from sluice.problems.metric import Metric

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule
    from sluice.problems.units import Units

SPACE = "▁"
#: Symbols an answer can have at most.
LONGEST = 512
#: Codes behind the end of a sequence, and of a symbol that the model does not know.
END, UNKNOWN = -1, -2
#: Symbols a second that can be told apart at most: words, and characters.
_FASTEST = (12.5, 25.0)
#: Transcripts tried as the constant answer, and training rows they are tried on.
_TRIED, _ROWS = 20, 500
#: Share of rows that may be answered otherwise by the same model in another engine: where two symbols are all but equally likely.
_TIES = 0.01


class Transcription(Arrays):
    """A text, of symbols. The graph's output holds a symbol's index and its probability at each place, FP32 [rows, `LONGEST`, 2]."""

    name: ClassVar[str] = "transcription"
    served: ClassVar[str] = "transcription"
    label: ClassVar[str] = "names"
    longest: ClassVar[int] = LONGEST
    output: ClassVar[str] = "symbols"
    counted: ClassVar[str] = "held-out transcripts"
    #: Share of a text's symbols that are others.
    answer_change: ClassVar[float] = 0.5
    changes: ClassVar[str] = "of the symbols"
    tells: ClassVar[Mapping[str, tuple[str, tuple[int, ...]]]] = MappingProxyType({"text": ("BYTES", ()), "confidence": ("FP32", ())})

    # --- labels, targets, outputs ---

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        """Every symbol of any row, sorted."""
        import pyarrow.compute as pc

        return sorted(pc.list_flatten(column).unique().drop_null().to_pylist())

    def described(self, labels: Sequence[str]) -> str:
        return f"an answer is a text of {len(labels):,} symbols"

    def fastest(self, labels: Sequence[str]) -> float:
        """Of words, or of characters: as many as a network has frames."""
        return _FASTEST[0 if of_words(labels) else 1]

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """Indices into `labels`, int32 [rows, `LONGEST`], `UNKNOWN` for others, `END` behind the last; what is longer is cut."""
        index = {label: i for i, label in enumerate(labels)}
        out = np.full((len(column), LONGEST), END, dtype=np.int32)
        for row, symbols in zip(out, column.to_pylist(), strict=True):
            found = [index.get(s, UNKNOWN) for s in symbols or ()][:LONGEST]
            row[: len(found)] = found
        return out

    def width(self, labels: Sequence[str]) -> tuple[int, ...]:
        return (LONGEST, 2)

    # --- judging ---

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        from sluice.problems.of_transcripts import CharacterErrorRate, SentenceErrorRate, WordErrorRate

        every = (
            WordErrorRate("word_error_rate", self.name, "lower"),
            CharacterErrorRate("character_error_rate", self.name, "lower"),
            SentenceErrorRate("sentence_error_rate", self.name, "lower"),
        )
        return {m.name: m for m in every}

    def metrics(self) -> Mapping[str, Metric]:
        """Errors in words, in characters, and of whole transcripts."""
        return self._metrics

    def answers(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        labels: Sequence[str],
        *,
        rule: Rule | None = None,
        positive: str | None = None,
        units: Units | None = None,
    ) -> Answers:
        """Checked; behind the places stand each row's edits and how many words, then characters, are true: [rows, `LONGEST` + 2, 2]."""
        from sluice.problems.of_transcripts import counted

        a = super().answers(np.asarray(outputs)[:, :LONGEST], targets, labels, rule=rule, positive=positive, units=units)
        return _behind(a, counted(texts(a.targets, labels), texts(a.outputs[..., 0], labels)))

    def pair(
        self, ours: Answers, labels: Sequence[str], outputs: np.ndarray, their_labels: Sequence[str], rule: Rule | None
    ) -> tuple[Answers, Answers, np.ndarray]:
        """All rows, by their texts: one may be of words and the other of characters. A symbol that only the other knows is none that was said."""
        from sluice.problems.of_transcripts import counted

        index = {label: i for i, label in enumerate(labels)}
        place = np.array([*(index.get(label, UNKNOWN) for label in their_labels), UNKNOWN, END], dtype=np.float64)
        found = np.array(outputs, dtype=np.float64)[:, :LONGEST]
        said = texts(found[..., 0], their_labels)
        found[..., 0] = place[found[..., 0].astype(np.int64)]  # the last two are the codes below 0
        theirs = super().answers(found, ours.targets, labels, units=ours.units)
        return ours, _behind(theirs, counted(texts(ours.targets, labels), said)), np.ones(len(ours.targets), dtype=bool)

    def told_apart(self, ours: Answers, theirs: Answers) -> dict[str, float]:
        """Rows whose symbols differ."""
        return {"n_discordant": int((ours.outputs[:, :LONGEST, 0] != theirs.outputs[:, :LONGEST, 0]).any(axis=1).sum())}

    def constant(self, targets: np.ndarray, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """Of the commonest transcripts, and of none at all, the one with the fewest errors on the training rows."""
        judge, rows = self.metrics()[metric], targets[:_ROWS]
        common = Counter(row.tobytes() for row in targets)
        tried = [np.full(LONGEST, END, targets.dtype), *(np.frombuffer(t, targets.dtype) for t, _ in common.most_common(_TRIED))]
        answers = [np.stack([codes.astype(np.float64), np.where(codes >= 0, 1.0, 0.0)], axis=1) for codes in tried]
        errors = [judge.value(self.answers(np.tile(a, (len(rows), 1, 1)), rows, labels)) for a in answers]
        best = int(np.argmin(errors))
        said = texts(tried[best][None], labels)[0]
        return (f"answering {said!r} throughout" if said else "answering nothing throughout"), answers[best]

    # --- two graphs' answers to the same rows ---

    def scale(self, reference: np.ndarray) -> float:
        """Probabilities are of one scale."""
        return 1.0

    def apart(self, outputs: np.ndarray, others: np.ndarray) -> float:
        """The largest difference of a probability where the symbols are the same; 1 where more rows have others than ties explain."""
        same = (outputs[..., 0] == others[..., 0]).all(axis=1)
        if (~same).sum() > max(1.0, _TIES * len(same)):
            return 1.0
        return float(np.abs(outputs[same, :, 1].astype(np.float64) - others[same, :, 1]).max(initial=0.0))

    def change(self, outputs: np.ndarray, base: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Edits between the two, as a share of the longer one's symbols."""
        from sluice.problems.edits import distances

        ours, theirs = _codes(outputs[..., 0]), _codes(base[..., 0])
        return distances(theirs, ours) / np.array([max(len(a), len(b), 1) for a, b in zip(ours, theirs, strict=True)])

    def agreement(self, outputs: np.ndarray, others: np.ndarray, labels: Sequence[str], rule: Rule | None, reference: np.ndarray) -> float:
        """The share of rows with the same text."""
        return float((outputs[..., 0] == others[..., 0]).all(axis=1).mean())

    # --- answering ---

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """``transcription``: what kinds of edits there are, the worst transcripts with theirs, and which words are taken for which."""
        from sluice.problems.transcription_details import details

        return {"transcription": details(texts(a.targets, labels), texts(a.outputs[:, :LONGEST, 0], labels))}

    def section(self, found: Mapping[str, Any]) -> str:
        """See `details`."""
        from sluice.problems.transcription_details import section

        return section(found["transcription"])

    def told(self, outputs: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
        """``text``, and ``confidence``: the probability of its least sure symbol, 0 where nothing was heard."""
        said = np.array(texts(outputs[..., 0], labels), dtype=object)
        least = np.where(outputs[..., 0] >= 0, outputs[..., 1], np.inf).min(axis=1)
        return {"text": said, "confidence": np.where(np.isfinite(least), least, 0.0).astype(np.float32)}

    def observed(self, outputs: np.ndarray) -> np.ndarray:
        """How many symbols a text has."""
        return np.asarray((outputs[..., 0] >= 0).sum(axis=1), dtype=np.float64)


def _behind(a: Answers, counts: np.ndarray) -> Answers:
    """Answers with each row's counts behind its places."""
    return dataclasses.replace(a, outputs=np.concatenate([a.outputs, counts], axis=1))


def of_words(labels: Sequence[str]) -> bool:
    """Whether each symbol is a whole word."""
    return all(label.startswith(SPACE) for label in labels)


def _codes(sequences: np.ndarray) -> list[list[int]]:
    """Sequences without what lies behind their end."""
    lengths = (sequences != END).sum(axis=1)
    return [row[:n] for row, n in zip(sequences.astype(np.int64).tolist(), lengths.tolist(), strict=True)]


def texts(sequences: np.ndarray, labels: Sequence[str]) -> list[str]:
    """Sequences of indices [rows, places] as texts; a symbol that is not known is U+FFFD."""
    names = [*labels, SPACE + "\ufffd" if of_words(labels) else "\ufffd"]
    return ["".join(names[c] if 0 <= c < len(labels) else names[-1] for c in row).replace(SPACE, " ").strip() for row in _codes(sequences)]
