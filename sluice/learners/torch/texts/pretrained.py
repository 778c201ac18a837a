"""A pre-trained encoder on disk: where it is, its configuration and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from sluice.core import files
from sluice.core.errors import ProjectError, first_line
from sluice.core.imports import ONE_AT_A_TIME

TOKENIZER = "tokenizer.json"


class Encoder(NamedTuple):
    """What a learner keeps of a pre-trained encoder.

    Attributes:
        tokenizer: its ``tokenizer.json``. pad: the token behind shorter texts. config: its architecture.
        extra: what a state records of it: the architecture, and the digest of each file of weights.
    """

    tokenizer: bytes
    pad: int
    config: dict[str, Any]
    extra: dict[str, Any]


def encoder(name: str, local: Path, max_length: int) -> Encoder:
    """The encoder that a project names.

    Args:
        name, local: as of `find`. max_length: tokens of a text.

    Raises:
        ProjectError: it cannot be found or read, or has fewer positions.
    """
    root = find(name, local)
    config = config_of(root, name)
    most = config.get("max_position_embeddings")
    if most and max_length > most:
        raise ProjectError(
            f"is more than the {most} positions of the pre-trained model",
            field="model.max_length",
            value=max_length,
            fix=f"use at most {most}",
        )
    weights = {p.name: files.sha256_file(p) for p in sorted(root.glob("*.safetensors"))}
    return Encoder(tokenizer_of(root, name), config.get("pad_token_id") or 0, config, {"config": config, "pretrained": weights})


def find(name: str, local: Path) -> Path:
    """The directory of a pre-trained model: a local one, or the hub's snapshot of an id.

    Args:
        name: as the project has it.
        local: where it would be on this machine.

    Raises:
        ProjectError: neither.
    """
    if local.is_dir():
        return local
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ProjectError(
            "is no directory",
            field="model.pretrained",
            value=name,
            fix=f"looked in {local}; name a directory with config.json, tokenizer.json and model.safetensors, or a hub id",
        )
    try:
        with ONE_AT_A_TIME:
            from huggingface_hub import snapshot_download

        found = snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt"], etag_timeout=10)
    except Exception as e:  # the hub's client raises many unrelated types
        raise ProjectError(
            f"is neither a directory nor a model of the hub that can be fetched: {type(e).__name__}: {first_line(e)}",
            field="model.pretrained",
            value=name,
            fix=f"looked in {local}; check the name and the network",
        ) from e
    return Path(found)


def config_of(root: Path, name: str) -> dict[str, Any]:
    """``config.json`` without what does not make the model. Raises `ProjectError`."""
    try:
        raw = files.read_json(root / "config.json")
        if not isinstance(raw, dict) or not isinstance(raw.get("model_type"), str):
            raise ValueError("it names no model_type")
    except (OSError, ValueError) as e:
        raise ProjectError(
            f"its config.json cannot be used: {e}",
            field="model.pretrained",
            value=name,
            fix="name a directory saved by transformers' save_pretrained",
        ) from e
    # Where the weights came from and who saved them does not make the model.
    return {k: v for k, v in raw.items() if k not in ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures")}


def tokenizer_of(root: Path, name: str) -> bytes:
    """``tokenizer.json``, converted from the older files where there is none. Raises `ProjectError`."""
    if (root / TOKENIZER).is_file():
        return (root / TOKENIZER).read_bytes()
    try:
        with ONE_AT_A_TIME:
            from transformers import AutoTokenizer

        text: str = AutoTokenizer.from_pretrained(root, local_files_only=True).backend_tokenizer.to_str()
    except Exception as e:  # whatever the conversion meets
        raise ProjectError(
            f"has no {TOKENIZER} and its tokenizer cannot be converted: {e}",
            field="model.pretrained",
            value=name,
            fix=f"save it with a fast tokenizer, which writes {TOKENIZER}",
        ) from e
    return text.encode()
