"""Adapters trained on a prompt's items: the messages as the prompt makes them, the loss over the answer's tokens alone.

What comes out is plain: ``adapter/`` (safetensors and JSON, as peft has it), ``model/`` (the base with the adapter merged in, safetensors, as
transformers, vLLM and KServe's Hugging Face runtime read it), and ``tuned.json``, which says of what it was made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sluice.core import files
from sluice.core.errors import DataError, MissingExtra, ProjectError
from sluice.learners.lora.config import LoraConfig

ADAPTER, MODEL, TOLD = "adapter", "model", "tuned.json"
_IGNORED = -100
#: An item as a conversation: the messages, and the answer.
Item = tuple[Sequence[Mapping[str, str]], str]


def tune(
    base: Path, items: Sequence[Item], config: LoraConfig, out: Path, said: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Train adapters for a base model and write them.

    Args:
        base: a folder as transformers has it (safetensors), or a GGUF file.
        items: messages and the answer wanted.
        out: a folder that is not there yet.
        said: is told of each epoch.

    Returns:
        ``tuned.json``: the base's digest, the items', the settings, the loss of each epoch before and behind training, ``digest`` of the merged weights.

    Raises:
        ProjectError: the base cannot be read, or `out` is there.
        DataError: too few items, or one that is too long.
        MissingExtra: peft is not installed.
    """
    try:
        import peft
        import torch
    except ImportError as e:
        raise MissingExtra("tuning needs peft and torch", field="finetune", fix="pip install 'sluice-ml[llm,train]'") from e
    if out.exists():
        raise ProjectError("is there already", field="--out", value=str(out), fix="name another folder, or remove it")
    torch.manual_seed(config.seed)
    tokens, model = _base(base)
    coded = [_coded(tokens, messages, answer, config, i) for i, (messages, answer) in enumerate(items)]
    learnt, held = _split(coded, config)
    lora = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM", use_rslora=False
    )
    tuned = peft.get_peft_model(model, lora)
    history = _train(tuned, learnt, held, config, said)
    told = {
        "format": "sluice.tuned/v1",
        "base": _digest(base),
        "items": files.digest_of([[list(map(dict, m)), a] for m, a in items]),
        "rows": {"learnt": len(learnt), "held": len(held)},
        "settings": config.model_dump(mode="json"),
        "trained": sum(p.numel() for p in tuned.parameters() if p.requires_grad),
        "parameters": sum(p.numel() for p in model.parameters()),
        "history": history,
    }
    with files.new_dir(out) as made:
        tuned.peft_config["default"].base_model_name_or_path = base.name  # and not where it lay on this machine
        tuned.save_pretrained(str(made / ADAPTER), safe_serialization=True)
        tuned.merge_and_unload().save_pretrained(made / MODEL, safe_serialization=True)
        tokens.save_pretrained(made / MODEL)
        told["digest"] = _digest(made / MODEL)
        files.write_json(made / TOLD, told)
    return told


def _base(base: Path) -> tuple[Any, Any]:
    """The tokenizer and the model, in 32 bits."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    gguf = base.suffix == ".gguf"
    where, more = str(base.parent if gguf else base), {"gguf_file": base.name} if gguf else {}
    try:
        tokens = AutoTokenizer.from_pretrained(where, local_files_only=True, **more)
        model = AutoModelForCausalLM.from_pretrained(
            where, local_files_only=True, use_safetensors=None if gguf else True, dtype=torch.float32, **more
        )
    except (OSError, ValueError, KeyError, RuntimeError) as e:
        fix = "name a folder with config.json, model.safetensors and a tokenizer, or a .gguf file"
        raise ProjectError(f"cannot be read as a causal language model: {str(e)[:200]}", field="--base", value=str(base), fix=fix) from e
    if tokens.chat_template is None:
        raise ProjectError(
            "has no chat template: how messages become a text is not known", field="--base", value=str(base), fix="name an instruct model"
        )
    model.config.use_cache = False
    return tokens, model


def _coded(tokens: Any, messages: Sequence[Mapping[str, str]], answer: str, config: LoraConfig, i: int) -> tuple[list[int], list[int]]:
    """(token ids, the same with what is not the answer's left out of the loss)."""
    if not answer.strip():
        raise DataError("has no answer to learn", field=f"items[{i}]", value=answer, fix="give each item an answer, or leave it out")
    asked = tokens.apply_chat_template(list(messages), tokenize=True, add_generation_prompt=True, return_dict=True)["input_ids"]
    said = tokens(answer, add_special_tokens=False)["input_ids"] + [tokens.eos_token_id]
    if len(asked) + len(said) > config.max_length:
        raise DataError(
            f"has {len(asked) + len(said)} tokens, more than max_length {config.max_length}",
            field=f"items[{i}]",
            fix="raise --set max_length=N, or shorten it",
        )
    return list(asked) + said, [_IGNORED] * len(asked) + said


def _split(coded: list[Any], config: LoraConfig) -> tuple[list[Any], list[Any]]:
    import torch

    if len(coded) < 4:
        raise DataError(
            "holds too few items to learn from", field="--data", value=len(coded), fix="four at least; some hundreds are better"
        )
    order = torch.randperm(len(coded), generator=torch.Generator().manual_seed(config.seed)).tolist()
    cut = math.ceil(len(coded) * config.validation)
    return [coded[i] for i in order[cut:]], [coded[i] for i in order[:cut]]


def _train(model: Any, learnt: list[Any], held: list[Any], config: LoraConfig, said: Callable[[str], None]) -> list[dict[str, float]]:
    """Epochs of AdamW at a falling rate; the adapter of the best epoch is kept, by the items held out."""
    import peft
    import torch

    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=0.0)
    steps = math.ceil(len(learnt) / config.batch_size) * config.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: max(0.05, 1 - step / steps))
    chance = torch.Generator().manual_seed(config.seed)
    judge = held or learnt
    best, kept = _loss(model, judge, config), {k: v.clone() for k, v in peft.get_peft_model_state_dict(model).items()}
    history = [{"epoch": 0, "loss": best}]
    for epoch in range(1, config.epochs + 1):
        model.train()
        order = torch.randperm(len(learnt), generator=chance).tolist()
        for at in range(0, len(order), config.batch_size):
            loss = _forward(model, [learnt[i] for i in order[at : at + config.batch_size]])
            if not torch.isfinite(loss):
                raise DataError("became infinite in training", field="loss", value=float(loss), fix="--set learning_rate=0.0001 or smaller")
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            schedule.step()
        found = _loss(model, judge, config)
        history.append({"epoch": epoch, "loss": found})
        said(f"epoch {epoch} of {config.epochs}: loss {found:.4f}, before training {history[0]['loss']:.4f}")
        if found < best:
            best, kept = found, {k: v.clone() for k, v in peft.get_peft_model_state_dict(model).items()}
    peft.set_peft_model_state_dict(model, kept)
    return history


def _forward(model: Any, rows: list[Any]) -> Any:
    import torch

    longest = max(len(ids) for ids, _ in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, _IGNORED)
    for i, (row, wanted) in enumerate(rows):
        ids[i, : len(row)], labels[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), torch.tensor(wanted), 1
    return model(input_ids=ids, attention_mask=mask, labels=labels).loss


def _loss(model: Any, rows: list[Any], config: LoraConfig) -> float:
    """Mean loss an answer's token, each batch weighed by its tokens."""
    import torch

    model.eval()
    total = count = 0.0
    with torch.no_grad():
        for at in range(0, len(rows), config.batch_size):
            batch = rows[at : at + config.batch_size]
            n = sum(w != _IGNORED for _, wanted in batch for w in wanted)
            total, count = total + float(_forward(model, batch)) * n, count + n
    return total / count


def _digest(path: Path) -> str:
    """sha256 over the weights and what reads them, by name."""
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return files.digest_of({p.name if path.is_file() else p.relative_to(path).as_posix(): files.sha256_file(p) for p in found})
