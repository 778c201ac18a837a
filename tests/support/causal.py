"""A small causal model of random weights, with a tokenizer of words, and items that it can learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ITEMS = [
    {"country": c, "answer": a}
    for c, a in (("france", "paris"), ("spain", "madrid"), ("italy", "rome"), ("peru", "lima"))
    for _ in range(3)
]


def causal(root: Path) -> Path:
    """A causal model of 26,000 random weights, and a tokenizer of words, in a folder as transformers has it."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = [
        "<unk>",
        "<eos>",
        "user",
        "assistant",
        ":",
        "?",
        "capital",
        "of",
        *sorted({w for i in ITEMS for w in i.values()}),
        "norway",
        "oslo",
    ]
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", eos_token="<eos>", pad_token="<eos>")
    tokens.chat_template = (
        "{% for m in messages %}{{ m.role }} : {{ m.content }} {% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"
    )
    torch.manual_seed(3)
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "initializer_range": 0.4,
    }
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), eos_token_id=1, bos_token_id=None, pad_token_id=1, **shape))
    model.save_pretrained(root)
    tokens.save_pretrained(root)
    return root
