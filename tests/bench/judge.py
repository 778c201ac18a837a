"""A small model as the judge: ``python -m tests.bench.judge [--url URL]``; about two minutes.

SmolLM2-135M (or what answers at URL) judges two answers to each of the example's 30 questions against the expected one: the expected answer in a
sentence, which a person calls good, and another question's answer in the same sentence, which a person calls bad. One JSON line: how often it keeps
its verdict when the two change places, how far it agrees with people, and what a run would say of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from pathlib import Path

from sluice.llm.asking import Asker, Reply
from sluice.llm.config import BudgetConfig, EndpointConfig, PriceConfig
from sluice.llm.endpoint import Endpoint
from sluice.llm.package import PromptPackage
from sluice.llm.prompt import Prompt, PromptFile, Variable
from sluice.llm.scorers.base import Item, scorers_of
from tests.bench.demo_llm import EXAMPLE, server


def rated() -> list[Item]:
    """Two items of each question: people's verdict is ``good``, the answer they rated ``said``."""
    rows = [json.loads(line) for line in (EXAMPLE / "data/golden.jsonl").read_text().splitlines()]
    out = []
    for i, row in enumerate(rows):
        other = next(r["answer"] for r in rows[i + 1 :] + rows[:i] if r["answer"] != row["answer"])
        for good, answer in ((1, row["answer"]), (0, other)):
            out.append(Item(f"{i}-{good}", {"question": row["question"]}, row["answer"], {"good": good, "said": f"It is {answer}."}))
    return out


def main() -> None:
    """Ask, and tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", help="of an OpenAI-compatible endpoint; default: the small model is started")
    parser.add_argument("--model", default="SmolLM2-135M-Instruct")
    given = parser.parse_args()
    with contextlib.nullcontext(given.url) if given.url else server() as url, tempfile.TemporaryDirectory() as tmp:
        endpoint = EndpointConfig(url=url, model=given.model)
        prompt = Prompt(PromptFile(user="{{ question }}", variables={"question": Variable()}))
        package = PromptPackage(Path(tmp), prompt, endpoint, BudgetConfig(), PriceConfig())
        ((_, judge),) = scorers_of({"judge": {"human": "good", "rated": "said"}}, Path(tmp))
        judge.asks(Asker(package, complete=Endpoint(url, given.model).complete))
        items = rated()
        scores = [judge.score(item, Reply(str(item.more["said"]))) for item in items]
        verdicts = {str(v): sum(s.value == v for s in scores) for v in (1.0, 0.5, 0.0, None)}
        print(json.dumps({"judge": given.model, "items": len(items), "verdicts": verdicts, **judge.summary(items, scores)}))


if __name__ == "__main__":
    main()
