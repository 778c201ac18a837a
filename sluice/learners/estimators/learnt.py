"""Columns that are learnt from the answers: a text's score by its words, and what rows of a category's value were answered.

A training row that had a part in what is learnt would tell its own answer, so each training row gets what the rows of the other folds say
(Micci-Barreca 2001; Prokhorenkova and others, NeurIPS 2018); all other rows get what all training rows say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sluice.core.errors import DataError
from sluice.learners.estimators.words import Words, counts
from sluice.learners.tables.codes import KNOWN, coded, codes

#: Parts of the training rows.
_FOLDS = 5
#: More labels than this have no score each.
_MOST_LABELS = 10
#: Directions that a text's words are brought down to (latent semantic analysis; Deerwester and others 1990).
_DIRECTIONS = 24
#: Rows of a value at which what they say weighs as much as what all rows say.
_DOUBT = 10.0
#: Rows that word scores are fitted to at the most.
_MOST_ROWS = 50_000


@dataclasses.dataclass(frozen=True)
class Answered:
    """Training rows' answers.

    Attributes:
        targets: indices of labels that have training rows, INT64 [rows]; or values, FP64.
        classes: how many labels; 0 for a quantity.
        fold: of each row, INT64 [rows].
        seed: the only source of chance.
    """

    targets: np.ndarray
    classes: int
    fold: np.ndarray
    seed: int

    @classmethod
    def of(cls, targets: np.ndarray, classes: int, groups: np.ndarray, seed: int) -> Answered:
        """With folds that keep groups together, or by rows where there are too few groups."""
        from sluice.learners.folds import assign

        try:
            fold = assign(targets, groups, _FOLDS, seed)
        except DataError:
            fold = np.arange(len(targets)) % _FOLDS
        return cls(targets, classes, fold, seed)

    @property
    def scored(self) -> bool:
        """Whether each label has a score."""
        return self.classes <= _MOST_LABELS

    @property
    def columns(self) -> np.ndarray:
        """What is told of a row: 1 for its label (of two labels for the second), or its value in deviations; FP64 [rows, scores]."""
        if not self.classes:
            return ((self.targets - self.targets.mean()) / (self.targets.std() or 1.0))[:, None]
        shown = np.eye(self.classes)[self.targets]
        return shown[:, 1:] if self.classes == 2 else shown

    def held(self, learn: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """What each row is told by the others: `learn` gets a mask of rows and gives what all rows are told by them, [rows, scores]."""
        out: np.ndarray | None = None
        for f in np.unique(self.fold):
            away = self.fold == f
            found = learn(~away)
            out = np.zeros_like(found) if out is None else out
            out[away] = found[away]
        assert out is not None
        return out


def score_category(values: Sequence[str], strings: np.ndarray, answered: Answered) -> tuple[list[list[float]], np.ndarray]:
    """What the rows of each value were answered, less what all were, drawn to 0 where they are few.

    Args:
        values: known ones.
        strings: of each training row, [rows].
        answered: their answers.

    Returns:
        Of each value its scores, and of each training row those of the other folds, FP32 [rows, scores].
    """
    code, y = coded(codes(values), strings), answered.columns

    def learn(rows: np.ndarray) -> np.ndarray:
        centred, n = y[rows] - y[rows].mean(axis=0), np.bincount(code[rows], minlength=len(values) + KNOWN)
        total = np.stack([np.bincount(code[rows], weights=column, minlength=len(n)) for column in centred.T], axis=1)
        return np.asarray(total / (n + _DOUBT)[:, None], dtype=np.float32)

    held = answered.held(lambda rows: learn(rows)[code])
    return learn(np.ones(len(code), bool))[KNOWN:].tolist(), np.where(code[:, None] < KNOWN, np.float32(0), held)


def learn_words(values: Sequence[str], strings: np.ndarray, answered: Answered) -> tuple[Words, np.ndarray]:
    """A text's main directions among the training rows' TF-IDF vectors, and its score by a linear model of them.

    Args:
        values: known words.
        strings: of each training row, [rows].
        answered: their answers.

    Returns:
        The words, and of each training row all its numbers, the score by the other folds: FP32 [rows, numbers].
    """
    from scipy import sparse
    from sklearn.preprocessing import normalize

    if not values:
        found = Words([], "")
        return found, found.of(strings)
    bag = counts(strings, {w: i for i, w in enumerate(values)}, len(values))
    idf = np.log((1 + len(strings)) / (1 + np.bincount(bag.indices, minlength=len(values)))) + 1
    bag = normalize(bag @ sparse.diags(idf.astype(np.float32)))
    numbers = [_directions(bag, answered.seed)]
    if answered.scored:
        numbers.append(_weights(bag, answered, np.ones(len(strings), bool)))
    words, units = Words.made(values, idf, np.concatenate(numbers, axis=1))
    out = words.of(strings)
    if answered.scored:
        held = answered.held(lambda rows: np.asarray(bag @ _weights(bag, answered, rows)))
        out[:, -held.shape[1] :] = held * units[-held.shape[1] :]
    return words, out


def _directions(bag: Any, seed: int) -> np.ndarray:
    from sklearn.decomposition import TruncatedSVD

    most = min(_DIRECTIONS, bag.shape[1] - 1, bag.shape[0] - 1)
    return TruncatedSVD(most, random_state=seed).fit(bag).components_.T if most > 0 else np.zeros((bag.shape[1], 0))


def _weights(bag: Any, answered: Answered, rows: np.ndarray) -> np.ndarray:
    """Of each word in the score of each label or of the value, FP64 [words, scores]."""
    from sklearn.linear_model import LogisticRegression, Ridge

    at = np.flatnonzero(rows)
    at = at[:: -(-len(at) // _MOST_ROWS)]
    x, y = bag[at], answered.targets[at]
    width = answered.columns.shape[1]
    if not answered.classes:
        return np.asarray(Ridge(alpha=1.0).fit(x, answered.columns[at, 0]).coef_).reshape(-1, 1)
    known = np.unique(y)
    if len(known) < 2:
        return np.zeros((bag.shape[1], width))
    model = LogisticRegression(C=5.0, max_iter=300).fit(x, y)
    if len(known) == 2:  # the second one's score; the first one's is its opposite
        out = np.zeros((bag.shape[1], answered.classes))
        out[:, known[1]], out[:, known[0]] = model.coef_[0], -model.coef_[0]
        return out[:, 1:] if answered.classes == 2 else out
    out = np.zeros((bag.shape[1], width))
    out[:, known] = model.coef_.T
    return out


def learnt(
    tables: Mapping[str, Sequence[str]], texts: Mapping[str, Sequence[str]], strings: Mapping[str, np.ndarray], answered: Answered
) -> tuple[dict[str, list[list[float]]], dict[str, Words], dict[str, np.ndarray]]:
    """Scores of categories, and `Words` of texts, with what training rows have in their place.

    Args:
        tables: of each category with many values these.
        texts: of each text its known words.
        strings: of each of them the training rows, [rows].
        answered: the training rows' answers.

    Returns:
        ({category: scores of each value}, {text: `Words`}, {either: FP32 [rows, numbers]}).
    """
    scores: dict[str, list[list[float]]] = {}
    words: dict[str, Words] = {}
    held: dict[str, np.ndarray] = {}
    for name, values in tables.items():
        if answered.scored:
            scores[name], held[name] = score_category(values, strings[name], answered)
    for name, values in texts.items():
        words[name], held[name] = learn_words(values, strings[name], answered)
    return scores, words, held
