"""A prompt judged on a golden set: every item asked, every answer scored; nothing that failed is dropped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core import events, files
from sluice.data.columns import stored_beside
from sluice.llm.asking import Asker, Reply
from sluice.llm.package import PromptPackage
from sluice.llm.scorers.base import Item, Score, Scorer, scorers_of
from sluice.problems.of_scores import COLUMNS, SCORES

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset
    from sluice.package.package import Package
    from sluice.project import Project

#: Answers of this process, by package, rows and scorers: a check asks again for what the step has found.
_found: dict[str, Evaluation] = {}
#: Items asked between two words on how far it is.
_SAY = 50


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a prompt answered, and how it was scored.

    Attributes:
        items: of the golden set.
        replies: to each, one a sample.
        scores: by the scorer's name, for each item one a sample.
        decide: the scorers whose mean is the score.
        told: by the scorer's name what it says of all of its scores.
        calls: of the endpoint, in this evaluation; what was kept is none.
    """

    items: Sequence[Item]
    replies: Sequence[Sequence[Reply]]
    scores: Mapping[str, Sequence[Sequence[Score]]]
    decide: Sequence[str]
    told: Mapping[str, Mapping[str, Any]]
    calls: int = 0

    def matrix(self) -> np.ndarray:
        """float64 [items, `COLUMNS`]: the mean over an item's samples, NaN where nothing asks for it."""
        out = np.full((len(self.items), len(COLUMNS)), np.nan)
        for name, found in self.scores.items():
            if name in SCORES:
                out[:, COLUMNS.index(name)] = [_mean(s.value for s in item) for item in found]
        parts = np.array([[_mean(s.value for s in self.scores[n][i]) for n in self.decide] for i in range(len(self.items))])
        out[:, 0] = [_mean(row) for row in parts.tolist()]
        measured: dict[str, Callable[[Reply], float | None]] = {
            "failed": lambda r: float(bool(r.failure)),
            "invalid": lambda r: None if r.failure else float(bool(r.fault)),
            "cost": lambda r: None if r.failure else r.cost,
            "seconds": lambda r: None if r.failure else r.seconds,
            "first_token": lambda r: None if r.failure else r.first_token,
            "tokens": lambda r: None if r.failure else float(r.tokens),
        }
        for name, of in measured.items():
            out[:, COLUMNS.index(name)] = [_mean(of(r) for r in item) for item in self.replies]
        return out

    @property
    def flat(self) -> list[Reply]:
        """Every answer."""
        return [r for item in self.replies for r in item]


def judged(package: Package, dataset: Dataset, split: str, project: Project, kept: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """The items' scores, float64 [items, `COLUMNS`], and the expected texts; see `sluice.engines.scoring.asked_and_judged`."""
    found = asked(package, dataset, split, project, kept)
    return found.matrix(), np.array([item.expected for item in found.items], dtype=object)


def asked(package: Package, dataset: Dataset, split: str, project: Project, kept: Path | None) -> Evaluation:
    """A package asked for answers to a split, once in this process.

    Args:
        project: says by what answers are scored, and how often each item is asked.
        kept: the folder of answers by digest.

    Raises:
        ProjectError: a scorer is none, or no key where one is named.
        InputError: an item's values do not fit the prompt.
    """
    model = project.model
    key = files.digest_of([package.digest, dataset.digest, split, model.scorers, model.samples])
    if key not in _found:
        opened = PromptPackage.open(package.root)
        asker = Asker(opened, kept)
        try:
            scorers = scorers_of(model.scorers, project.base_dir or Path())
            _found[key] = evaluate(asker, items_of(dataset, split, list(opened.prompt.variables)), scorers, model.samples)
        finally:
            asker.close()
    return _found[key]


def items_of(dataset: Dataset, split: str, variables: Sequence[str]) -> list[Item]:
    """A split's rows as items."""
    beside = [n for n in dataset.beside if n not in variables]
    table = dataset.read(split)
    columns = {n: table.column(n).to_pylist() for n in table.schema.names}
    out = []
    for i in range(table.num_rows):
        values = {n: columns[n][i] for n in variables if n in columns and columns[n][i] is not None}
        more = {n: columns[stored_beside(n)][i] for n in beside if stored_beside(n) in columns}
        out.append(Item(str(columns["row_id"][i]), values, columns["label"][i] or "", more))
    return out


def evaluate(asker: Asker, items: Sequence[Item], scorers: Sequence[tuple[str, Scorer]], samples: int = 1) -> Evaluation:
    """Ask for every item, and score what came: an answer that did not come is scored 0 by every scorer that would have had something to say."""
    before = asker.calls

    def said(done: int, of: int) -> None:
        if of >= _SAY and done % max(_SAY, of // 8) == 0 and done < of and asker.calls > before:
            events.emit("note", text=f"{done} of {of} answers")

    replies = asker.replies([item.values for item in items], samples, said)
    scores: dict[str, list[list[Score]]] = {}
    told: dict[str, dict[str, Any]] = {}
    for name, scorer in scorers:
        scorer.asks(asker)
        found = [[_scored(scorer, item, r) for r in each] for item, each in zip(items, replies, strict=True)]
        scores[name] = found
        told[name] = scorer.summary(items, [s for each in found for s in each])
    chosen = [n for n, s in scorers if s.config.decides] or [n for n, s in scorers if s.config.decides is None][:1] or [scorers[0][0]]
    return Evaluation(items, replies, scores, chosen, told, asker.calls - before)


def _scored(scorer: Scorer, item: Item, reply: Reply) -> Score:
    if not reply.failure:
        return scorer.score(item, reply)
    return Score(0.0, f"no answer: {reply.failure[:200]}")


def _mean(values: Any) -> float:
    found = [v for v in values if v is not None and v == v]
    return sum(found) / len(found) if found else float("nan")
