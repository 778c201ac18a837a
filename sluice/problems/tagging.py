"""Tagging: each word of a text has a tag, and tags make spans: names, places, quantities."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.problems.arrays import Arrays
from sluice.problems.metric import Metric
from sluice.problems.spans import spans

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.dataset import Dataset
    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule

#: Behind a word's probabilities stand where it begins and ends in the text.
_ENDS = ("<start>", "<end>")
#: No word, and a tag that the model does not know.
NONE, UNKNOWN = -1, -2


class Tagging(Arrays):
    """FP32 [rows, words, tags + 2]: of each word every tag's probability, then the characters where it begins and ends; zeros where there is no word.

    Labels name the parts: ``0:B-name``, ``0:O``, ..., ``0:<start>``, ``0:<end>``, ``1:B-name``, ...
    """

    name: ClassVar[str] = "word_tags"
    served: ClassVar[str] = "word_tags"
    label: ClassVar[str] = "names"
    output: ClassVar[str] = "tagged"
    #: A tag that takes another's place.
    answer_change: ClassVar[float] = 0.5
    tells: ClassVar[Mapping[str, tuple[str, tuple[int, ...]]]] = MappingProxyType({"spans": ("BYTES", ())})

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        """Every tag of any row, sorted, for as many words as the longest row has."""
        import pyarrow.compute as pc

        tags = sorted(pc.list_flatten(column).unique().drop_null().to_pylist())
        words = pc.max(pc.list_value_length(column)).as_py() or 0
        return [f"{word}:{part}" for word in range(words) for part in (*tags, *_ENDS)]

    def unknown(self, column: pa.ChunkedArray, labels: Sequence[str]) -> Any:
        import pyarrow.compute as pc

        found = set(pc.list_flatten(column).unique().drop_null().to_pylist())
        return next(iter(sorted(found - set(tags_of(labels)))), None)

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raises `ValueError`: they are not the tags of each word."""
        tags = tags_of(labels)
        words = len(labels) // (len(tags) + 2)
        if not tags or list(labels) != [f"{word}:{part}" for word in range(words) for part in (*tags, *_ENDS)]:
            raise ValueError("are not the tags of each word: 0:TAG, ..., 0:<start>, 0:<end>, 1:TAG, ...")

    def described(self, labels: Sequence[str]) -> str:
        return f"each word has one of {len(tags_of(labels))} tags"

    def width(self, labels: Sequence[str]) -> tuple[int, ...]:
        """(words, tags + 2)."""
        parts = len(tags_of(labels)) + 2
        return (len(labels) // parts, parts)

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """Of each word its tag's place, float64 [rows, words]: `NONE` where there is no word, `UNKNOWN` for a tag the model has not."""
        place = {tag: i for i, tag in enumerate(tags_of(labels))}
        out = np.full((len(column), self.width(labels)[0]), float(NONE))
        for row, tags in enumerate(column.to_pylist()):
            found = [place.get(t, UNKNOWN) for t in (tags or ())[: out.shape[1]]]
            out[row, : len(found)] = found
        return out

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        from sluice.problems.of_spans import SpanF1, WordAccuracy, WordLoss

        every = (
            SpanF1("span_f1", self.name, "higher"),
            WordAccuracy("word_accuracy", self.name, "higher"),
            WordLoss("word_log_loss", self.name, "lower"),
        )
        return {m.name: m for m in every}

    def answers(self, outputs: np.ndarray, targets: np.ndarray, labels: Sequence[str], **told: Any) -> Answers:
        """With the tags' names, which spans are made of. Raises as `Arrays.answers`."""
        from sluice.problems.of_spans import Tagged

        told.pop("rule", None), told.pop("positive", None)
        a = super().answers(outputs, targets, labels, **told)
        return Tagged(a.outputs, a.targets, a.predicted, None, a.units, tags=tuple(tags_of(labels)))

    def pair(
        self, ours: Answers, labels: Sequence[str], outputs: np.ndarray, their_labels: Sequence[str], rule: Rule | None
    ) -> tuple[Answers, Answers, np.ndarray]:
        """All rows, by the tags of ours: one that the other has not is nothing it ever answers, and of a longer row both tell as many words.

        Raises:
            ValueError: they have no tag in common.
        """
        from sluice.problems.of_spans import Tagged

        assert isinstance(ours, Tagged)
        mine, theirs = tags_of(labels), tags_of(their_labels)
        if not set(mine) & set(theirs):
            raise ValueError("have no tag in common")
        words = min(self.width(labels)[0], self.width(their_labels)[0])
        tags = list(dict.fromkeys((*mine, *theirs)))
        place = np.array([tags.index(t) for t in mine], dtype=np.int64)
        cut = np.asarray(ours.targets[:, :words])
        true = np.where(cut >= 0, place[np.maximum(cut, 0).astype(np.int64)], cut)

        def under(found: np.ndarray, own: Sequence[str]) -> Tagged:
            out = np.zeros((len(found), words, len(tags) + 2))
            out[:, :, [*(tags.index(t) for t in own), -2, -1]] = np.asarray(found, dtype=np.float64)[:, :words]
            return Tagged(out, true, np.empty(0, dtype=np.int64), None, ours.units, tags=tuple(tags))

        return under(ours.outputs, mine), under(outputs, theirs), np.ones(len(ours.targets), dtype=bool)

    def told_apart(self, ours: Answers, theirs: Answers) -> dict[str, float]:
        return {"n_discordant": int((_said(ours.outputs) != _said(theirs.outputs)).any(axis=1).sum())}

    def constant(self, targets: np.ndarray, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """Each tag's share of the words, for every word."""
        tags = tags_of(labels)
        shares = np.bincount(targets[targets >= 0].astype(np.int64), minlength=len(tags)) / max(1, int((targets >= 0).sum()))
        answer = np.zeros(self.width(labels))
        answer[:, : len(tags)] = shares
        return "each tag's share of the training words", answer

    def trivial(self, dataset: Dataset, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """Of each word the tags that it had in the training rows; of one that never stood there those of all words."""
        from sluice.fields.sentence import words_of

        tags, (most, _) = tags_of(labels), self.width(labels)
        train = dataset.read("train", ["sentence", "label"])
        counts: dict[str, np.ndarray] = {}
        whole = np.full(len(tags), 1e-3)
        known = self.targets(train.column("label"), labels).astype(np.int64)
        for text, row in zip(train.column("sentence").to_pylist(), known, strict=True):
            for (start, end), tag in zip(words_of(text)[:most], row, strict=False):
                if tag >= 0:
                    counts.setdefault(text[start:end].lower(), np.full(len(tags), 1e-3))[tag] += 1
                    whole[tag] += 1
        texts = dataset.read("test", ["sentence"]).column("sentence").to_pylist()
        out = np.zeros((len(texts), *self.width(labels)))
        for row, text in enumerate(texts):
            for at, (start, end) in enumerate(words_of(text)[:most]):
                found = counts.get(text[start:end].lower(), whole)
                out[row, at] = [*(found / found.sum()), start, end]
        return "the tag that is commonest for each word", out

    def scale(self, reference: np.ndarray) -> float:
        return 1.0

    def apart(self, outputs: np.ndarray, others: np.ndarray) -> float:
        """The largest difference of a probability."""
        return float(np.abs(outputs[..., :-2].astype(np.float64) - others[..., :-2]).max())

    def change(self, outputs: np.ndarray, base: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The largest difference of a probability."""
        found: np.ndarray = np.abs(outputs[..., :-2].astype(np.float64) - base[..., :-2]).reshape(len(outputs), -1).max(axis=1)
        return found

    def agreement(self, outputs: np.ndarray, others: np.ndarray, labels: Sequence[str], rule: Rule | None, reference: np.ndarray) -> float:
        """The share of rows whose words all have the same tags."""
        return float((_said(outputs) == _said(others)).all(axis=1).mean())

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """``spans``: of each kind precision, recall and F1 (0 where there is nothing to divide by), and how many are true."""
        from sluice.problems.of_spans import Tagged, met

        assert isinstance(a, Tagged)
        found: dict[str, list[int]] = {}
        for said, true in zip(*met(a), strict=True):
            for i, those in enumerate((said & true, said, true)):
                for _, _, what in those:
                    found.setdefault(what, [0, 0, 0])[i] += 1
        return {
            "spans": [
                {"label": n, "precision": h / max(s, 1), "recall": h / max(t, 1), "f1": 2 * h / max(s + t, 1), "support": t}
                for n, (h, s, t) in sorted(found.items())
            ]
        }

    def section(self, found: Mapping[str, Any]) -> str:
        """Each kind's scores, the worst first."""
        from sluice.problems.multilabel import scores

        return f"<h3>Each kind of span by itself</h3>{scores(found['spans'], 'spans')}"

    def told(self, outputs: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
        """``spans``: a JSON list a row: [{"start", "end", "label", "score"}], characters of the text that was sent, the least of the words' probabilities."""
        import orjson

        tags, said = tags_of(labels), _said(outputs)
        out = np.empty(len(outputs), dtype=object)
        for i, row in enumerate(said):
            words = int((row >= 0).sum())
            out[i] = orjson.dumps(
                [
                    {
                        "start": int(outputs[i, a, -2]),
                        "end": int(outputs[i, b - 1, -1]),
                        "label": what,
                        "score": round(float(outputs[i, range(a, b), row[a:b]].min()), 4),
                    }
                    for a, b, what in spans([tags[t] for t in row[:words]])
                ]
            ).decode()
        return {"spans": out}

    def observed(self, outputs: np.ndarray) -> np.ndarray:
        """How many words are answered, as a profile has it of true tags."""
        return np.asarray((_said(outputs) >= 0).sum(axis=1), dtype=np.float64)


def tags_of(labels: Sequence[str]) -> list[str]:
    """The tags of such labels: those of the first word."""
    return [label[2:] for label in labels if label.startswith("0:") and label[2:] not in _ENDS]


def _said(outputs: np.ndarray) -> np.ndarray:
    """The likeliest tag of each word, int64 [rows, words]; `NONE` where there is no word."""
    found: np.ndarray = np.where(outputs[..., :-2].sum(axis=-1) > 0, outputs[..., :-2].argmax(axis=-1), NONE)
    return found
