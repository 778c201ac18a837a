"""A causal language model on disk, as transformers reads it: a folder, a GGUF file, or a hub's id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.core import files
from sluice.core.errors import ProjectError, first_line
from sluice.core.imports import ONE_AT_A_TIME
from sluice.learners.torch.texts.pretrained import find

if TYPE_CHECKING:
    from sluice.fields.conversation import ConversationProcessor

_FIX = "name a folder with config.json, model.safetensors and a tokenizer, or a .gguf file"
#: Files of a folder that make the model.
_READ = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")


def located(name: str, local: Path) -> Path:
    """Where a base lies: a file, a folder, or the hub's snapshot of an id.

    Args:
        name: as the project has it.
        local: where it would be on this machine.

    Raises:
        ProjectError: none of these.
    """
    if local.is_file() and local.suffix == ".gguf":
        return local
    return find(name, local)


def digest_of(path: Path) -> str:
    """sha256 over the weights and what reads them, by name."""
    found = [path] if path.is_file() else sorted({p for kind in _READ for p in path.glob(kind)})
    return files.digest_of({p.name: files.sha256_file(p) for p in found})


def _read(path: Path, kind: str, **more: Any) -> Any:
    """What transformers' Auto class `kind` makes of a base. Raises `ProjectError`: it cannot be read."""
    with ONE_AT_A_TIME:
        import transformers
        from transformers.utils import logging

    logging.disable_progress_bar()
    gguf = path.is_file()
    where = str(path.parent if gguf else path)
    try:
        return getattr(transformers, kind).from_pretrained(
            where, local_files_only=True, **({"gguf_file": path.name} if gguf else {}), **more
        )
    except Exception as e:  # whatever a file of another's meets there
        raise ProjectError(
            f"cannot be read as a causal language model: {first_line(e)[:200]}", field="model.pretrained", value=str(path), fix=_FIX
        ) from e


def tokenizer_of(path: Path) -> Any:
    """The tokenizer, with its chat template. Raises `ProjectError`: there is none, or it cannot be read."""
    tokens = _read(path, "AutoTokenizer")
    if tokens.chat_template is None:
        raise ProjectError(
            "has no chat template: how messages become a text is not known",
            field="model.pretrained",
            value=str(path),
            fix="name an instruct model",
        )
    return tokens


def processor_of(path: Path, max_length: int) -> ConversationProcessor:
    """Rows as the base's tokens. Raises `ProjectError`."""
    from sluice.fields.conversation import ConversationProcessor

    tokens = tokenizer_of(path)
    template = tokens.chat_template
    if not isinstance(template, str):
        template = template.get("default") or next(iter(template.values()))
    special = {k: v for k, v in tokens.special_tokens_map.items() if isinstance(v, str)}
    if tokens.eos_token_id is None or not hasattr(tokens, "backend_tokenizer"):
        raise ProjectError(
            "its tokenizer has no token that ends an answer, or no fast form", field="model.pretrained", value=str(path), fix=_FIX
        )
    return ConversationProcessor(tokens.backend_tokenizer.to_str().encode(), template, special, int(tokens.eos_token_id), max_length)


def model_of(path: Path) -> Any:
    """The model with its weights, in 32 bits. Raises `ProjectError`."""
    import torch

    model = _read(path, "AutoModelForCausalLM", dtype=torch.float32, **({} if path.is_file() else {"use_safetensors": True}))
    model.config.use_cache = False
    return model
