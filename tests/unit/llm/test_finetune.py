"""A small random model learns an item's answers through adapters; what is written is plain, and the same again by the same seed."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import pytest

from sluice.commands.finetune import finetune
from sluice.core.errors import DataError, ProjectError
from tests.support.causal import ITEMS, causal


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return causal(tmp_path_factory.mktemp("base"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "sluice.yaml").write_text(
        "name: capitals\ntask: llm\ndata: {source: golden.jsonl, columns: {label: answer}}\n"
        "model: {endpoint: {url: 'http://127.0.0.1:9/v1', model: tuned}}\n"
    )
    (tmp_path / "prompt.yaml").write_text("user: 'capital of {{ country }} ?'\nvariables: {country: {}}\n")
    (tmp_path / "golden.jsonl").write_text(json.dumps({"country": "norway", "answer": "oslo"}) + "\n")
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(i) + "\n" for i in ITEMS))
    return tmp_path


def tuned(project: Path, base: Path, out: str) -> argparse.Namespace:
    overrides = ["epochs=15", "learning_rate=0.01", "rank=4", "validation=0.0"]
    given = {
        "project": project / "sluice.yaml",
        "base": base,
        "data": project / "train.jsonl",
        "out": project / out,
        "overrides": overrides,
        "json": False,
        "home": project / "home",
    }
    return argparse.Namespace(**given)


def test_it_learns_and_is_written_as_others_read_it(project: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert finetune(tuned(project, base, "a")) == 0
    out = project / "a"
    told = json.loads((out / "tuned.json").read_text())
    losses = [h["loss"] for h in told["history"]]
    assert min(losses) < 0.2 * losses[0] and 0 < told["trained"] < told["parameters"] and told["rows"] == {"learnt": 12, "held": 0}
    assert "sluice run" in capsys.readouterr().out
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert {"adapter/adapter_model.safetensors", "adapter/adapter_config.json", "model/model.safetensors", "model/tokenizer.json"} <= names
    assert not any(n.endswith((".bin", ".pt", ".pkl")) for n in names)

    merged, tokens = AutoModelForCausalLM.from_pretrained(out / "model"), AutoTokenizer.from_pretrained(out / "model")
    ids = tokens.apply_chat_template([{"role": "user", "content": "capital of peru ?"}], add_generation_prompt=True, return_tensors="pt")[
        "input_ids"
    ]
    assert tokens.decode(merged.generate(ids, max_new_tokens=1, do_sample=False)[0, -1]) == "lima"
    beside = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), out / "adapter")
    assert torch.allclose(beside(ids).logits, merged(ids).logits, atol=1e-3)
    assert told["rows"] == {"learnt": 12, "held": 0} and told["settings"]["train"]["batch_size"] == 4


@pytest.mark.timeout(1800)  # three trainings, each in a process that imports torch and transformers
def test_one_that_is_interrupted_goes_on_to_the_same_adapter(
    project: Path, base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped behind an epoch, and run again: by the torch learner's checkpoints, which hold adapters and not the base."""
    whole, parts = tuned(project, base, "whole"), tuned(project, base, "parts")
    for asked in (whole, parts):
        asked.overrides = ["epochs=30", "learning_rate=0.01", "rank=4", "validation=0.3", "checkpoint.every_seconds=0.001"]
    assert finetune(whole) == 0

    def stop(event: dict[str, Any]) -> None:
        if event["kind"] == "epoch" and event["epoch"] >= 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("sluice.commands.finetune._say", stop)
        with pytest.raises(KeyboardInterrupt):
            finetune(parts)
    assert not parts.out.exists()
    kept = next((parts.home / "finetune" / "checkpoints").glob("*/step-*/model.safetensors"))
    assert kept.stat().st_size < (base / "model.safetensors").stat().st_size
    capsys.readouterr()
    assert finetune(parts) == 0
    assert "resumed from step-" in capsys.readouterr().err
    adapter = "adapter/adapter_model.safetensors"
    assert (parts.out / adapter).read_bytes() == (whole.out / adapter).read_bytes()
    assert not list((parts.home / "finetune").glob("checkpoints/*/step-*"))


def test_two_processes_share_the_model_too(project: Path, base: Path) -> None:
    """In shards (FSDP) the same is learnt, and written whole."""
    sharded, alone = tuned(project, base, "sharded"), tuned(project, base, "alone")
    sharded.overrides = [*alone.overrides, "processes=2", "parallel=fsdp", "batch_size=4"]
    alone.overrides = [*alone.overrides, "batch_size=4"]
    told = [json.loads((asked.out / "tuned.json").read_text()) for asked in (sharded, alone) if finetune(asked) == 0]
    shapes = [shapes_of(asked.out / "adapter/adapter_model.safetensors") for asked in (sharded, alone)]
    assert shapes[0] == shapes[1] and told[0]["trained"] == told[1]["trained"] == sum(map(math.prod, shapes[0].values()))
    losses = [[h["loss"] for h in t["history"]] for t in told]
    assert min(losses[0]) < 0.2 * losses[0][0] and losses[0][0] == pytest.approx(losses[1][0], rel=1e-3)


def shapes_of(file: Path) -> dict[str, tuple[int, ...]]:
    """Of a file of tensors."""
    from safetensors.numpy import load_file

    return {name: tensor.shape for name, tensor in load_file(file).items()}


def test_two_processes_share_the_work(project: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings of `train:` hold as for every network: processes, parts of a batch, a schedule, early stopping."""
    asked = tuned(project, base, "two")
    asked.overrides = ["epochs=20", "learning_rate=0.01", "validation=0.25", "processes=2", "accumulate=2", "precision=bf16"]
    asked.overrides += ["schedule=linear", "early_stopping={patience: 2}"]
    assert finetune(asked) == 0
    told = json.loads((asked.out / "tuned.json").read_text())
    assert told["rows"] == {"learnt": 9, "held": 3} and told["settings"]["train"]["schedule"] == "linear"
    assert told["history"][0]["epoch"] == 0 and len(told["history"]) < 21, "the one answer that was not learnt grows less likely"
    assert told["best_epoch"] == min(told["history"], key=lambda h: h["loss"])["epoch"]


def test_what_is_judged_is_not_learnt(project: Path, base: Path) -> None:
    with (project / "train.jsonl").open("a") as f:
        f.write(json.dumps({"country": " NORWAY", "answer": "oslo"}) + "\n")
    with pytest.raises(DataError, match="1 of its items stand in the golden set too"):
        finetune(tuned(project, base, "c"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"overrides": ["rank=0"]}, "rank"),
        ({"overrides": ["ranks=4"]}, "ranks"),
        ({"overrides": ["max_length=16"]}, "more than max_length 16"),
        ({"base": Path("/nowhere")}, "--base"),
    ],
)
def test_what_cannot_be_is_told(project: Path, base: Path, wrong: dict[str, Any], said: str) -> None:
    (project / "train.jsonl").write_text(json.dumps({"country": "peru", "answer": " ".join(["lima"] * 20)}) + "\n")
    asked = tuned(project, base, "d")
    vars(asked).update(wrong)
    with pytest.raises((ProjectError, DataError), match=said):
        finetune(asked)
    assert not (project / "d").exists()


def test_as_a_project_of_its_own_it_goes_through_the_line(project: Path, base: Path) -> None:
    """What the steps do: checked, learnt by the torch learner, shipped as files, judged by the loss of held-out answers."""
    import numpy as np

    from sluice.data.prepare import prepare, validate_project_data
    from sluice.engines.scoring import asked_and_judged
    from sluice.formats.export import export_package
    from sluice.learners.base import Job
    from sluice.project import parse
    from sluice.tasks import load_task

    items = {i["country"]: i["answer"] for i in ITEMS}
    many = [{"country": f"{a} {b} {c}", "answer": items[a]} for a in items for b in items for c in items]
    (project / "train.jsonl").write_text("".join(json.dumps(i) + "\n" for i in many))
    raw: dict[str, Any] = {"name": "capitals", "task": "sluice.tasks.finetune:FinetuneTask", "model": {"pretrained": str(base), "rank": 4}}
    raw |= {
        "data": {
            "source": "train.jsonl",
            "columns": {"label": "answer"},
            "checks": {"rows_min": 10},
            "split": {"test": 0.25, "validation": 0.2},
        }
    }
    raw |= {"train": {"epochs": 3, "learning_rate": 0.01}, "evaluate": {"metric": "answer_loss"}}
    settings = parse(raw, base_dir=project)
    task = load_task(settings, project)
    assert validate_project_data(settings, project, task).decision == "pass"
    dataset = prepare(settings, project, task, project / "dataset")
    trained = task.learner().fit(Job(dataset, project / "model"))
    assert trained.metrics["answer_loss"] == pytest.approx(trained.metrics["loss"], rel=1e-4)
    package = export_package(settings, project / "model", dataset, project / "package", base_dir=project).package
    assert (
        package is not None
        and package.model.name == "tuned.json"
        and {"adapter/adapter_model.safetensors", "model/model.safetensors"} <= set(package.manifest["files"])
    )
    outputs, targets = asked_and_judged(package, dataset, "test", settings)
    rows = dataset.read("test", ["messages", "answer"]).to_pylist()
    assert np.allclose(outputs, trained.run(trained.processor.encode_batch(rows)), atol=1e-3) and not targets.any()
