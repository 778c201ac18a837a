"""FastAPI in front of a transformers text-classification model, as tutorials have it.

``python fastapi_server.py CHECKPOINT PORT [threads]``
"""

import sys
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModel, AutoTokenizer


class Texts(BaseModel):
    instances: list[str]


class Pipeline:
    """Tokenise, run, pool, softmax: what `transformers.pipeline` does around a model with this head."""

    def __init__(self, root):
        self.tokenizer = AutoTokenizer.from_pretrained(root)
        self.base = AutoModel.from_pretrained(root).eval()
        weights = torch.load(Path(root) / "head.pt")
        self.head = torch.nn.Linear(weights["weight"].shape[1], weights["weight"].shape[0])
        self.head.load_state_dict(weights)

    @torch.no_grad()
    def __call__(self, texts):
        given = self.tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
        hidden = self.base(**given).last_hidden_state
        mask = given["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        scores = torch.softmax(self.head((hidden * mask).sum(1) / mask.sum(1)) * 4, -1)
        return [{"label": f"intent_{int(s.argmax())}", "probability": float(s.max())} for s in scores]


pipeline = Pipeline(sys.argv[1])
app = FastAPI()


@app.get("/v2/health/ready")
def ready():
    return {"ready": True}


@app.post("/v1/models/minilm:predict")
def predict(body: Texts):
    return {"predictions": pipeline(body.instances)}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
