"""`sluice finetune PROJECT`: a small causal model learns to answer as items of a prompt do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson

from sluice import project as projects
from sluice.cli import show_json
from sluice.core.errors import DataError, ProjectError
from sluice.core.section import checked
from sluice.learners.lora.config import LoraConfig


def finetune(args: argparse.Namespace) -> int:
    """0 when it is done; whether the model is better `sluice run` says."""
    from sluice.learners.lora.tune import tune
    from sluice.llm.prompt import Prompt

    project = projects.load(args.project)
    if project.task != "llm":
        raise ProjectError("is not tuned by adapters", field="task", value=project.task, fix="name a project of task llm")
    base = project.base_dir or Path()
    prompt = Prompt.load(base / project.model.prompt)
    if prompt.retrieves:
        raise ProjectError(
            "is filled with passages, and items to learn from have none", field="model.retrieval", fix="tune a prompt without retrieval"
        )
    wanted = project.data.columns.label
    golden = [_key(row, prompt) for row in _rows(str(project.data.source), project, base)]
    rows = _rows(str(args.data.absolute()), project, base)
    if both := {_key(row, prompt) for row in rows} & set(golden):
        raise DataError(
            f"{len(both)} of its items stand in the golden set too: the model would be judged on what it learnt",
            field="--data",
            value=orjson.loads(sorted(both)[0]),
            fix="take them out of one of the two",
        )
    items = [(prompt.messages(_values(row, prompt)), str(row.get(wanted) or "")) for row in rows]
    told = tune(args.base, items, _settings(args.overrides), args.out, lambda text: print(text, file=sys.stderr))
    if args.json:
        show_json({**told, "out": str(args.out), "exit_code": 0})
        return 0
    first, best = told["history"][0]["loss"], min(h["loss"] for h in told["history"])
    print(f"{told['trained']:,} of {told['parameters']:,} weights tuned on {told['rows']['learnt']} items: loss {first:.4f} -> {best:.4f}")
    print(f"{args.out}/adapter, {args.out}/model (merged, {told['digest'][:12]})")
    print(f"serve {args.out}/model by any OpenAI-compatible server (transformers serve, vLLM, KServe's Hugging Face runtime), then:")
    print(f"  SLUICE_LLM_URL=http://HOST:PORT/v1 sluice run {args.project} --set model.endpoint.model=NAME")
    return 0


def _settings(overrides: list[str]) -> LoraConfig:
    raw: dict[str, Any] = {}
    for item in overrides:
        projects.override(raw, item)
    found = checked(LoraConfig, raw, "finetune")
    assert isinstance(found, LoraConfig)
    return found


def _rows(uri: str, project: Any, base: Path) -> list[dict[str, Any]]:
    from sluice.data.sources import load_source

    rows: list[dict[str, Any]] = load_source(uri, project.data.format, base, None, project.data.columns).to_pylist()
    return rows


def _values(row: dict[str, Any], prompt: Any) -> dict[str, Any]:
    return {n: row[n] for n in prompt.variables if row.get(n) is not None}


def _key(row: dict[str, Any], prompt: Any) -> bytes:
    """An item by its variables, whatever the case and the white space of its texts."""
    plain = {k: " ".join(v.casefold().split()) if isinstance(v, str) else v for k, v in _values(row, prompt).items()}
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
