"""Answers that a rollout replays held-out items for: each judged by the project's own scorers, as the evaluation judges them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sluice.data.columns import stored_beside
from sluice.llm.asking import Reply
from sluice.llm.scorers.base import Item, Scorer, scorers_of

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.llm.prompt import Prompt
    from sluice.package.package import Package
    from sluice.project import Project

#: From an answer's body to its score; None where no scorer has something to say.
Judge = Callable[[bytes], float | None]


def judges(project: Project, package: Package, table: pa.Table) -> list[Judge]:
    """For each row of a golden set how an answer to it, in V1's protocol, is scored.

    Judges that ask a model themselves are left out: a rollout's load would wait for them.

    Raises:
        ProjectError: a scorer is none.
    """
    from sluice.llm.package import PromptPackage

    prompt = PromptPackage.open(package.root).prompt
    scorers = scorers_of(project.model.scorers, project.base_dir or Path())
    chosen = [s for _, s in scorers if s.config.decides] or [s for _, s in scorers if s.config.decides is None][:1]
    alone = [s for s in chosen if type(s).asks is Scorer.asks]
    columns = {n: table.column(n).to_pylist() for n in table.schema.names}
    return [_judge(prompt, alone, _item(columns, i, prompt)) for i in range(table.num_rows)]


def _item(columns: Mapping[str, Sequence[Any]], i: int, prompt: Prompt) -> Item:
    values = {n: columns[n][i] for n in prompt.variables if n in columns and columns[n][i] is not None}
    more = {n.removeprefix(stored_beside("")): v[i] for n, v in columns.items() if n.startswith(stored_beside(""))}
    return Item(str(columns["row_id"][i]), values, columns["label"][i] or "", more)


def _judge(prompt: Prompt, scorers: Sequence[Scorer], item: Item) -> Judge:
    def judge(body: bytes) -> float | None:
        try:
            text = orjson.loads(body)["predictions"][0]["answer"]
        except (ValueError, LookupError, TypeError):
            return 0.0
        read = prompt.check(text)
        reply = Reply(text=read.text, value=read.value, fault=read.fault)
        found = [s.value for s in (scorer.score(item, reply) for scorer in scorers) if s.value is not None]
        return sum(found) / len(found) if found else None

    return judge
