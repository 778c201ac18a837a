"""What is left of a tuned model, for whoever serves it.

``adapter/`` (safetensors and JSON, as peft has it), ``model/`` (the base with the adapter merged in, safetensors, as transformers, vLLM and
KServe's Hugging Face runtime read it), and ``tuned.json``, which says of what it was made.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sluice.core import files
from sluice.learners.torch.causal import base
from sluice.tasks.base import settings
from sluice.tasks.finetune import FinetuneModel

if TYPE_CHECKING:
    import torch

    from sluice.learners.state import State
    from sluice.tasks.base import Task

ADAPTER, MODEL, TOLD = "adapter", "model", "tuned.json"
FORMAT = "sluice.tuned/v1"


def write(task: Task, model: torch.nn.Module, state: State, record: dict[str, Any], out: Path) -> dict[str, Any]:
    """A trained model's files, in a new folder.

    Args:
        task: with the project's settings.
        model: an `Adapted`; it is left as it is.
        record: how it was learnt, the JSON of ``training.json``.
        out: a folder that is not there yet.

    Returns:
        ``tuned.json``: the base's digest, the settings, the loss of each epoch, ``digest`` of the merged weights.
    """
    from sluice.learners.torch.causal.model import ADAPTER as ADAPTER_WEIGHT

    name = settings(task, FinetuneModel).pretrained
    where = base.located(name, task.resolve(name))
    tuned = copy.deepcopy(cast(Any, model).inner)
    trained = sum(p.numel() for n, p in tuned.named_parameters() if ADAPTER_WEIGHT in n)
    told = {
        "format": FORMAT,
        "base": state.extra["base"],
        "rows": {"learnt": record["rows"]["train"], "held": record["rows"]["validation"]},
        "settings": {"model": task.project.model.model_dump(mode="json", exclude={"pretrained", "prompt"}), "train": record["plan"]},
        "trained": trained,
        "parameters": sum(p.numel() for p in tuned.parameters()) - trained,
        "history": [{"epoch": h["epoch"], "loss": _loss(h)} for h in record["history"]],
        "best_epoch": record["best_epoch"],
    }
    with files.new_dir(out) as made:
        tuned.peft_config["default"].base_model_name_or_path = where.name  # and not where it lay on this machine
        tuned.save_pretrained(str(made / ADAPTER), safe_serialization=True, save_embedding_layers=False)  # "auto" asks the hub
        tuned.merge_and_unload().save_pretrained(made / MODEL, safe_serialization=True)
        base.tokenizer_of(where).save_pretrained(made / MODEL)
        told["digest"] = base.digest_of(made / MODEL)
        files.write_json(made / TOLD, told)
    return told


def _loss(entry: dict[str, Any]) -> float:
    """By the rows held out; where there are none, by those that were learnt."""
    found = entry["validation_loss"]
    return float(entry["train_loss"] if found is None else found)
